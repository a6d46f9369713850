//! The container's network, moved into the guest: every Ethernet interface gets a tap device that takes over its
//! hardware address, and its addresses and routes are handed to the guest. Runs in the container's network
//! namespace. Everything is read and checked before the first change.

mod macvtap;
mod read;
mod redirect;
mod tap;

pub(crate) use tap::Tap;

use anyhow::Context;
use runq_contract::network::Network;

/// Reads the container's interfaces, addresses and routes, and attaches a tap to each interface.
pub(crate) async fn take_over() -> anyhow::Result<(Network, Vec<Tap>)> {
    let (connection, handle, _) = rtnetlink::new_connection().context("cannot open a netlink socket")?;
    let connection = tokio::spawn(connection);
    let links = read::links(&handle).await.context("cannot read the container's interfaces")?;
    let routes = read::routes(&handle, &links).await.context("cannot read the container's routes")?;
    let mut taps = Vec::with_capacity(links.len());
    for link in &links {
        let tap = tap::attach(&handle, link)
            .await
            .with_context(|| format!("cannot attach the guest to {}", link.interface.name))?;
        taps.push(tap);
    }
    connection.abort();
    let interfaces = links.into_iter().map(|link| link.interface).collect();
    Ok((Network { interfaces, routes }, taps))
}
