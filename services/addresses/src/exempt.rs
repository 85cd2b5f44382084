//! The peers to which the limits for each peer do not apply, because many clients share their
//! address: this machine, its gateways, trusted proxies and bridges.
//!
//! In a container, every client on the host arrives from the gateway. A proxy or a bridge sends the
//! requests of all its clients.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::gateways::default_gateways;
use crate::host_addresses::HostAddresses;
use crate::own::OwnAddresses;
use crate::trusted_proxies::TrustedProxies;

/// How long the addresses of this machine and its gateways are used before they are read again (10
/// s). The same time applies to bridges, whose names are then resolved again.
const MAX_AGE: Duration = Duration::from_secs(10);

/// The peers to which the limits for each peer do not apply.
#[derive(Debug)]
pub struct ExemptPeers {
    own: OwnAddresses,
    /// The addresses of this machine and of its gateways, with the time at which they were read. A
    /// lock, held only to read and replace them; no await happens under it.
    nearby: Mutex<Option<(Instant, Vec<IpAddr>)>>,
    proxies: Arc<TrustedProxies>,
    bridges: Vec<HostAddresses>,
}

impl ExemptPeers {
    /// Creates the exempt peers: this machine, its default gateways, `proxies`, and the bridges
    /// with these host names or addresses. Empty names are ignored.
    #[must_use]
    pub fn new(own: OwnAddresses, proxies: Arc<TrustedProxies>, bridges: &[String]) -> Self {
        let hosts = bridges.iter().map(|host| host.trim());
        let hosts = hosts.filter(|host| !host.is_empty());
        Self {
            own,
            nearby: Mutex::default(),
            proxies,
            bridges: hosts
                .map(|host| HostAddresses::new(host, MAX_AGE))
                .collect(),
        }
    }

    /// Returns whether the limits for each peer do not apply to this peer. May wait for the
    /// resolution of a host name ([`HostAddresses::addresses`]). A name that does not resolve
    /// exempts nobody. Cancel-safe.
    pub async fn include(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        if self.is_local(peer) || self.proxies.include(peer).await {
            return true;
        }
        let bridges = join_all(self.bridges.iter().map(HostAddresses::addresses)).await;
        let mut addresses = bridges.iter().flatten();
        addresses.any(|addresses| addresses.contains(&peer))
    }

    /// Returns whether the limits for each peer do not apply to the client of a request
    /// ([`TrustedProxies::client`]), without a wait. So the result may be false for a bridge whose
    /// name is being resolved for the first time. A client is never a trusted proxy, so these are
    /// not considered.
    pub fn include_client(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let is_bridge = |host: &HostAddresses| host.known().contains(&client);
        self.is_local(client) || self.bridges.iter().any(is_bridge)
    }

    /// Returns whether the peer is this machine or a gateway now.
    fn is_local(&self, peer: IpAddr) -> bool {
        peer.is_loopback() || self.is_nearby(peer, Instant::now(), || self.read_nearby())
    }

    /// Returns whether the peer is this machine or a gateway. The addresses are those of `read`,
    /// which is called if the last ones are older than 10 s at `now`.
    fn is_nearby(&self, peer: IpAddr, now: Instant, read: impl Fn() -> Vec<IpAddr>) -> bool {
        let mut nearby = self.nearby.lock().unwrap_or_else(PoisonError::into_inner);
        let age = |read_at: Instant| now.saturating_duration_since(read_at);
        match &*nearby {
            Some((read_at, addresses)) if age(*read_at) <= MAX_AGE => addresses.contains(&peer),
            _ => {
                let addresses = read();
                let is_nearby = addresses.contains(&peer);
                *nearby = Some((now, addresses));
                is_nearby
            }
        }
    }

    /// Reads the addresses of this machine and of its default gateways.
    fn read_nearby(&self) -> Vec<IpAddr> {
        let mut addresses = self.own.now();
        addresses.extend(default_gateways());
        addresses
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn exempt(bridges: &[&str]) -> ExemptPeers {
        let proxies = TrustedProxies::new(&"192.0.2.0/24".parse().unwrap());
        let bridges: Vec<_> = bridges.iter().map(|host| (*host).to_owned()).collect();
        ExemptPeers::new(OwnAddresses::read().unwrap(), Arc::new(proxies), &bridges)
    }

    #[tokio::test]
    async fn this_machine_its_gateways_proxies_and_bridges_are_exempt() {
        let exempt = exempt(&["", " 198.51.100.7 ", "localhost"]);
        let own = OwnAddresses::read().unwrap().now();
        let named = [
            "127.0.0.1",
            "127.7.7.7",
            "::1",
            "::ffff:127.0.0.1",
            "192.0.2.9",
        ]
        .map(ip);
        let bridge = [ip("198.51.100.7"), ip("::ffff:198.51.100.7")];
        let all = own.into_iter().chain(default_gateways());
        for peer in all.chain(named).chain(bridge) {
            assert!(exempt.include(peer).await, "{peer}");
            let is_proxy = peer == ip("192.0.2.9");
            assert_ne!(exempt.include_client(peer), is_proxy, "{peer}");
        }
        for peer in [
            "198.51.100.8",
            "203.0.113.1",
            "2001:db8::1",
            "::",
            "128.0.0.1",
        ] {
            assert!(!exempt.include(ip(peer)).await, "{peer}");
            assert!(!exempt.include_client(ip(peer)), "{peer}");
        }
    }

    #[test]
    fn gateways_are_read_at_most_every_10_seconds() {
        let (exempt, began) = (exempt(&[]), Instant::now());
        let reads = Cell::new(0_u8);
        let is_nearby = |peer: &str, seconds: u64| {
            exempt.is_nearby(ip(peer), began + Duration::from_secs(seconds), || {
                reads.set(reads.get() + 1);
                vec![IpAddr::from([10, 0, 0, reads.get()])]
            })
        };
        assert!(is_nearby("10.0.0.1", 0) && is_nearby("10.0.0.1", 10));
        assert!(!is_nearby("10.0.0.2", 10));
        assert!(is_nearby("10.0.0.2", 11) && !is_nearby("10.0.0.1", 12));
        assert_eq!(reads.get(), 2);
    }
}
