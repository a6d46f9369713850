//! Programs that may make no sockets but those of this machine: a seccomp filter, which they cannot take off, kills them at the
//! first other one. On the host.

use crate::command::{self, Finished};
use anyhow::{Result, bail};
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use rustix::net::AddressFamily;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// Runs a command to its end, which is SIGSYS (159) where it asks for another socket.
///
/// # Errors
/// When the filter cannot be loaded, or the command does not end in time.
pub fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    // A filter holds for its thread and for what that starts, for good.
    let finished = thread::scope(|scope| {
        let confined = scope.spawn(|| {
            load_filter()?;
            command::run(command, &[], limit)
        });
        confined.join()
    });
    finished.unwrap_or_else(|_| bail!("the confined thread has panicked"))
}

fn load_filter() -> Result<()> {
    let mut filter = ScmpFilterContext::new(ScmpAction::Allow)?;
    let others = ScmpArgCompare::new(0, ScmpCompareOp::NotEqual, u64::from(AddressFamily::UNIX.as_raw()));
    filter.add_rule_conditional(ScmpAction::KillProcess, ScmpSyscall::from_name("socket")?, &[others])?;
    Ok(filter.load()?)
}
