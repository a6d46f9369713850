//! Turns the container's file system into what the guest may see, and moves the proxy out of it. Runs in the
//! container, before anything else looks at a path: the image is hostile, so afterwards the proxy's own root is
//! the asset tree and the image is reachable below one directory only.

mod binds_below_dev;

use anyhow::Context;
use runq_contract::paths;
use rustix::mount::{self, MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::CapabilitySet;
use std::path::{Path, PathBuf};

/// The container's root, after [`isolate`]: image, volumes and binds, without the host-side kernel file systems.
pub(crate) const ROOT: &str = "/run/root";

/// Capabilities of who reads and writes the container's files on behalf of every user of the guest.
pub(crate) const FILE_SERVER: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);

/// Capabilities that virtiofsd needs besides, and gives up once it has the share for its root.
pub(crate) const LOCK_IN: CapabilitySet = CapabilitySet::SETPCAP.union(CapabilitySet::SYS_CHROOT);

/// Mounts of the container that the guest must not see: they are views of the host's kernel. It mounts its own.
const HIDDEN: [&str; 4] = ["dev", "proc", "sys", ".runq-assets"];

/// File system types that are views of the host's kernel wherever they are mounted.
const KERNEL_FILE_SYSTEMS: [&str; 7] = ["proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "devtmpfs"];

/// Makes the asset tree the root of the mount namespace. It keeps the container's `/dev`, `/proc` and `/sys`, and
/// has the container's root at [`ROOT`], with those of its `binds` that are below `/dev`.
pub(crate) fn isolate(binds: &[String]) -> anyhow::Result<()> {
    let assets = Path::new(paths::ASSETS);
    let run = assets.join(paths::RUN);
    mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("cannot make the container's mounts private")?;
    mount::mount("runq", &run, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0700")
        .with_context(|| format!("cannot mount a tmpfs at {}", run.display()))?;
    let root = assets.join(&ROOT[1..]);
    fs_err::create_dir(&root)?;
    bind(Path::new("/"), &root)?;
    for kernel in ["dev", "proc", "sys"] {
        bind(&Path::new("/").join(kernel), &assets.join(kernel))?;
    }
    rustix::process::chdir(assets).with_context(|| format!("cannot change to {}", assets.display()))?;
    rustix::process::pivot_root(".", ".")
        .with_context(|| format!("cannot make {} the root", assets.display()))?;
    mount::unmount(".", UnmountFlags::DETACH).context("cannot detach the container's former root")?;
    rustix::process::chdir("/").context("cannot change to the new root")?;
    let below_dev = binds_below_dev::take(binds)?;
    hide_kernel_file_systems()?;
    binds_below_dev::give_back(&below_dev)
}

fn bind(source: &Path, target: &Path) -> anyhow::Result<()> {
    mount::mount_bind_recursive(source, target)
        .with_context(|| format!("cannot bind {} to {}", source.display(), target.display()))
}

/// Detaches, below [`ROOT`], the mounts that show the host's kernel.
fn hide_kernel_file_systems() -> anyhow::Result<()> {
    let mountinfo = fs_err::read_to_string("/proc/self/mountinfo")?;
    for target in hidden_mounts(&mountinfo) {
        match mount::unmount(&target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // A mount below one that is already detached went with it.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot detach {} from the share", target.display()));
            }
        }
    }
    Ok(())
}

/// Mount points below [`ROOT`] to detach, given the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn hidden_mounts(mountinfo: &str) -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    let mut hidden = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, kind)) = line.split_once(" - ") else { continue };
        let Some(target) = mount.split(' ').nth(4) else { continue };
        let target = PathBuf::from(unescape(target));
        let Ok(inside) = target.strip_prefix(root) else { continue };
        let is_kernel = kind.split(' ').next().is_some_and(|kind| KERNEL_FILE_SYSTEMS.contains(&kind));
        if is_kernel || HIDDEN.iter().any(|name| inside == Path::new(name)) {
            hidden.push(target);
        }
    }
    hidden
}

/// Decodes the octal escapes of mountinfo: space, tab, newline, backslash.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, character)| text.replace(code, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_the_hosts_kernel_and_keeps_volumes() {
        let mountinfo = "\
1 0 0:1 / / ro - ext4 /dev/vda rw
2 1 0:2 / /proc rw - proc proc rw
3 1 0:3 / /run/root rw - overlay overlay rw
4 3 0:2 / /run/root/proc rw - proc proc rw
5 3 0:4 / /run/root/dev rw - tmpfs tmpfs rw
6 3 0:5 / /run/root/sys/fs/cgroup rw - cgroup2 cgroup rw
7 3 8:1 /vol /run/root/data\\040dir rw - ext4 /dev/sda1 rw
8 3 0:2 / /run/root/host/proc rw - proc proc rw
9 3 0:6 / /run/root/.runq-assets ro - ext4 /dev/vda rw
10 3 0:7 / /run/root/etc/hosts rw - ext4 /dev/vda rw";
        let hidden: Vec<String> =
            hidden_mounts(mountinfo).iter().map(|path| path.display().to_string()).collect();
        assert_eq!(
            hidden,
            [
                "/run/root/proc",
                "/run/root/dev",
                "/run/root/sys/fs/cgroup",
                "/run/root/host/proc",
                "/run/root/.runq-assets"
            ]
        );
    }

    #[test]
    fn decodes_mount_points() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
    }
}
