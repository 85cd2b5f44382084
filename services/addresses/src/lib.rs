//! The addresses of this process's network namespace.
//!
//! A peer whose address is one of them runs in the same container (or on the same machine): a TCP
//! connection cannot be opened from an address that the peer's namespace does not have, short of a
//! raw socket, which the containers may not open.

use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// The addresses of all interfaces.
///
/// They are read for each question: a network may be connected to a running container. Reading
/// takes a descriptor, so the last answer serves when the process has none left.
#[derive(Debug)]
pub struct OwnAddresses {
    // Held for a copy or a comparison; no await happens inside.
    last: Mutex<Vec<IpAddr>>,
}

impl OwnAddresses {
    /// Reads the addresses for the first time.
    ///
    /// # Errors
    /// When the kernel does not tell them.
    pub fn read() -> io::Result<Self> {
        Ok(Self {
            last: Mutex::new(of_interfaces()?),
        })
    }

    /// Whether an interface has this address now.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.now().contains(&address.to_canonical())
    }

    /// Whether the peer runs in this network namespace: it has the address of an interface, or any
    /// loopback address, because 127.0.0.0/8 is on no list of interfaces.
    #[must_use]
    pub fn include_peer(&self, peer: IpAddr) -> bool {
        peer.to_canonical().is_loopback() || self.contains(peer)
    }

    /// The addresses of all interfaces now.
    #[must_use]
    pub fn now(&self) -> Vec<IpAddr> {
        self.last_unless(of_interfaces())
    }

    /// The addresses that were read, or the last ones that could be.
    fn last_unless(&self, read: io::Result<Vec<IpAddr>>) -> Vec<IpAddr> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(addresses) = read {
            *last = addresses;
        }
        last.clone()
    }
}

/// Reads the addresses of all interfaces (getifaddrs(3)), IPv4-mapped ones as IPv4.
fn of_interfaces() -> io::Result<Vec<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs()?;
    let addresses = interfaces.iter().map(|interface| interface.ip());
    Ok(addresses.map(|ip| ip.to_canonical()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_loopback_address_is_a_peer_of_this_namespace() {
        let own = OwnAddresses::read().unwrap();
        for peer in [
            "127.0.0.1",
            "127.0.0.2",
            "127.255.255.254",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:127.7.7.7",
        ] {
            assert!(own.include_peer(ip(peer)), "{peer}");
        }
        assert!(own.contains(ip("127.0.0.1")));
        // No interface lists it.
        assert!(!own.contains(ip("127.0.0.2")));
    }

    #[test]
    fn addresses_of_interfaces_are_own_in_both_forms_and_others_are_not() {
        let own = OwnAddresses::read().unwrap();
        for address in own.now() {
            assert!(own.include_peer(address), "{address}");
            if let IpAddr::V4(v4) = address {
                let mapped = v4.to_ipv6_mapped().into();
                assert!(own.include_peer(mapped), "{mapped}");
            }
        }
        // Reserved addresses (RFC 1112, section 4; RFC 3849), and a neighbour of loopback.
        for foreign in [
            "240.0.0.1",
            "2001:db8::1",
            "::ffff:240.0.0.1",
            "128.0.0.1",
            "::",
        ] {
            assert!(!own.include_peer(ip(foreign)), "{foreign}");
        }
    }

    /// A box that takes all descriptors must not turn the rule off.
    #[test]
    fn the_last_addresses_serve_while_none_can_be_read() {
        let own = OwnAddresses {
            last: Mutex::new(vec![ip("192.0.2.7")]),
        };
        let no_descriptor = || Err(io::Error::from_raw_os_error(24));
        assert_eq!(own.last_unless(no_descriptor()), [ip("192.0.2.7")]);
        assert_eq!(
            own.last_unless(Ok(vec![ip("192.0.2.8")])),
            [ip("192.0.2.8")]
        );
        assert_eq!(own.last_unless(no_descriptor()), [ip("192.0.2.8")]);
        assert!(own.contains(ip("127.0.0.1")) && !own.contains(ip("192.0.2.8")));
    }
}
