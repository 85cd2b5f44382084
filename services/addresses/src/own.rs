//! The IP addresses of this container (or machine), by which a service recognises clients that run
//! inside it.
//!
//! A client runs in the same container or on the same machine if its address belongs to a network
//! interface of this process's network namespace. A client can open a TCP connection only from an
//! address of its own namespace. The exception is a raw socket, which the containers may not open.

use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// The IP addresses of all network interfaces of this container or machine.
///
/// They are read from the kernel again for each call, because a network may be connected to a
/// running container. Reading needs a file descriptor. If the process has none left, the last
/// addresses that could be read are used.
#[derive(Debug)]
pub struct OwnAddresses {
    /// The last addresses that could be read. A lock, held only for a copy; no await happens under
    /// it.
    last: Mutex<Vec<IpAddr>>,
}

impl OwnAddresses {
    /// Reads the addresses from the kernel for the first time. Later calls use this result if they
    /// cannot read the addresses.
    ///
    /// # Errors
    /// The error of the operating system if it cannot list the addresses.
    pub fn read() -> io::Result<Self> {
        Ok(Self {
            last: Mutex::new(read_interfaces()?),
        })
    }

    /// Returns whether a network interface of this container has this address now. An IPv4-mapped
    /// IPv6 address (`::ffff:a.b.c.d`) is compared as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.now().contains(&address.to_canonical())
    }

    /// Returns whether the client with the address `peer` runs in this container or on this
    /// machine. True if `peer` is the address of a network interface or any loopback address.
    /// Loopback is checked separately, because 127.0.0.0/8 has far more addresses than the
    /// interface lists.
    #[must_use]
    pub fn include_peer(&self, peer: IpAddr) -> bool {
        peer.to_canonical().is_loopback() || self.contains(peer)
    }

    /// Returns the addresses that all network interfaces have now. IPv4-mapped IPv6 addresses are
    /// returned as IPv4.
    #[must_use]
    pub fn now(&self) -> Vec<IpAddr> {
        self.or_last(read_interfaces())
    }

    /// Returns the addresses in `read` and remembers them. If `read` is an error, returns the
    /// addresses that were remembered last.
    fn or_last(&self, read: io::Result<Vec<IpAddr>>) -> Vec<IpAddr> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(addresses) = read {
            *last = addresses;
        }
        last.clone()
    }
}

/// Reads the addresses of all network interfaces from the kernel (getifaddrs(3)). IPv4-mapped IPv6
/// addresses are returned as IPv4.
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
