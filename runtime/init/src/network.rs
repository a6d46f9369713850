//! Rebuilds the container's network on the guest's devices: names, addresses and routes are those that Docker gave.

use anyhow::Context;
use futures::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};
use runq_contract::network::{Address, Interface, Network, Route};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Index of the loopback device, which the kernel makes first.
const LOOPBACK: u32 = 1;

/// Configures the loopback and every interface, then the routes in order.
pub(crate) async fn configure(network: &Network) -> anyhow::Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection().context("cannot open a netlink socket")?;
    let connection = tokio::spawn(connection);
    let loopback = LinkUnspec::new_with_index(LOOPBACK).up().build();
    handle.link().change(loopback).execute().await.context("cannot bring the loopback up")?;
    let links: Vec<LinkMessage> =
        handle.link().get().execute().try_collect().await.context("cannot list the network devices")?;
    let mut indices = HashMap::new();
    for interface in &network.interfaces {
        let index = find(&links, interface).with_context(|| {
            format!("no network device has the address {} of {}", interface.mac, interface.name)
        })?;
        indices.insert(interface.name.as_str(), index);
    }
    for link in &links {
        let is_misnamed = |name: &str| indices.get(name).is_some_and(|index| *index != link.header.index);
        if let Some(name) = name_of(link).filter(|name| is_misnamed(name)) {
            make_way(&handle, link.header.index).await.with_context(|| format!("cannot rename {name}"))?;
        }
    }
    for interface in &network.interfaces {
        set_up(&handle, indices[interface.name.as_str()], interface)
            .await
            .with_context(|| format!("cannot set up {}", interface.name))?;
    }
    for route in &network.routes {
        let index = *indices
            .get(route.interface.as_str())
            .with_context(|| format!("a route leaves by {}, which does not exist", route.interface))?;
        add_route(&handle, index, route).await.with_context(|| format!("cannot add the route {route:?}"))?;
    }
    connection.abort();
    Ok(())
}

fn find(links: &[LinkMessage], interface: &Interface) -> Option<u32> {
    let has_address = |link: &&LinkMessage| {
        link.attributes.iter().any(|attribute| match attribute {
            LinkAttribute::Address(address) => address == &interface.mac.0,
            _ => false,
        })
    };
    Some(links.iter().find(has_address)?.header.index)
}

fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

/// Gives a device a name of no meaning, because another one is to have the name that the kernel gave it.
async fn make_way(handle: &Handle, index: u32) -> Result<(), rtnetlink::Error> {
    let renamed = LinkUnspec::new_with_index(index).name(format!("runq{index}")).build();
    handle.link().change(renamed).execute().await
}

async fn set_up(handle: &Handle, index: u32, interface: &Interface) -> anyhow::Result<()> {
    let named = LinkUnspec::new_with_index(index).name(interface.name.clone()).mtu(interface.mtu).build();
    handle.link().change(named).execute().await.context("cannot set its name and MTU")?;
    for Address { ip, prefix_len } in &interface.addresses {
        let mut request = handle.address().add(index, *ip, *prefix_len);
        if ip.is_ipv6() {
            // Docker has made sure that the address is unique; detection would keep it unusable for a second.
            request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        request.execute().await.with_context(|| format!("cannot add the address {ip}/{prefix_len}"))?;
    }
    let up = LinkUnspec::new_with_index(index).up().build();
    handle.link().change(up).execute().await.context("cannot bring it up")
}

async fn add_route(handle: &Handle, index: u32, route: &Route) -> anyhow::Result<()> {
    let is_ipv6 = route.gateway.or(route.destination.map(|to| to.ip)).is_some_and(|ip| ip.is_ipv6());
    let mut builder = RouteMessageBuilder::<IpAddr>::new().output_interface(index);
    builder = match route.destination {
        Some(Address { ip, prefix_len }) => builder.destination_prefix(ip, prefix_len)?,
        None if is_ipv6 => builder.destination_prefix(Ipv6Addr::UNSPECIFIED.into(), 0)?,
        None => builder.destination_prefix(Ipv4Addr::UNSPECIFIED.into(), 0)?,
    };
    if let Some(gateway) = route.gateway {
        builder = builder.gateway(gateway)?;
    }
    if let Some(source) = route.source {
        builder = builder.pref_source(source)?;
    }
    if let Some(metric) = route.metric {
        builder = builder.priority(metric);
    }
    Ok(handle.route().add(builder.build()).execute().await?)
}
