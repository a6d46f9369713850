//! `uninstall`: removes what the receipt says is ours. Runs on the host, as root.
//!
//! The entry of daemon.json goes first, so that Docker never names a runtime that is not there; the receipt goes last,
//! so that a run that was stopped can be repeated.

use crate::cli::Uninstall;
use crate::engine;
use crate::in_use::{self, InUse};
use crate::installed;
use crate::layout::{CURRENT, Layout, STABLE_LINKS};
use crate::registration::Registration;
use crate::report::Report;
use crate::transaction::{lock, read_receipt, remove_any, sync_directory};
use anyhow::{Result, bail};
use std::io::ErrorKind;

/// What becomes of users that are not waited for.
const BROKEN: &str = "it cannot be started, stopped, killed or entered any more; what runs goes on until its processes are killed by hand";

/// Removes the entry and the tree.
pub(crate) fn uninstall(options: &Uninstall) -> Result<Report> {
    let layout = Layout::new(std::path::absolute(&options.prefix.prefix)?);
    let prefix = layout.prefix().display().to_string();
    if !layout.prefix().exists() {
        return Ok(Report {
            summary: format!("{prefix} does not exist: nothing to do"),
            ..Report::default()
        });
    }
    let _lock = if options.trial.dry_run { None } else { Some(lock(&layout)?) };
    let Some(receipt) = read_receipt(&layout)? else {
        if !options.trial.dry_run && holds_only_the_lock(&layout)? {
            remove_any(&layout.lock())?;
            std::fs::remove_dir(layout.prefix())?;
            return Ok(Report { summary: format!("the rest of {prefix} is removed"), ..Report::default() });
        }
        bail!("there is no receipt in {prefix}: what lies there is not known to be ours");
    };
    let versions = installed::all(&layout)?;
    let mut report = Report::new(vec![("prefix", prefix.clone())]);
    let users = in_use::users(&layout, &receipt.docker, &options.docker)?;
    if !users.is_empty() && !options.force {
        return Err(InUse { users }.into());
    }
    report.notes.extend(users.iter().map(|user| format!("{user}: {BROKEN}")));

    for docker in &receipt.docker {
        let registration = Registration::remove(docker, &options.docker)?;
        if options.trial.dry_run {
            registration.show(&mut report);
        } else {
            registration.apply(&mut report)?;
        }
    }
    for entry in &receipt.engines {
        engine::remove(entry, options.trial.dry_run, &mut report)?;
    }
    if options.trial.dry_run {
        report.changes.extend(versions.iter().map(|id| format!("remove versions/{id}")));
        report.changes.push(format!("remove {prefix}"));
        return Ok(report.of_dry_run());
    }
    for name in STABLE_LINKS.into_iter().map(|(name, _)| name).chain([CURRENT]) {
        remove_any(&layout.stable(name))?;
    }
    // Nothing leads to a version any more when its files go.
    sync_directory(layout.prefix())?;
    for id in &versions {
        remove_any(&layout.version(id))?;
        report.changes.push(format!("remove versions/{id}"));
    }
    remove_any(&layout.versions())?;
    sync_directory(layout.prefix())?;
    remove_any(&layout.receipt())?;
    remove_any(&layout.lock())?;
    match std::fs::remove_dir(layout.prefix()) {
        Ok(()) => report.changes.push(format!("remove {prefix}")),
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
            report.notes.push(format!("{prefix} stays, because it holds files that are not ours"));
        }
        Err(error) => report.notes.push(format!("{prefix} stays: {error}")),
    }
    report.summary = format!("runq {} is removed", receipt.version);
    Ok(report)
}

/// What a run that was stopped in the end has left.
fn holds_only_the_lock(layout: &Layout) -> Result<bool> {
    for item in fs_err::read_dir(layout.prefix())? {
        if item?.path() != layout.lock() {
            return Ok(false);
        }
    }
    Ok(true)
}
