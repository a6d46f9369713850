//! Debian's packages of any architecture and release, fetched and verified by an apt with a state of its own: the host's
//! sources and packages stay as they are, and nothing of a package is executed. Keeps lists and packages in the cache.

use crate::{command, workspace};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where apt's packages come from, and whose signature it demands.
const SOURCE: &str =
    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian";

/// An apt for one release and architecture.
#[derive(Debug)]
pub struct Apt {
    dir: PathBuf,
    arch: String,
}

impl Apt {
    /// Reads the indexes of `suite` for Debian's architecture `arch`.
    ///
    /// # Errors
    /// When the archive cannot be reached or its signature is wrong.
    pub fn update(suite: &str, arch: &str) -> Result<Self> {
        let dir = workspace::cache().join("apt").join(format!("{suite}-{arch}"));
        for sub in ["lists/partial", "archives/partial"] {
            fs_err::create_dir_all(dir.join(sub))?;
        }
        fs_err::write(dir.join("sources.list"), format!("{SOURCE} {suite} main\n"))?;
        fs_err::write(dir.join("status"), "")?;
        let apt = Self { dir, arch: arch.to_owned() };
        command::show(apt.get().arg("update"))?;
        Ok(apt)
    }

    /// Unpacks one package below `root`, without those that it needs.
    ///
    /// # Errors
    /// When there is no such package.
    pub fn unpack_alone(&self, package: &str, root: &Path) -> Result<()> {
        let work = tempfile::tempdir_in(&self.dir)?;
        command::show(self.get().current_dir(work.path()).args(["download", package]))?;
        unpack(work.path(), root)
    }

    /// Unpacks packages and all that they need below `root`, whose `/usr` is merged.
    ///
    /// # Errors
    /// When one cannot be had.
    pub fn unpack(&self, packages: &[&str], root: &Path) -> Result<()> {
        command::show(self.get().arg("autoclean"))?;
        let install = ["install", "--download-only", "--yes", "--no-install-recommends"];
        command::show(self.get().args(install).args(packages))?;
        for dir in ["bin", "sbin", "lib"] {
            fs_err::create_dir_all(root.join("usr").join(dir))?;
            std::os::unix::fs::symlink(Path::new("usr").join(dir), root.join(dir))
                .with_context(|| format!("cannot merge /{dir}"))?;
        }
        unpack(&self.dir.join("archives"), root)
    }

    fn get(&self) -> Command {
        let mut apt = Command::new("apt-get");
        apt.args(["-qq", "-o", "Dir::Etc::SourceParts=-", "-o", "APT::Sandbox::User=root"]);
        apt.args(["-o", "Acquire::Retries=3", "-o", &format!("APT::Architecture={}", self.arch)]);
        apt.args(["-o", &format!("APT::Architectures={}", self.arch)]);
        for (option, path) in [
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::State::Lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache::Archives", "archives"),
        ] {
            apt.args(["-o", &format!("{option}={}", self.dir.join(path).display())]);
        }
        apt
    }
}

fn unpack(archives: &Path, root: &Path) -> Result<()> {
    let debs = fs_err::read_dir(archives)?.filter_map(std::result::Result::ok).map(|entry| entry.path());
    let debs: Vec<_> = debs.filter(|path| path.extension().is_some_and(|name| name == "deb")).collect();
    anyhow::ensure!(!debs.is_empty(), "apt downloaded no package into {}", archives.display());
    for deb in debs {
        let mut tar = Command::new("sh");
        tar.args([
            "-ec",
            "dpkg-deb --fsys-tarfile \"$1\" | tar -x -C \"$2\" --keep-directory-symlink",
            "unpack",
        ]);
        command::show(tar.arg(&deb).arg(root))?;
    }
    Ok(())
}
