//! The unit of the limits for each peer.

use std::net::{IpAddr, Ipv6Addr};

/// The bits of an IPv6 address that name the interface in its network (RFC 4291, section 2.5.4).
const INTERFACE_BITS: u32 = 64;

/// A peer as the limits for each peer count it: an IPv4 address, or the first 64 bits of an IPv6
/// address. One machine can use every address of an IPv6 network of that size. IPv4-mapped IPv6
/// addresses count as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerKey(IpAddr);

impl From<IpAddr> for PeerKey {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let network = v6.to_bits() >> INTERFACE_BITS << INTERFACE_BITS;
                Ipv6Addr::from_bits(network).into()
            }
            v4 => v4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> PeerKey {
        PeerKey::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn an_ipv6_network_is_one_peer_and_each_ipv4_address_is_another() {
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("::ffff:192.0.2.1"), key("::ffff:192.0.2.2"));
    }
}
