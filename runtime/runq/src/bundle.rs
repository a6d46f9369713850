//! The OCI bundle on disk: reads `config.json`, writes both halves of the rewritten spec. A reader sees the old file or
//! the new one, never a part of one, also after a power loss.

use anyhow::Context;
use fs_err::os::unix::fs::OpenOptionsExt;
use runq_contract::vm_config::VmConfig;
use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Only root may read the VM configuration: environments carry secrets.
const VM_CONFIG_MODE: u32 = 0o600;

/// A directory with a `config.json`.
pub(crate) struct Bundle {
    config: PathBuf,
    /// Where the VM configuration goes, absolute.
    pub(crate) vm_config: PathBuf,
}

impl Bundle {
    /// The bundle in a directory.
    pub(crate) fn open(directory: &Path) -> anyhow::Result<Self> {
        let directory = fs_err::canonicalize(directory)?;
        Ok(Self { config: directory.join("config.json"), vm_config: directory.join("runq.json") })
    }

    /// Whether a VM configuration was written. Only the host's side of the bundle is looked at: a mark in the spec can
    /// come from an annotation of the user's.
    pub(crate) fn has_vm_config(&self) -> bool {
        self.vm_config.is_file()
    }

    /// The spec as generic JSON.
    pub(crate) fn read(&self) -> anyhow::Result<Value> {
        let json = fs_err::read(&self.config)?;
        serde_json::from_slice(&json).with_context(|| format!("{} is not JSON", self.config.display()))
    }

    /// The VM configuration first: a spec that is marked as rewritten must not be without it.
    pub(crate) fn write(&self, spec: &Value, config: &VmConfig) -> anyhow::Result<()> {
        let old = fs_err::metadata(&self.config)?;
        replace(&self.vm_config, &serde_json::to_vec(config)?, VM_CONFIG_MODE, None)?;
        replace(&self.config, &serde_json::to_vec(spec)?, old.mode() & 0o7777, Some((old.uid(), old.gid())))
    }
}

/// Writes a temporary file, makes it durable, and renames it.
fn replace(path: &Path, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>) -> anyhow::Result<()> {
    let temporary = path.with_extension(format!("json.runq-{}", std::process::id()));
    let write = || -> anyhow::Result<()> {
        let mut file =
            fs_err::OpenOptions::new().write(true).create_new(true).mode(VM_CONFIG_MODE).open(&temporary)?;
        file.write_all(bytes)?;
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::fchown(&file, Some(uid), Some(gid))
                .with_context(|| format!("cannot give {} its owner", temporary.display()))?;
        }
        fs_err::set_permissions(&temporary, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        file.sync_all()?;
        fs_err::rename(&temporary, path)?;
        Ok(())
    };
    let outcome = write();
    if outcome.is_err() {
        // The first error is the one that counts.
        fs_err::remove_file(&temporary).ok();
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replacing_keeps_the_mode_and_leaves_nothing_behind() {
        let directory = std::env::temp_dir().join(format!("runq-bundle-test-{}", std::process::id()));
        fs_err::create_dir_all(&directory).unwrap();
        let path = directory.join("config.json");
        fs_err::write(&path, "old").unwrap();
        replace(&path, b"new", 0o640, None).unwrap();
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(fs_err::read_dir(&directory).unwrap().count(), 1);
        fs_err::remove_dir_all(&directory).unwrap();
    }
}
