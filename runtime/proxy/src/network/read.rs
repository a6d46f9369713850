//! Reads interfaces, addresses and routes over netlink and turns them into the contract's types.

use futures::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};
use runq_contract::network::{Address, Interface, MacAddress, Route};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An Ethernet interface of the container.
pub(crate) struct Link {
    /// Interface index in the container's network namespace.
    pub(crate) index: u32,
    /// What the guest is told.
    pub(crate) interface: Interface,
    /// Whether it shares a device outside with others (macvlan, ipvlan), so that no macvtap can ride it.
    pub(crate) is_virtual_lan: bool,
    /// The addresses as the kernel described them, so that they can be removed.
    pub(crate) addresses: Vec<AddressMessage>,
}

/// All Ethernet interfaces in the order of their indices.
pub(crate) async fn links(handle: &Handle) -> Result<Vec<Link>, rtnetlink::Error> {
    let messages: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
    let addresses: Vec<AddressMessage> = handle.address().get().execute().try_collect().await?;
    let mut links: Vec<Link> = messages.iter().filter_map(|message| link(message, &addresses)).collect();
    links.sort_by_key(|link| link.index);
    Ok(links)
}

/// An Ethernet interface; the loopback is something else, and tunnels have no hardware address.
fn link(message: &LinkMessage, addresses: &[AddressMessage]) -> Option<Link> {
    if message.header.link_layer_type != LinkLayerType::Ether {
        return None;
    }
    let mut name = None;
    let mut mac = None;
    let mut mtu = None;
    let mut is_virtual_lan = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = Some(value.clone()),
            LinkAttribute::Address(value) => mac = <[u8; 6]>::try_from(value.as_slice()).ok().map(MacAddress),
            LinkAttribute::Mtu(value) => mtu = Some(*value),
            LinkAttribute::LinkInfo(details) => {
                let is_one = |kind: &InfoKind| matches!(kind, InfoKind::MacVlan | InfoKind::IpVlan);
                is_virtual_lan =
                    details.iter().any(|detail| matches!(detail, LinkInfo::Kind(kind) if is_one(kind)));
            }
            _ => {}
        }
    }
    let index = message.header.index;
    let own: Vec<AddressMessage> =
        addresses.iter().filter(|address| address.header.index == index).cloned().collect();
    let interface =
        Interface { name: name?, mac: mac?, mtu: mtu?, addresses: own.iter().filter_map(address).collect() };
    Some(Link { index, interface, is_virtual_lan, addresses: own })
}

/// An address that the guest needs. Link-local ones of IPv6 it makes itself from the hardware address.
fn address(message: &AddressMessage) -> Option<Address> {
    if message.header.scope == AddressScope::Link {
        return None;
    }
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let ip = local.or_else(|| {
        find(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })?;
    Some(Address { ip, prefix_len: message.header.prefix_len })
}

/// Unicast routes of the main table that leave by one of `links`. Those that the guest's kernel makes by itself from
/// its addresses are left out; those with a gateway come last.
pub(crate) async fn routes(handle: &Handle, links: &[Link]) -> Result<Vec<Route>, rtnetlink::Error> {
    let mut routes = Vec::new();
    for request in
        [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()]
    {
        let messages: Vec<RouteMessage> = handle.route().get(request).execute().try_collect().await?;
        routes.extend(messages.iter().filter_map(|message| route(message, links)));
    }
    routes.sort_by_key(|route| route.gateway.is_some());
    Ok(routes)
}

fn route(message: &RouteMessage, links: &[Link]) -> Option<Route> {
    use rtnetlink::packet_route::route::RouteProtocol;
    let header = &message.header;
    let is_ours = header.kind == RouteType::Unicast
        && header.table == RouteHeader::RT_TABLE_MAIN
        && header.protocol != RouteProtocol::Kernel;
    if !is_ours {
        return None;
    }
    let mut found =
        Route { interface: String::new(), destination: None, gateway: None, source: None, metric: None };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => {
                found.interface = links.iter().find(|link| link.index == *index)?.interface.name.clone();
            }
            RouteAttribute::Destination(value) => {
                let ip = ip(value)?;
                found.destination = Some(Address { ip, prefix_len: header.destination_prefix_length });
            }
            RouteAttribute::Gateway(value) => found.gateway = Some(ip(value)?),
            RouteAttribute::PrefSource(value) => found.source = Some(ip(value)?),
            RouteAttribute::Priority(value) => found.metric = Some(*value),
            _ => {}
        }
    }
    // A default route without a gateway says its family through nothing else; Docker makes none.
    let complete = !found.interface.is_empty() && (found.destination.is_some() || found.gateway.is_some());
    complete.then_some(found)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}
