//! The Docker of another Debian than this machine's: in a root directory of its own below the target directory, with
//! mounts that only its daemons see. Nothing of it is installed on the host. On the host as root; the packages are
//! verified by that Debian's apt.

use crate::{command, images, report, workspace};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Unpacking a hundred packages on a loaded machine.
const LIMIT: Duration = Duration::from_secs(600);

/// Packages that make a Docker host.
const PACKAGES: &str = "crun docker.io iptables procps";

/// Keeps the packages from starting their services.
const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// Makes the host's kernel interfaces and the files of the tests visible in the root `$1`, each directory that follows at
/// its own path, and runs the rest of the arguments, after `--`, there. The shell becomes that program.
const ENTER: &str = r#"
root=$1; shift; mount --bind "$root" "$root"
mount -t tmpfs tmpfs "$root/run"
for dir in /proc /sys /dev; do mount --rbind $dir "$root$dir"; done
while [ "$1" != -- ]; do mkdir -p "$root$1"; mount --rbind "$1" "$root$1"; shift; done
shift; exec chroot "$root" "$@"
"#;

/// A root directory with Docker's daemons in it.
#[derive(Debug, Clone)]
pub struct DockerRelease {
    root: PathBuf,
}

impl DockerRelease {
    /// That of the Debian release that the images come from; made once.
    ///
    /// # Errors
    /// When a package cannot be had.
    pub fn newer() -> Result<Self> {
        let root = workspace::target().join("docker").join(images::SUITE);
        let done = root.with_extension("done");
        if !fs_err::read_to_string(&done).is_ok_and(|made_of| made_of == PACKAGES) {
            report::step(format_args!("docker: that of Debian {}, in {}", images::SUITE, root.display()));
            if root.exists() {
                fs_err::remove_dir_all(&root)?;
            }
            unpack(&root)?;
            fs_err::write(done, PACKAGES)?;
        }
        Ok(Self { root })
    }

    /// One that was made before.
    #[must_use]
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Words before the first daemon's command line: mounts of its own, `shared` at their own paths.
    #[must_use]
    pub fn enter(&self, shared: &[&Path]) -> Vec<String> {
        let words = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", ENTER, "enter"];
        let paths = [self.root.as_path()].into_iter().chain(shared.iter().copied());
        let paths = paths.map(|path| path.display().to_string());
        words.map(str::to_owned).into_iter().chain(paths).chain(["--".to_owned()]).collect()
    }

    /// Words before a further daemon's command line: the mounts of the first one.
    #[must_use]
    pub fn join(first: i32) -> Vec<String> {
        ["nsenter", "--target", &first.to_string(), "--mount", "--root", "--wd"].map(str::to_owned).to_vec()
    }
}

fn unpack(root: &Path) -> Result<()> {
    fs_err::create_dir_all(root)?;
    let mut tar = Command::new("tar");
    command::output(
        tar.arg("--directory").arg(root).arg("--extract").arg("--file").arg(images::debian()?),
        LIMIT,
    )?;
    let policy = root.join("usr/sbin/policy-rc.d");
    fs_err::write(&policy, POLICY)?;
    fs_err::set_permissions(&policy, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    fs_err::copy("/etc/resolv.conf", root.join("etc/resolv.conf"))?;
    let script = format!(
        "apt-get update && apt-get install --yes --no-install-recommends {PACKAGES} && apt-get clean"
    );
    let mut apt = Command::new("chroot");
    apt.arg(root).args(["sh", "-c", &script]).env("DEBIAN_FRONTEND", "noninteractive");
    command::output(&mut apt, LIMIT).map(drop)
}
