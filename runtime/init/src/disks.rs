//! The disks of the container: finds the devices, mounts them where the image cannot see it, and unmounts them at the end. What is
//! on them is the user's or an earlier guest's; nothing of it is trusted, and nothing but the guest can suffer from it.

use crate::{modprobe, root_disk};
use anyhow::{Context, bail};
use runq_contract::disk::{self, Disk};
use runq_contract::guest::Guest;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use std::time::{Duration, Instant};

/// Below it, disks with a file system are mounted by number.
const MOUNTS: &str = "/run/disks";

/// How long the kernel may take to find a disk, and to let go of one.
const PATIENCE: Duration = Duration::from_secs(5);

/// A disk that the kernel has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// The kernel's name: `vda`.
    pub(crate) name: String,
    /// Major and minor number.
    pub(crate) numbers: (u32, u32),
}

/// Where a disk is mounted for `init`.
pub(crate) fn mount_path(number: usize) -> String {
    format!("{MOUNTS}/{number}")
}

/// Whether the disk is mounted at all.
fn is_mounted(guest: &Guest, number: usize) -> bool {
    guest.disks[number].mount_point.is_some()
        || guest.root_disk.as_ref().is_some_and(|root| root.disk == number)
}

/// Finds all disks and mounts those that have to be. The share must be mounted: the modules come from there.
pub(crate) fn set_up(guest: &Guest) -> anyhow::Result<()> {
    if guest.disks.is_empty() {
        return Ok(());
    }
    // Where it is built in, there is no such module.
    let loaded = modprobe::load("virtio_blk");
    for (number, disk) in guest.disks.iter().enumerate() {
        let device = wait_for(number).with_context(|| match &loaded {
            Ok(()) => format!("cannot find disk {}", disk.id),
            Err(error) => format!("cannot find disk {} ({error:#})", disk.id),
        })?;
        if is_mounted(guest, number) {
            mount(&device, disk, number).with_context(|| format!("cannot mount disk {}", disk.id))?;
        }
    }
    if let Some(root) = &guest.root_disk {
        root_disk::fill(&mount_path(root.disk), guest)
            .with_context(|| format!("cannot copy the image to disk {}", guest.disks[root.disk].id))?;
    }
    Ok(())
}

fn mount(device: &Device, disk: &Disk, number: usize) -> anyhow::Result<()> {
    let Some(file_system) = disk.file_system else { bail!("it has no file system") };
    let target = mount_path(number);
    std::fs::create_dir_all(&target).with_context(|| format!("cannot make {target}"))?;
    let flags = if disk.read_only { MountFlags::RDONLY } else { MountFlags::empty() };
    let source = format!("/dev/{}", device.name);
    rustix::mount::mount(source, target, file_system.name(), flags, c"")
        .with_context(|| format!("expected an {} file system that this kernel can use", file_system.name()))
}

fn wait_for(number: usize) -> anyhow::Result<Device> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(device) = find(number) {
            return Ok(device);
        }
        if Instant::now() > deadline {
            bail!("no block device has the serial number {}", disk::serial(number));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The device of a disk, by its serial number.
pub(crate) fn find(number: usize) -> Option<Device> {
    let serial = disk::serial(number);
    let attribute =
        |name: &str, attribute: &str| std::fs::read_to_string(format!("/sys/block/{name}/{attribute}"));
    let names = std::fs::read_dir("/sys/block").ok()?.flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.into_string().ok()).find_map(|name| {
        let is_it = attribute(&name, "serial").is_ok_and(|found| found.trim() == serial);
        let numbers = attribute(&name, "dev").ok()?;
        let (major, minor) = numbers.trim().split_once(':')?;
        is_it.then_some(Device { numbers: (major.parse().ok()?, minor.parse().ok()?), name })
    })
}

/// Unmounts all disks and waits until the kernel has let go of them, so that their file systems are clean. Every process
/// of the container has ended, but its mounts may take a moment longer.
pub(crate) fn release(guest: &Guest) {
    let deadline = Instant::now() + PATIENCE;
    for number in (0..guest.disks.len()).filter(|number| is_mounted(guest, *number)) {
        if let Err(error) = rustix::mount::unmount(mount_path(number), UnmountFlags::DETACH) {
            crate::kernel_log::error(&format!("cannot unmount disk {}: {error}", guest.disks[number].id));
        }
        let Some(device) = find(number) else { continue };
        let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC;
        let is_free = || rustix::fs::open(format!("/dev/{}", device.name), flags, Mode::empty()).is_ok();
        while !is_free() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
