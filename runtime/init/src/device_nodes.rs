//! The container's `/dev`: the nodes and links of the OCI spec and the disks that the user attached. A tmpfs, not devtmpfs, which
//! would show the guest's own devices, too.

use crate::disks::{self, Device};
use anyhow::Context;
use runq_contract::guest::Guest;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::ffi::CStr;

/// Character devices of a container: name, major, minor (OCI runtime spec, "Default Devices").
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Links of a container: name, target ("Dev symbolic links").
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Where disks are found by the id that the user gave them.
const BY_ID: &str = "/dev/disk/by-runq-id";

/// The devices of the disks by their ids; to be found while the guest's own /sys can be seen.
pub(crate) fn find_disks(guest: &Guest) -> Vec<(String, Device)> {
    let with_device =
        |(number, disk): (usize, &runq_contract::disk::Disk)| Some((disk.id.clone(), disks::find(number)?));
    guest.disks.iter().enumerate().filter_map(with_device).collect()
}

/// Fills the tmpfs at /dev.
pub(crate) fn populate(terminal: Option<&CStr>, disks: &[(String, Device)]) -> anyhow::Result<()> {
    rustix::process::umask(Mode::empty());
    for (name, major, minor) in DEVICES {
        node(name, FileType::CharacterDevice, 0o666, (major, minor))?;
    }
    for (name, target) in LINKS {
        link(&format!("/dev/{name}"), target)?;
    }
    for (id, Device { name, numbers }) in disks {
        std::fs::create_dir_all(BY_ID).with_context(|| format!("cannot make {BY_ID}"))?;
        node(name, FileType::BlockDevice, 0o600, *numbers)?;
        link(&format!("{BY_ID}/{id}"), &format!("../../{name}"))?;
    }
    if let Some(slave) = terminal {
        let console = "/dev/console";
        rustix::fs::open(console, OFlags::CREATE | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))
            .with_context(|| format!("cannot make {console}"))?;
        rustix::mount::mount_bind(slave, console).with_context(|| format!("cannot bind {console}"))?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(())
}

fn node(name: &str, kind: FileType, mode: u32, (major, minor): (u32, u32)) -> anyhow::Result<()> {
    let path = format!("/dev/{name}");
    rustix::fs::mknodat(CWD, &path, kind, Mode::from_raw_mode(mode), rustix::fs::makedev(major, minor))
        .with_context(|| format!("cannot make {path}"))
}

fn link(path: &str, target: &str) -> anyhow::Result<()> {
    rustix::fs::symlink(target, path).with_context(|| format!("cannot make {path}"))
}
