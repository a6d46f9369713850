//! What a process of the container sees: the share as its root, the guest's kernel in /proc, /sys and /dev, and the
//! paths that the spec hides. Runs in the child, in a mount namespace of its own. The image is hostile, but all that a
//! link in it can reach is the guest's own file system, which has nothing of value.

use crate::mounts::{DEVPTS, ROOT};
use crate::{attachments, device_nodes, disks, tree_copy};
use anyhow::Context;
use nix::sched::{CloneFlags, unshare};
use runq_contract::guest::{Dns, Guest, GuestMount};
use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Where the guest's resolver configuration is before it is put over the image's.
const RESOLV_CONF: &str = "/run/resolv.conf";

/// Option of a tmpfs that starts with what it covers.
const COPY_UP: &str = "tmpcopyup";

/// Enters the container's file system in a mount namespace of its own.
pub(crate) fn enter(guest: &Guest, terminal: Option<&CStr>) -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("cannot make the mounts private")?;
    let devpts = clone_mount(DEVPTS)?;
    let resolv_conf = guest.dns.as_ref().map(write_resolv_conf).transpose()?;
    let attachments = attachments::collect(guest)?;
    let disks = device_nodes::find_disks(guest);
    enter_root(&guest.root_disk.as_ref().map_or(ROOT.to_owned(), |root| disks::mount_path(root.disk)))?;
    for mount in &guest.mounts {
        mount_in_guest(mount, &devpts)
            .with_context(|| format!("cannot mount {} at {}", mount.kind, mount.destination))?;
    }
    if guest.mounts.iter().any(|mount| mount.destination == "/dev") {
        device_nodes::populate(terminal, &disks)?;
    }
    attachments::attach(&attachments)?;
    if let Some(resolv_conf) = resolv_conf {
        attach(&resolv_conf, "/etc/resolv.conf").context("cannot put the DNS configuration in place")?;
    }
    for path in &guest.masked_paths {
        mask(path).with_context(|| format!("cannot mask {path}"))?;
    }
    for path in &guest.readonly_paths {
        make_readonly(path).with_context(|| format!("cannot make {path} read-only"))?;
    }
    if guest.root_disk.as_ref().is_some_and(|root| root.read_only) {
        make_root_readonly().context("cannot make the root read-only")?;
    }
    Ok(())
}

/// Makes the share, or a disk, the root. An initial RAM disk cannot be pivoted away: the other one is moved over it instead.
fn enter_root(path: &str) -> anyhow::Result<()> {
    rustix::process::chdir(path).with_context(|| format!("cannot change to {path}"))?;
    rustix::mount::mount_move(".", "/").context("cannot move the root file system to /")?;
    rustix::process::chroot(".").context("cannot change the root")?;
    rustix::process::chdir("/").context("cannot change to the new root")
}

/// A detached copy of a mount, to be attached where its name is out of reach.
fn clone_mount(path: &str) -> anyhow::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, path, flags).with_context(|| format!("cannot copy the mount of {path}"))
}

