//! Fills a disk with the container's image, once: afterwards the disk is the container's root. Runs before any process of the
//! container, so nothing changes meanwhile. The image is hostile, but links in it are copied and never followed.

use crate::mounts::ROOT;
use crate::tree_copy::{Copy, LOST_AND_FOUND};
use anyhow::Context;
use runq_contract::guest::Guest;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// On a disk whose copy was begun and not finished.
const UNFINISHED: &str = ".runq-rootdisk-unfinished";

/// Copies the image to an empty disk, or goes on where that was interrupted. A disk with anything on it is a root already.
pub(crate) fn fill(target: &str, guest: &Guest) -> anyhow::Result<()> {
    let target = Path::new(target);
    let marker = target.join(UNFINISHED);
    let names = std::fs::read_dir(target)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<std::io::Result<Vec<_>>>()?;
    let is_new = names.iter().all(|name| name == LOST_AND_FOUND);
    if !is_new && !names.iter().any(|name| name == UNFINISHED) {
        return Ok(());
    }
    std::fs::write(&marker, "").context("cannot write to the disk")?;
    rustix::fs::sync();
    let root = guest.root_disk.as_ref().map_or(&[][..], |root| &root.exclude);
    let relative = |path: &String| PathBuf::from(path.trim_matches('/'));
    let copy = Copy {
        source: PathBuf::from(ROOT),
        target: target.to_owned(),
        excluded: root.iter().map(relative).collect(),
        // Mounts of the container: their mount points are needed, what is in them is not the image's.
        empty: guest
            .binds
            .iter()
            .chain(guest.mounts.iter().map(|mount| &mount.destination))
            .map(relative)
            .collect(),
        links: HashMap::new(),
    };
    copy.run()?;
    rustix::fs::sync();
    std::fs::remove_file(&marker).context("cannot remove the mark of an unfinished copy")
}
