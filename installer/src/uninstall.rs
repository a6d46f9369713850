//! `uninstall`: removes what the receipt says is ours. Runs on the host, as root.
//!
//! The entry of daemon.json goes first, so that Docker never names a runtime that is not there; the receipt goes last,
//! so that a run that was stopped can be repeated.

use crate::cli::Uninstall;
use crate::inspect::installed_versions;
use crate::layout::{CURRENT, Layout, STABLE_LINKS};
use crate::lock::Lock;
use crate::registration::Registration;
use crate::report::Report;
use crate::transaction::{read_receipt, remove_any, sync_directory};
use anyhow::{Result, bail};
use std::io::ErrorKind;

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
    let _lock = Lock::acquire(&layout.lock())?;
    let Some(receipt) = read_receipt(&layout)? else {
        bail!("there is no receipt in {prefix}: what lies there is not known to be ours");
    };
    let versions = installed_versions(&layout)?;
    if let Some((id, process)) = first_use(&versions) {
        bail!("version {id} is in use by process {process}: remove its container first");
    }

    let mut report = Report { facts: vec![("prefix", prefix.clone())], ..Report::default() };
    if let Some(docker) = &receipt.docker {
        Registration::remove(&docker.daemon_json, &docker.name, &docker.path, &options.docker)?
            .apply(&mut report)?;
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

/// A version that is mounted in some process's namespace, and that process. The name of a version holds a digest,
/// which makes it unique among all mounts.
fn first_use(versions: &[String]) -> Option<(String, String)> {
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // A process that has ended meanwhile uses nothing.
        let Ok(mounts) = std::fs::read_to_string(process.path().join("mountinfo")) else { continue };
        if let Some(id) = versions.iter().find(|id| mounts.contains(&format!("versions/{id}/"))) {
            return Some((id.clone(), name));
        }
    }
    None
}