fn attach(mount: &OwnedFd, target: &str) -> rustix::io::Result<()> {
    rustix::mount::move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn write_resolv_conf(dns: &Dns) -> anyhow::Result<OwnedFd> {
    std::fs::write(RESOLV_CONF, resolv_conf(dns)).with_context(|| format!("cannot write {RESOLV_CONF}"))?;
    rustix::fs::chmod(RESOLV_CONF, Mode::from_raw_mode(0o644))
        .with_context(|| format!("cannot chmod {RESOLV_CONF}"))?;
    clone_mount(RESOLV_CONF)
}

/// Text of resolv.conf(5).
fn resolv_conf(dns: &Dns) -> String {
    let mut text = String::new();
    for server in &dns.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    for (keyword, words) in [("search", &dns.search), ("options", &dns.options)] {
        if !words.is_empty() {
            text.push_str(&format!("{keyword} {}\n", words.join(" ")));
        }
    }
    text
}

fn mount_in_guest(mount: &GuestMount, devpts: &OwnedFd) -> anyhow::Result<()> {
    let GuestMount { destination, kind, source, options } = mount;
    if !Path::new(destination).is_dir() {
        std::fs::create_dir_all(destination).context("cannot make the mount point")?;
    }
    if kind == "devpts" {
        return Ok(attach(devpts, destination)?);
    }
    // The guest has one hierarchy, whatever the host has.
    let kind = if kind == "cgroup" { "cgroup2" } else { kind };
    let (flags, data) = parse_options(options);
    let below =
        rustix::fs::open(destination, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::mount::mount(source, destination, kind, flags, CString::new(data)?.as_c_str())?;
    if options.iter().any(|option| option == COPY_UP) {
        copy_up(&below, destination).context("cannot copy what the image has there")?;
    }
    Ok(())
}

/// podman's and runc's `tmpcopyup`: a tmpfs starts with what it covers. A directory is reached below a mount from within.
fn copy_up(below: &OwnedFd, destination: &str) -> anyhow::Result<()> {
    rustix::process::fchdir(below)?;
    let copy = tree_copy::Copy {
        source: PathBuf::from("."),
        target: PathBuf::from(destination),
        excluded: HashSet::new(),
        empty: HashSet::new(),
        links: HashMap::new(),
    };
    copy.run()?;
    Ok(rustix::process::chdir("/")?)
}

/// Splits OCI mount options into flags and the file system's own data. Propagation does not matter in the guest.
fn parse_options(options: &[String]) -> (MountFlags, String) {
    let mut flags = MountFlags::empty();
    let mut data: Vec<&str> = Vec::new();
    for option in options {
        match option.as_str() {
            "ro" => flags |= MountFlags::RDONLY,
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            "sync" => flags |= MountFlags::SYNCHRONOUS,
            "dirsync" => flags |= MountFlags::DIRSYNC,
            "noatime" => flags |= MountFlags::NOATIME,
            "nodiratime" => flags |= MountFlags::NODIRATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            "strictatime" => flags |= MountFlags::STRICTATIME,
            "rw" | "suid" | "dev" | "exec" | "async" | "atime" | "diratime" | "defaults" => {}
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" | "unbindable"
            | "runbindable" => {}
            COPY_UP => {}
            other => data.push(other),
        }
    }
    (flags, data.join(","))
}

/// Hides a file behind /dev/null and a directory behind an empty tmpfs. What is not there needs no hiding.
fn mask(path: &str) -> rustix::io::Result<()> {
    match rustix::mount::mount_bind("/dev/null", path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTDIR) => rustix::mount::mount("tmpfs", path, "tmpfs", MountFlags::RDONLY, c""),
        Err(error) => Err(error),
    }
}

fn make_root_readonly() -> rustix::io::Result<()> {
    rustix::mount::mount_remount("/", MountFlags::BIND | MountFlags::RDONLY, c"")
}

fn make_readonly(path: &str) -> rustix::io::Result<()> {
    match rustix::mount::mount_bind_recursive(path, path) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    }
    // A remount has to repeat the flags of the mount below.
    let below = rustix::fs::statvfs(path)?.f_flag;
    let mut kept = MountFlags::empty();
    kept.set(MountFlags::NOSUID, below.contains(StatVfsMountFlags::NOSUID));
    kept.set(MountFlags::NODEV, below.contains(StatVfsMountFlags::NODEV));
    kept.set(MountFlags::NOEXEC, below.contains(StatVfsMountFlags::NOEXEC));
    rustix::mount::mount_remount(path, MountFlags::BIND | MountFlags::RDONLY | kept, c"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_options_into_flags_and_data() {
        let options = ["nosuid", "noexec", "rprivate", "mode=1777", "size=64m"].map(str::to_owned);
        let (flags, data) = parse_options(&options);
        assert_eq!(flags, MountFlags::NOSUID | MountFlags::NOEXEC);
        assert_eq!(data, "mode=1777,size=64m");
    }

    #[test]
    fn writes_resolver_configuration() {
        let dns = Dns {
            servers: vec!["8.8.8.8".to_owned(), "2001:db8::1".to_owned()],
            options: vec!["ndots:2".to_owned(), "rotate".to_owned()],
            search: vec!["example.org".to_owned()],
        };
        let expected =
            "nameserver 8.8.8.8\nnameserver 2001:db8::1\nsearch example.org\noptions ndots:2 rotate\n";
        assert_eq!(resolv_conf(&dns), expected);
    }
}
