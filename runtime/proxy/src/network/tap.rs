//! The tap device of an interface: what QEMU reads and writes as the guest's network card. A macvtap where one can ride the
//! interface, else a tap to which all frames are redirected.

use super::read::Link;
use super::{macvtap, redirect};
use anyhow::Context;
use futures::TryStreamExt;
use rtnetlink::{Handle, LinkUnspec};
use runq_contract::network::MacAddress;
use std::os::fd::OwnedFd;

/// An open tap device.
pub(crate) struct Tap {
    /// Character device, read and write.
    pub(crate) fd: OwnedFd,
    /// Hardware address, that of the interface below.
    pub(crate) mac: MacAddress,
}

/// Attaches a tap to the interface, whose own addresses are removed: they are the guest's now.
pub(crate) async fn attach(handle: &Handle, link: &Link) -> anyhow::Result<Tap> {
    let name = format!("runq{}", link.index);
    let is_macvtap = !link.is_virtual_lan && macvtap::create(handle, link, &name).await.is_ok();
    let tun = if is_macvtap { None } else { Some(redirect::create(&name)?) };
    for address in &link.addresses {
        handle
            .address()
            .del(address.clone())
            .execute()
            .await
            .context("cannot remove the interface's address")?;
    }
    handle
        .link()
        .change(LinkUnspec::new_with_index(link.index).up().build())
        .execute()
        .await
        .context("cannot bring the interface up")?;
    let messages: Vec<_> = handle.link().get().match_name(name.clone()).execute().try_collect().await?;
    let index = messages.first().with_context(|| format!("{name} is gone"))?.header.index;
    let fd = match tun {
        Some(tun) => {
            redirect::connect(handle, link, index).await?;
            tun
        }
        None => macvtap::open(&name, index)?,
    };
    Ok(Tap { fd, mac: link.interface.mac })
}
