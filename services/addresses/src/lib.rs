//! The IP addresses of this container, by which a service recognises clients that run inside it.
//!
//! A peer with an address of this process's network namespace runs in the same container (or on the
//! same machine). A peer can open a TCP connection only from an address of its own namespace,
//! except with a raw socket, which the containers may not open.

use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// The IP addresses of all network interfaces of this container or machine.
///
/// They are read again for each call, because a network may be connected to a running container.
/// Reading needs a file descriptor; if the process has none left, the last result is used.
#[derive(Debug)]
pub struct OwnAddresses {
    /// The last result that could be read. A lock, held only for a copy; no await happens under it.
    last: Mutex<Vec<IpAddr>>,
}

impl OwnAddresses {
    /// Reads the addresses for the first time, so that a later failed read has a result to use.
    ///
    /// # Errors
    /// The kernel's, if it cannot list the addresses.
    pub fn read() -> io::Result<Self> {
        Ok(Self {
            last: Mutex::new(read_interfaces()?),
        })
    }

    /// Whether a network interface has this address now. An IPv4-mapped IPv6 address counts as
    /// IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.now().contains(&address.to_canonical())
    }

    /// Whether the client with the address `peer` runs in this container (or on this machine): it
    /// has the address of an interface or any loopback address. No list of interfaces contains all
    /// of 127.0.0.0/8.
    #[must_use]
    pub fn include_peer(&self, peer: IpAddr) -> bool {
        peer.to_canonical().is_loopback() || self.contains(peer)
    }

    /// Returns the present addresses of all interfaces, IPv4-mapped ones as IPv4.
    #[must_use]
    pub fn now(&self) -> Vec<IpAddr> {
        self.or_last(read_interfaces())
    }

    /// Returns the addresses in `read` and remembers them; if reading failed, returns the last
    /// ones.
    fn or_last(&self, read: io::Result<Vec<IpAddr>>) -> Vec<IpAddr> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(addresses) = read {
            *last = addresses;
        }
        last.clone()
    }
}

/// Reads the addresses of all interfaces from the kernel (getifaddrs(3)), IPv4-mapped ones as IPv4.
fn read_interfaces() -> io::Result<Vec<IpAddr>> {
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
        // No interface has this address.
        assert!(!own.contains(ip("127.0.0.2")));
    }

    #[test]
    fn interface_addresses_are_own_in_both_forms_and_others_are_foreign() {
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

    /// A sandbox that uses up all descriptors must not disable the check.
    #[test]
    fn the_last_addresses_are_used_while_none_can_be_read() {
        let own = OwnAddresses {
            last: Mutex::new(vec![ip("192.0.2.7")]),
        };
        let no_descriptor = || Err(io::Error::from_raw_os_error(24));
        assert_eq!(own.or_last(no_descriptor()), [ip("192.0.2.7")]);
        assert_eq!(own.or_last(Ok(vec![ip("192.0.2.8")])), [ip("192.0.2.8")]);
        assert_eq!(own.or_last(no_descriptor()), [ip("192.0.2.8")]);
        assert!(own.contains(ip("127.0.0.1")) && !own.contains(ip("192.0.2.8")));
    }
}
