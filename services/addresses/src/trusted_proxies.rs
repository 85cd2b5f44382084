//! The proxies whose header `X-Forwarded-For` is believed, and the client that it names.
//!
//! A proxy appends the address of its own client to the header. So only the right end of the list
//! can be believed: the addresses that trusted proxies wrote. The rightmost address that is not a
//! trusted proxy is the client. Everything left of it may be invented by that client.

use std::net::IpAddr;
use std::time::Duration;

use futures::future::join_all;

use crate::forwarded_for::{BadForwardedFor, parse};
use crate::host_addresses::HostAddresses;
use crate::proxy_list::ProxyList;

/// How long the resolved addresses of a proxy's host name are used (10 s).
const MAX_AGE: Duration = Duration::from_secs(10);

/// The proxies whose header `X-Forwarded-For` is believed.
#[derive(Debug, Default)]
pub struct TrustedProxies {
    /// The operator's list, of which the networks are used.
    list: ProxyList,
    /// The addresses of the host names in the list.
    names: Vec<HostAddresses>,
}

/// The way of a request from its client to this service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The address of the client.
    pub client: IpAddr,
    /// The addresses of the trusted proxies that the request passed, from the client to the peer of
    /// the connection. Empty if the client is the peer.
    pub proxies: Vec<IpAddr>,
}

/// The addresses of the host names in the list, at one moment.
struct Names {
    addresses: Vec<IpAddr>,
    /// Whether every name has an address. If one has none, any address might be that proxy's.
    are_complete: bool,
}

impl TrustedProxies {
    /// Creates the proxies of this list. Resolves no name yet.
    #[must_use]
    pub fn new(list: &ProxyList) -> Self {
        let names = list.names.iter();
        Self {
            names: names
                .map(|name| HostAddresses::new(name, MAX_AGE))
                .collect(),
            list: list.clone(),
        }
    }

    /// Returns whether this address is one of a trusted proxy. Resolves the host names in the list
    /// at most every 10 s, and waits up to 3 s for that. Cancel-safe.
    pub async fn include(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.list.has_network_of(address) || self.resolve().await.addresses.contains(&address)
    }

    /// Returns the address of the client of a request: the rightmost address in `forwarded` that is
    /// not a trusted proxy. `peer` is the other end of the connection, and `forwarded` has the
    /// lines of the header `X-Forwarded-For`.
    ///
    /// From a peer that is no trusted proxy, the header is ignored and the peer is the client. But
    /// if `is_proxy_port` is true, every peer is a trusted proxy. IPv4-mapped IPv6 addresses are
    /// returned as IPv4. Waits like [`include`](Self::include). Cancel-safe.
    ///
    /// # Errors
    /// A trusted proxy sent no header or a bad one. Or the peer sent a header and it is not known
    /// whether the peer is a trusted proxy.
    pub async fn client<'h>(
        &self,
        peer: IpAddr,
        is_proxy_port: bool,
        forwarded: impl Iterator<Item = &'h [u8]>,
    ) -> Result<IpAddr, BadForwardedFor> {
        let route = self.route(peer, is_proxy_port, forwarded).await?;
        Ok(route.client)
    }

    /// Returns the client of a request like [`client`](Self::client), and the trusted proxies that
    /// the request passed. A service that refuses some addresses must check all of them: a list of
    /// proxies may be too wide, and then a refused client can claim to be a proxy.
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub async fn route<'h>(
        &self,
        peer: IpAddr,
        is_proxy_port: bool,
        forwarded: impl Iterator<Item = &'h [u8]>,
    ) -> Result<Route, BadForwardedFor> {
        let peer = peer.to_canonical();
        let direct = Route {
            client: peer,
            proxies: Vec::new(),
        };
        let header = parse(forwarded);
        let names = self.resolve().await;
        let is_listed =
            |address| self.list.has_network_of(address) || names.addresses.contains(&address);
        if !is_proxy_port && !is_listed(peer) {
            return match header {
                Err(BadForwardedFor::Missing) => Ok(direct),
                _ if names.are_complete => Ok(direct),
                _ => Err(BadForwardedFor::UnknownProxies),
            };
        }
        let addresses = header?;
        let client = addresses.iter().rposition(|address| !is_listed(*address));
        let client = client.ok_or(BadForwardedFor::OnlyProxies)?;
        let mut proxies = addresses[client + 1..].to_vec();
        proxies.push(peer);
        Ok(Route {
            client: addresses[client],
            proxies,
        })
    }

    /// Resolves all host names in the list at the same time.
    async fn resolve(&self) -> Names {
        let resolved = join_all(self.names.iter().map(HostAddresses::addresses)).await;
        let known = |addresses: &Option<std::sync::Arc<[IpAddr]>>| {
            addresses.as_ref().is_some_and(|list| !list.is_empty())
        };
        Names {
            are_complete: resolved.iter().all(known),
            addresses: resolved
                .iter()
                .flatten()
                .flat_map(|list| list.to_vec())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
