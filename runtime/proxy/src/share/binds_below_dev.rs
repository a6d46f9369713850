//! What the user bound to places below the container's `/dev`, which itself stays the host side's: the guest has devices of its
//! own. The binds are moved to a `/dev` in the share that has nothing else. Runs in the container, after its root was left; the
//! image is hostile, and no link of it is followed.

use super::ROOT;
use anyhow::Context;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{self, MountFlags, MoveMountFlags, OpenTreeFlags};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Where the new `/dev` is put together, out of the image's reach.
const STAGE: &str = "/run/dev";

/// A bind without a place.
pub(super) struct Taken {
    mount: OwnedFd,
    /// Relative to `/dev`.
    place: PathBuf,
    is_directory: bool,
}

/// Copies the binds below `/dev`, with what is mounted in them.
pub(super) fn take(binds: &[String]) -> anyhow::Result<Vec<Taken>> {
    let place = |bind| Some(Path::new(bind).strip_prefix("/dev").ok()?.to_owned());
    let mut taken: Vec<Taken> = Vec::new();
    let root = open_root()?;
    for place in binds.iter().filter_map(place) {
        if taken.iter().any(|outer| place.starts_with(&outer.place)) {
            continue;
        }
        let path = Path::new("dev").join(&place);
        let file = rustix::fs::openat2(&root, &path, PATH_ONLY, Mode::empty(), ResolveFlags::NO_SYMLINKS)
            .with_context(|| format!("cannot take the bind at /{}", path.display()))?;
        let mode = rustix::fs::fstat(&file).context("cannot look at a bind")?.st_mode;
        let is_directory = FileType::from_raw_mode(mode) == FileType::Directory;
        taken.push(Taken { mount: clone_mount(&file, "")?, place, is_directory });
    }
    Ok(taken)
}

/// Puts them to their places in the share.
pub(super) fn give_back(taken: &[Taken]) -> anyhow::Result<()> {
    if taken.is_empty() {
        return Ok(());
    }
    fs_err::create_dir(STAGE)?;
    mount::mount("dev", STAGE, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0755")
        .with_context(|| format!("cannot mount a tmpfs at {STAGE}"))?;
    for Taken { mount, place, is_directory } in taken {
        let target = Path::new(STAGE).join(place);
        if *is_directory {
            fs_err::create_dir_all(&target)?;
        } else {
            fs_err::create_dir_all(target.parent().unwrap_or(Path::new(STAGE)))?;
            fs_err::File::create(&target)?;
        }
        mount::move_mount(mount, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .with_context(|| format!("cannot put the bind back to /dev/{}", place.display()))?;
    }
    let dev = rustix::fs::openat2(open_root()?, "dev", PATH_ONLY, Mode::empty(), ResolveFlags::NO_SYMLINKS)
        .context("cannot open /dev of the image")?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    mount::move_mount(clone_mount(CWD, STAGE)?, "", dev, "", flags)
        .context("cannot put the binds below /dev into the share")
}

const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

fn open_root() -> anyhow::Result<OwnedFd> {
    rustix::fs::open(ROOT, PATH_ONLY, Mode::empty()).with_context(|| format!("cannot open {ROOT}"))
}

fn clone_mount(at: impl std::os::fd::AsFd, path: &str) -> anyhow::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    mount::open_tree(at, path, flags).with_context(|| format!("cannot copy a mount ({path:?})"))
}
