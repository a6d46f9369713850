//! The guest's network, as `proxy` found it on the container's interfaces and `init` rebuilds it.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// All interfaces but the loopback, and all routes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// In the order of the container's interface indices.
    pub interfaces: Vec<Interface>,
    /// In the order in which they can be added: routes with a gateway come after those that reach it.
    pub routes: Vec<Route>,
}

/// One Ethernet interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name in the container and in the guest (`eth0`); at most 15 bytes.
    pub name: String,
    /// Hardware address; the guest finds the device by it.
    pub mac: MacAddress,
    /// Bytes.
    pub mtu: u32,
    /// Addresses with prefix length.
    pub addresses: Vec<Address>,
}

/// Six octets in transmission order; `02:42:ac:11:00:02` in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

/// An address and the length of its network prefix in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// IPv4 or IPv6.
    pub ip: IpAddr,
    /// 0–32 or 0–128.
    pub prefix_len: u8,
}

/// One unicast route of the main table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Name of the interface that it leaves by.
    pub interface: String,
    /// `None` is the default route of the gateway's address family.
    pub destination: Option<Address>,
    /// Next hop; `None` means that the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Priority; smaller wins.
    pub metric: Option<u32>,
}

/// The text is not six hexadecimal octets.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a hardware address, expected six octets like 02:42:ac:11:00:02")]
pub struct ParseMacAddressError {
    /// What was given.
    pub text: String,
}

impl TryFrom<String> for MacAddress {
    type Error = ParseMacAddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let octets: Vec<u8> = text
            .split(':')
            .filter(|part| part.len() == 2)
            .filter_map(|part| u8::from_str_radix(part, 16).ok())
            .collect();
        match <[u8; 6]>::try_from(octets) {
            Ok(octets) if text.len() == 17 => Ok(Self(octets)),
            _ => Err(ParseMacAddressError { text }),
        }
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

impl std::fmt::Display for MacAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_address_survives_json() {
        let mac = MacAddress([2, 0x42, 0xac, 0x11, 0, 2]);
        let json = serde_json::to_string(&mac).unwrap();
        assert_eq!(json, "\"02:42:ac:11:00:02\"");
        assert_eq!(serde_json::from_str::<MacAddress>(&json).unwrap(), mac);
    }

    #[test]
    fn rejects_malformed_hardware_addresses() {
        for text in ["", "02:42", "02:42:ac:11:00:02:03", "02:42:ac:11:00:0g", "2:42:ac:11:00:02"] {
            assert!(MacAddress::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
