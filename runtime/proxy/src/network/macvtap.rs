//! A macvtap on an interface of the container: what QEMU reads and writes as the guest's network card.

use super::read::Link;
use anyhow::Context;
use fs_err::os::unix::fs::OpenOptionsExt;
use rtnetlink::packet_route::link::MacVtapMode;
use rtnetlink::{Handle, LinkMacVtap};
use rustix::fs::{FileType, Mode};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Puts a macvtap on the interface. In mode *passthru* it is the only user of the interface and inherits its
/// hardware address, so that the bridge outside notices no difference. It takes all multicast, because it does not learn to
/// which groups the guest belongs: without, nobody finds an IPv6 neighbour behind it.
pub(super) async fn create(handle: &Handle, link: &Link, name: &str) -> Result<(), rtnetlink::Error> {
    let device = LinkMacVtap::new(name, link.index, MacVtapMode::Passthrough)
        .mtu(link.interface.mtu)
        .allmulticast(true)
        .up()
        .build();
    handle.link().add(device).execute().await
}

/// Opens the character device of a macvtap. Its major number is dynamic and nobody makes the node in a container,
/// so it is made here from what sysfs says, and removed at once.
pub(super) fn open(name: &str, index: u32) -> anyhow::Result<OwnedFd> {
    let sysfs = format!("/sys/class/net/{name}/tap{index}/dev");
    let text = fs_err::read_to_string(&sysfs)?;
    let (major, minor) = text
        .trim()
        .split_once(':')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .with_context(|| format!("{sysfs} is {text:?}, expected MAJOR:MINOR"))?;
    let node = format!("/dev/runq-tap{index}");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        Path::new(&node),
        FileType::CharacterDevice,
        Mode::RUSR | Mode::WUSR,
        rustix::fs::makedev(major, minor),
    )
    .with_context(|| format!("cannot make the device node {node}"))?;
    let device = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(&node)
        .context("cannot open the tap; the container's device cgroup has to allow it");
    fs_err::remove_file(&node)?;
    Ok(device?.into_parts().0.into())
}
