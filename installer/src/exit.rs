//! Exit codes: what a script can tell apart. Pure. The table for people is in the README.

use crate::docker_daemon::DaemonError;
use crate::in_use::InUse;
use crate::lock::LockError;
use crate::report::Report;
use anyhow::Error;

const DIFFERENCES: u8 = 1;
const REFUSED_BY_DOCKERD: u8 = 3;
const LOCKED: u8 = 4;
const IN_USE: u8 = 5;
const FAILED: u8 = 125;

/// Of a command that has done its work.
pub(crate) fn of_report(report: &Report) -> u8 {
    if report.is_ok() { 0 } else { DIFFERENCES }
}

/// Of one that has not.
pub(crate) fn of_error(error: &Error) -> u8 {
    let code = |cause: &(dyn std::error::Error + 'static)| {
        if matches!(cause.downcast_ref(), Some(DaemonError::NotTaken | DaemonError::Invalid { .. })) {
            return Some(REFUSED_BY_DOCKERD);
        }
        if matches!(cause.downcast_ref(), Some(LockError::Held { .. })) {
            return Some(LOCKED);
        }
        cause.downcast_ref::<InUse>().map(|_| IN_USE)
    };
    error.chain().find_map(code).unwrap_or(FAILED)
}
