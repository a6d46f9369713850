//! `uninstall`: removes what the receipt says is ours. Runs on the host, as root.
//!
//! The entry of daemon.json goes first, so that Docker never names a runtime that is not there; the receipt goes last,
//! so that a run that was stopped can be repeated.

use crate::cli::Uninstall;
use crate::docker_daemon::{Container, Daemon};
use crate::installed;
use crate::layout::{CURRENT, Layout, STABLE_LINKS};
use crate::receipt::Receipt;
use crate::registration::Registration;
use crate::report::Report;
use crate::transaction::{lock, read_receipt, remove_any, sync_directory};
use crate::usage;
use anyhow::{Result, bail};
use std::io::ErrorKind;

/// Why nothing is removed.
#[derive(Debug, thiserror::Error)]
#[error("runq is in use: {}", users.join("; "))]
pub(crate) struct InUse {
    users: Vec<String>,
}

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
    let _lock = lock(&layout)?;
    let Some(receipt) = read_receipt(&layout)? else {
        if holds_only_the_lock(&layout)? {
            remove_any(&layout.lock())?;
            std::fs::remove_dir(layout.prefix())?;
            return Ok(Report { summary: format!("the rest of {prefix} is removed"), ..Report::default() });
        }
        bail!("there is no receipt in {prefix}: what lies there is not known to be ours");
    };
    let versions = installed::all(&layout)?;
    let mut report = Report::new(vec![("prefix", prefix.clone())]);
    let users = users(&layout, &versions, &receipt, options)?;
    if !users.is_empty() && !options.force {
        return Err(InUse { users }.into());
    }
    report.notes.extend(users.iter().map(|user| format!("{user}: {BROKEN}")));

    for docker in &receipt.docker {
        Registration::remove(docker, &options.docker)?.apply(&mut report)?;
    }
    for name in STABLE_LINKS.into_iter().map(|(name, _)| name).chain([CURRENT]) {
        remove_any(&layout.stable(name))?;
    }
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

/// Containers of our runtimes, running or not, and whatever else uses a version.
fn users(
    layout: &Layout,
    versions: &[String],
    receipt: &Receipt,
    options: &Uninstall,
) -> Result<Vec<String>> {
    let mut users = Vec::new();
    // With --no-reload dockerd is none of our business; --docker-host may not even name one.
    let daemon = if options.docker.no_reload { None } else { Daemon::find(options.docker.host())? };
    if let Some(daemon) = daemon {
        for docker in &receipt.docker {
            let containers = daemon.containers_of(&docker.name)?;
            users.extend(
                containers.iter().map(|Container { name, state }| format!("container {name} ({state})")),
            );
        }
    }
    // Those of Docker's containers are named already; what is left has no other name.
    if users.is_empty() {
        let found = usage::find(layout, versions)?;
        users.extend(found.iter().map(|(id, user)| format!("version {id} is used by {user}")));
    }
    Ok(users)
}
