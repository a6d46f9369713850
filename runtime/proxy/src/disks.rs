//! The disks of the VM, opened for QEMU, which gets descriptors and no names. Runs in the container before its root is left;
//! the nodes were made by runc, in a `/dev` that the image has no part in.

use anyhow::{Context, bail};
use runq_contract::disk::{self, Cache, Drive};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// A disk that is open.
pub(crate) struct OpenDisk {
    /// The image or the device.
    pub(crate) fd: OwnedFd,
    /// Whether it is a device.
    pub(crate) is_device: bool,
    /// How QEMU is to use it.
    pub(crate) drive: Drive,
}

/// Opens all disks in their order.
pub(crate) fn open(drives: &[Drive]) -> anyhow::Result<Vec<OpenDisk>> {
    drives
        .iter()
        .enumerate()
        .map(|(number, drive)| {
            open_one(&disk::host_node(number), *drive)
                .with_context(|| format!("cannot open disk {number} of the container"))
        })
        .collect()
}

fn open_one(path: &str, drive: Drive) -> anyhow::Result<OpenDisk> {
    let mut flags = OFlags::CLOEXEC | OFlags::NONBLOCK;
    flags |= if drive.read_only { OFlags::RDONLY } else { OFlags::RDWR };
    if drive.cache == Cache::None {
        flags |= OFlags::DIRECT;
    }
    let fd = match rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Err(Errno::INVAL) if drive.cache == Cache::None => {
            bail!("its file system cannot do without the page cache: choose another cache than none")
        }
        Err(Errno::PERM) => bail!("the container's device control group does not allow it"),
        opened => opened?,
    };
    let mode = rustix::fs::fstat(&fd).context("cannot look at it")?.st_mode;
    let is_device = match FileType::from_raw_mode(mode) {
        FileType::BlockDevice => true,
        FileType::RegularFile => false,
        other => bail!("it is neither a file nor a block device but {other:?}"),
    };
    Ok(OpenDisk { fd, is_device, drive })
}

#[cfg(test)]
mod tests {
    use super::*;
    use runq_contract::disk::Format;

    const DRIVE: Drive = Drive { cache: Cache::Writeback, format: Format::Raw, read_only: true };

    #[test]
    fn opens_files_but_no_links_and_no_other_devices() {
        let dir = std::env::temp_dir().join(format!("runq-disks-{}", std::process::id()));
        fs_err::create_dir_all(&dir).unwrap();
        let (file, link) = (dir.join("file"), dir.join("link"));
        fs_err::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(!open_one(file.to_str().unwrap(), DRIVE).unwrap().is_device);
        assert!(open_one(link.to_str().unwrap(), DRIVE).is_err());
        assert!(open_one("/dev/null", DRIVE).is_err());
        fs_err::remove_dir_all(&dir).unwrap();
    }
}
