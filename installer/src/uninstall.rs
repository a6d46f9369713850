//! `uninstall`: removes what the receipt says is ours. Runs on the host, as root.
//!
//! The entry of daemon.json goes first, so that Docker never names a runtime that is not there; the receipt goes last,
//! so that a run that was stopped can be repeated.

use crate::cli::Uninstall;
use crate::installed;
use crate::layout::{CURRENT, Layout, STABLE_LINKS};
use crate::lock::Lock;
use crate::registration::Registration;
use crate::report::Report;
use crate::transaction::{read_receipt, remove_any, sync_directory};
use anyhow::{Result, bail};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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
    let versions = installed::all(&layout)?;
    if let Some((id, process)) = first_use(&layout, &versions) {
        bail!("version {id} is in use by process {process}: remove its container first");
    }

    let mut report = Report { facts: vec![("prefix", prefix.clone())], ..Report::default() };
    for docker in &receipt.docker {
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

/// A version that is mounted in some process's namespace, and that process.
fn first_use(layout: &Layout, versions: &[String]) -> Option<(String, String)> {
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // A process that has ended meanwhile uses nothing.
        let Ok(mounts) = std::fs::read_to_string(process.path().join("mountinfo")) else { continue };
        let root = process.path().join("root");
        let used =
            |id: &&String| mounts.lines().any(|mount| is_mount_of(mount, &layout.version(id), id, &root));
        if let Some(id) = versions.iter().find(used) {
            return Some((id.clone(), name));
        }
    }
    None
}

/// Whether a line of a process's `mountinfo` (proc_pid_mountinfo(5)) shows a directory of this version. The same version
/// may be installed below another prefix: the two are told apart by what the mount point is, seen through `root`.
fn is_mount_of(mount: &str, version: &Path, id: &str, root: &Path) -> bool {
    let mut fields = mount.split(' ').skip(3);
    let (Some(source), Some(target)) = (fields.next(), fields.next()) else { return false };
    let Some((_, inside)) = source.split_once(&format!("versions/{id}/")) else { return false };
    let identity = |path: PathBuf| std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    match (identity(version.join(inside)), identity(root.join(target.trim_start_matches('/')))) {
        (Ok(ours), Ok(mounted)) => ours == mounted,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_version_elsewhere_is_not_ours() {
        let ours = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(ours.path().join("qemu")).unwrap();
        fs_err::create_dir_all(root.path().join("mnt")).unwrap();
        let line =
            |target: &str| format!("9 1 0:3 /var/lib/runq/versions/1-ab/qemu {target} ro - ext4 /dev/vda rw");
        assert!(!is_mount_of(&line("/mnt"), ours.path(), "1-ab", root.path()));
        std::os::unix::fs::symlink(ours.path().join("qemu"), root.path().join("same")).unwrap();
        assert!(is_mount_of(&line("/same"), ours.path(), "1-ab", root.path()));
        assert!(!is_mount_of(&line("/same"), ours.path(), "2-cd", root.path()));
    }
}
