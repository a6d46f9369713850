//! A tap device beside an interface, and rules of traffic control that hand every frame from one to the other: for interfaces
//! that a macvtap cannot ride, such as those of macvlan and ipvlan networks, and for hosts without macvtap.

use super::read::Link;
use anyhow::Context;
use fs_err::os::unix::fs::OpenOptionsExt;
use rtnetlink::{Handle, LinkUnspec};
use std::os::fd::OwnedFd;

const TUN: &str = "/dev/net/tun";

/// The parent of what comes in on a device, `ffff:` (tc(8)).
const INGRESS: u32 = 0xffff_0000;

/// Every protocol, `ETH_P_ALL`.
const ALL_PROTOCOLS: u16 = 3;

/// Makes the tap device. Nothing goes through it before [`connect`].
pub(super) fn create(name: &str) -> anyhow::Result<OwnedFd> {
    let mut options = fs_err::OpenOptions::new();
    let tun = options.read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(TUN)?;
    let tun: OwnedFd = tun.into_parts().0.into();
    runq_sys::tap::attach(&tun, name).context("cannot make a tap device")?;
    Ok(tun)
}

/// Brings the tap up and redirects frames both ways.
pub(super) async fn connect(handle: &Handle, link: &Link, tap: u32) -> anyhow::Result<()> {
    let up = LinkUnspec::new_with_index(tap).mtu(link.interface.mtu).up().build();
    handle.link().change(up).execute().await.context("cannot bring the tap up")?;
    redirect(handle, tap, link.index).await.context("cannot redirect what the guest sends")?;
    redirect(handle, link.index, tap).await.context("cannot redirect what the guest receives")
}

async fn redirect(handle: &Handle, from: u32, to: u32) -> anyhow::Result<()> {
    let index = i32::try_from(from)?;
    handle.qdisc().add(index).ingress().execute().await.context("cannot add the ingress queue")?;
    let filter = handle.traffic_filter(index).add().parent(INGRESS).protocol(ALL_PROTOCOLS.to_be());
    filter.redirect(to)?.execute().await.context("cannot add the filter")
}
