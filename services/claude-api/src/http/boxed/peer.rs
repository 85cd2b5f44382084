//! The client of a request: the peer of the connection, or the client of a reverse proxy.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use addresses::{BadForwardedFor, ExemptPeers, OwnAddresses, TrustedProxies};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use protocol::guard::reads_health;
use protocol::{Problem, ProblemType};

use crate::config::NetworkArgs;
use crate::http::reply::{App, Reply};
use crate::service::Service;

/// The header to which a proxy appends the address of its client.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client of a request. An extension of every request that arrives by a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The address of the client: the peer of the connection, or the client that a trusted proxy
    /// named. An IPv4-mapped IPv6 address is stored as IPv4.
    pub(crate) address: IpAddr,
    /// Whether the client or a proxy on the way has an address of claude-api's own container. Then
    /// it may be a command of the model. Always false if `--boxed` is off.
    pub(crate) is_own: bool,
    /// Whether the limits for each peer do not apply, because many clients share the address.
    pub(crate) is_exempt: bool,
}

/// The addresses with a special role: trusted proxies, and peers that are exempt from the limits
/// for each peer.
#[derive(Debug)]
pub(crate) struct KnownPeers {
    proxies: Arc<TrustedProxies>,
    exempt: ExemptPeers,
}

impl KnownPeers {
    /// Reads the special addresses from the settings. Resolves no host name yet.
    ///
    /// # Errors
    /// The network addresses of this machine cannot be read.
    pub(crate) fn new(args: &NetworkArgs) -> io::Result<Self> {
        let proxies = Arc::new(TrustedProxies::new(&args.trusted_proxies));
        let own = OwnAddresses::read()?;
        let exempt = ExemptPeers::new(own, Arc::clone(&proxies), &args.bridge_hosts());
        Ok(Self { proxies, exempt })
    }
}

/// The other end of a TCP connection. An extension of every request of the connection.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionPeer {
    /// The address of the other end; an IPv4-mapped IPv6 address is stored as IPv4.
    address: IpAddr,
    /// Whether the connection arrived on the port for proxies (`--proxy-port`).
    is_proxy_port: bool,
    /// Whether the address is one of claude-api's own container. Always false if `--boxed` is off.
    is_own: bool,
    known: Arc<KnownPeers>,
}

impl ConnectionPeer {
    /// Classifies the other end of a new connection by its address and by the port that it
    /// connected to.
    pub(crate) fn new(
        service: &Service,
        known: &Arc<KnownPeers>,
        address: IpAddr,
        is_proxy_port: bool,
    ) -> Self {
        let boxed = service.boxed.as_ref();
        Self {
            address: address.to_canonical(),
            is_proxy_port,
            is_own: boxed.is_some_and(|boxed| boxed.includes(address)),
            known: Arc::clone(known),
        }
    }

    /// Returns the address of the other end of the connection, which may be a proxy.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns whether the limit of connections for each peer does not apply. May wait up to 3 s
    /// for the resolution of a host name.
    pub(crate) async fn is_exempt(&self) -> bool {
        self.is_proxy_port || self.known.exempt.include(self.address).await
    }

    /// Determines the client of a request of this connection.
    ///
    /// # Errors
    /// The connection is that of a trusted proxy, which did not name its client properly.
    async fn client(
        &self,
        service: &Service,
        headers: &HeaderMap,
    ) -> Result<Peer, BadForwardedFor> {
        let Self {
            address,
            is_proxy_port,
            is_own,
            known,
        } = self;
        let lines = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .map(HeaderValue::as_bytes);
        let route = known.proxies.route(*address, *is_proxy_port, lines).await?;
        let is_forwarded = !route.proxies.is_empty();
        let boxed = service.boxed.as_ref().filter(|_| is_forwarded);
        // A list of proxies that is too wide must not let a command of the model pass as a proxy.
        let passed_own = boxed.is_some_and(|boxed| {
            let mut addresses = route.proxies.iter().chain([&route.client]);
            addresses.any(|address| address != &self.address && boxed.includes_forwarded(*address))
        });
        Ok(Peer {
            address: route.client,
            is_own: *is_own || passed_own,
            is_exempt: known.exempt.include_client(route.client),
        })
    }

    /// Returns the other end itself as the client of a request.
    fn direct(&self) -> Peer {
        Peer {
            address: self.address,
            is_own: self.is_own,
            is_exempt: self.known.exempt.include_client(self.address),
        }
    }
}

/// Middleware that adds the [`Peer`] to a request. If a trusted proxy did not name its client
/// properly, the request gets 400 `invalid-forwarded-for`; a health page is served nevertheless.
/// Does nothing without a [`ConnectionPeer`].
pub(crate) async fn identify(State(service): App, mut request: Request, next: Next) -> Response {
    let Some(connection) = request.extensions().get::<ConnectionPeer>().cloned() else {
        return next.run(request).await;
    };
    let peer = match connection.client(&service, request.headers()).await {
        Ok(peer) => peer,
        Err(_) if reads_health(request.method(), request.uri()) => connection.direct(),
        Err(error) => {
            let problem = Problem::new(ProblemType::InvalidForwardedFor, error.to_string());
            return Reply(problem).into_response();
        }
    };
    request.extensions_mut().insert(peer);
    let mut response = next.run(request).await;
    // For the audit log.
    response.extensions_mut().insert(peer);
    response
}

#[cfg(test)]
mod tests;
