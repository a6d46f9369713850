//! The paths below the prefix: what DESIGN calls the installed tree. Pure; runs on the host.

use std::path::{Path, PathBuf};

/// A link that stays the same whatever version is installed: name and relative target.
pub(crate) const STABLE_LINKS: [(&str, &str); 2] = [("runq", "current/runq"), ("qemu", "current/qemu")];

/// Name of the link to the active version.
pub(crate) const CURRENT: &str = "current";

/// What names of directories begin with that are not versions yet.
pub(crate) const STAGING_PREFIX: &str = ".staging-";

const VERSIONS: &str = "versions";

/// A prefix, absolute.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    prefix: PathBuf,
}

impl Layout {
    pub(crate) fn new(prefix: PathBuf) -> Self {
        Self { prefix }
    }

    pub(crate) fn prefix(&self) -> &Path {
        &self.prefix
    }

    pub(crate) fn versions(&self) -> PathBuf {
        self.prefix.join(VERSIONS)
    }

    pub(crate) fn version(&self, id: &str) -> PathBuf {
        self.versions().join(id)
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.versions().join(format!("{STAGING_PREFIX}{}", std::process::id()))
    }

    pub(crate) fn current(&self) -> PathBuf {
        self.prefix.join(CURRENT)
    }

    /// Target of `current`, relative: the tree may be copied elsewhere.
    pub(crate) fn current_target(id: &str) -> String {
        format!("{VERSIONS}/{id}")
    }

    /// The version that a target of `current` names.
    pub(crate) fn version_of_target(target: &str) -> Option<&str> {
        target.strip_prefix(VERSIONS)?.strip_prefix('/').filter(|id| !id.is_empty() && !id.contains('/'))
    }

    pub(crate) fn stable(&self, name: &str) -> PathBuf {
        self.prefix.join(name)
    }

    /// What daemon.json names.
    pub(crate) fn runtime(&self) -> PathBuf {
        self.stable("runq")
    }

    pub(crate) fn receipt(&self) -> PathBuf {
        self.prefix.join("receipt.json")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.prefix.join(".lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_its_own_targets() {
        assert_eq!(Layout::version_of_target(&Layout::current_target("1.0.0-abc")), Some("1.0.0-abc"));
        for target in ["versions", "versions/", "versions/a/b", "/versions/a", "elsewhere/a", "versionsa"] {
            assert_eq!(Layout::version_of_target(target), None, "{target}");
        }
    }
}
