//! Mounts that are put on top of the container's root: disks, and binds of the host that would otherwise be hidden. They are taken
//! while the guest's own root can be seen, and attached when the container's has become the root.

use crate::disks;
use crate::mounts::ROOT;
use anyhow::{Context, anyhow};
use runq_contract::guest::Guest;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};
use std::os::fd::OwnedFd;
use std::path::Path;

/// A mount without a place.
pub(crate) struct Attachment {
    mount: OwnedFd,
    /// Absolute, in the container.
    target: String,
    is_directory: bool,
}

/// All attachments in their order. A disk hides what is below its mount point, volumes that the image asks for included.
pub(crate) fn collect(guest: &Guest) -> anyhow::Result<Vec<Attachment>> {
    let mut found = Vec::new();
    for bind in guest.binds.iter().filter(|bind| is_hidden(bind, guest)) {
        found.extend(take_bind(bind).with_context(|| format!("cannot take the bind {bind}"))?);
    }
    for (number, disk) in guest.disks.iter().enumerate() {
        let Some(target) = &disk.mount_point else { continue };
        let mount = clone(CWD, &disks::mount_path(number))
            .with_context(|| format!("cannot take the mount of disk {}", disk.id))?;
        found.push(Attachment { mount, target: target.clone(), is_directory: true });
    }
    Ok(found)
}

/// With a root of the container's own nothing of the share is seen; otherwise a guest's mount covers what is below it.
fn is_hidden(bind: &str, guest: &Guest) -> bool {
    let below = |directory: &str| bind != directory && Path::new(bind).starts_with(directory);
    let is_covered = guest.mounts.iter().any(|mount| below(&mount.destination));
    guest.root_disk.is_some() || is_covered
}

/// What the share has at the place; nothing when the host could not show it.
fn take_bind(bind: &str) -> anyhow::Result<Option<Attachment>> {
    let root = rustix::fs::open(ROOT, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let open = |flags| {
        let flags = OFlags::PATH | OFlags::CLOEXEC | flags;
        rustix::fs::openat2(&root, bind.trim_start_matches('/'), flags, Mode::empty(), ResolveFlags::IN_ROOT)
    };
    // As a directory first: the kernel enters a mount of the host for nothing less.
    let file = match open(OFlags::DIRECTORY) {
        Err(Errno::NOTDIR) => open(OFlags::empty()),
        opened => opened,
    };
    let file = match file {
        Err(Errno::NOENT) => return Ok(None),
        file => file?,
    };
    let is_directory = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) == FileType::Directory;
    let mount = clone(&file, "")?;
    Ok(Some(Attachment { mount, target: bind.to_owned(), is_directory }))
}

fn clone(at: impl std::os::fd::AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(at, path, flags)
}

/// Makes the mount points that are missing and attaches everything. The container's root is the root.
pub(crate) fn attach(attachments: &[Attachment]) -> anyhow::Result<()> {
    for Attachment { mount, target, is_directory } in attachments {
        make_mount_point(Path::new(target), *is_directory)
            .with_context(|| format!("cannot make the mount point {target}"))?;
        rustix::mount::move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .with_context(|| format!("cannot mount at {target}"))?;
    }
    Ok(())
}

fn make_mount_point(target: &Path, is_directory: bool) -> anyhow::Result<()> {
    if target.exists() {
        return Ok(());
    }
    if is_directory {
        return Ok(std::fs::create_dir_all(target)?);
    }
    let parent = target.parent().ok_or_else(|| anyhow!("it is the root"))?;
    std::fs::create_dir_all(parent)?;
    std::fs::File::create_new(target)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use runq_contract::disk::RootDisk;
    use runq_contract::guest::GuestMount;

    #[test]
    fn binds_below_a_mount_of_the_guest_are_hidden() {
        let mount = |destination: &str| GuestMount {
            destination: destination.to_owned(),
            kind: "tmpfs".to_owned(),
            source: String::new(),
            options: Vec::new(),
        };
        let mut guest = Guest { mounts: vec![mount("/dev"), mount("/run")], ..Guest::default() };
        let hidden = |guest: &Guest| {
            ["/run/x", "/run", "/runner", "/etc/hosts", "/dev/x"].map(|bind| is_hidden(bind, guest))
        };
        assert_eq!(hidden(&guest), [true, false, false, false, true]);
        guest.root_disk = Some(RootDisk { disk: 0, exclude: Vec::new(), read_only: false });
        assert_eq!(hidden(&guest), [true; 5]);
    }
}
