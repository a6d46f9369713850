//! `gc`: removes versions that nobody needs any more. Runs on the host, as root; takes no space to give space back.

use crate::cli::Gc;
use crate::inspect::about;
use crate::installed;
use crate::layout::Layout;
use crate::report::{Report, VersionLine};
use crate::transaction::{lock, read_receipt, remove_any, sync_directory};
use crate::usage;
use anyhow::Result;
use fs_err as fs;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// `st_blocks` counts these, whatever the file system's blocks are.
const STAT_BLOCK_BYTES: u64 = 512;

/// Removes every version but the active one, the one before it, and those in use.
pub(crate) fn gc(options: &Gc) -> Result<Report> {
    let layout = Layout::new(std::path::absolute(&options.prefix.prefix)?);
    // Makes sure that this is a tree of ours: without an active version everything would be garbage.
    let active = installed::chosen_or_active(&layout, None)?;
    let _lock = if options.trial.dry_run { None } else { Some(lock(&layout)?) };
    let versions = installed::all(&layout)?;
    let users = usage::find(&layout, &versions)?;
    let mut kept = BTreeMap::new();
    kept.extend(users.iter().map(|(id, user)| (id.clone(), format!("used by {user}"))));
    if !options.all
        && let Some(previous) = read_receipt(&layout)?.and_then(|receipt| receipt.previous)
    {
        kept.insert(previous, "the version before".to_owned());
    }
    kept.insert(active, "active".to_owned());

    let mut report = Report::new(vec![("prefix", layout.prefix().display().to_string())]);
    let mut freed = 0;
    for id in versions {
        match kept.get(&id) {
            Some(reason) => {
                let line = VersionLine { about: about(&layout, &id), state: reason.clone(), id };
                report.versions.push(line);
            }
            None => {
                freed += disk_bytes(&layout.version(&id))?;
                if !options.trial.dry_run {
                    remove_version(&layout, &id)?;
                }
                report.changes.push(format!("remove versions/{id}"));
            }
        }
    }
    report.facts.push(("freed", format!("{} MiB", freed >> 20)));
    if options.trial.dry_run {
        return Ok(report.of_dry_run());
    }
    report.summary = match report.changes.len() {
        0 => "nothing to remove".into(),
        1 => "1 version was removed".into(),
        more => format!("{more} versions were removed"),
    };
    Ok(report)
}

/// A version that is half removed must not have its name any more.
fn remove_version(layout: &Layout, id: &str) -> Result<()> {
    let leaving = layout.staging();
    if fs::rename(layout.version(id), &leaving).is_ok() {
        sync_directory(&layout.versions())?;
        return remove_any(&leaving);
    }
    // A full copy-on-write file system may have no room for a rename.
    remove_any(&layout.version(id))
}

fn disk_bytes(path: &Path) -> Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    let mut bytes = metadata.blocks() * STAT_BLOCK_BYTES;
    if metadata.is_dir() {
        for item in fs::read_dir(path)? {
            bytes += disk_bytes(&item?.path())?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use crate::test_host::Host;

    fn host() -> Host {
        let host = Host::new();
        for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0"] {
            host.with_docker(&host.bundle(version, "x86_64", "x86_64")).unwrap();
        }
        host
    }

    #[test]
    fn keeps_the_active_version_and_the_one_before() {
        let host = host();
        let report = host.run("gc --prefix DIR/prefix --dry-run").unwrap();
        assert_eq!((report.changes.len(), host.names("versions").len()), (2, 4));
        let report = host.run("gc --prefix DIR/prefix").unwrap();
        assert_eq!(report.summary, "2 versions were removed");
        let left = host.names("versions").join(" ");
        assert!(left.starts_with("1.2.0-") && left.contains(" 1.3.0-"), "{left}");
        host.run("rollback --prefix DIR/prefix").unwrap();
        let report = host.run("gc --all --prefix DIR/prefix").unwrap();
        assert_eq!(report.summary, "1 version was removed");
        assert!(host.names("versions")[0].starts_with("1.2.0-"));
        assert_eq!(host.run("gc --all --prefix DIR/prefix").unwrap().summary, "nothing to remove");
    }

    #[test]
    fn touches_nothing_where_nothing_is_active() {
        let host = host();
        std::fs::remove_file(host.prefix("current")).unwrap();
        let error = host.run("gc --prefix DIR/prefix").unwrap_err().to_string();
        assert!(error.contains("is not installed"), "{error}");
        assert_eq!(host.names("versions").len(), 4);
    }
}
