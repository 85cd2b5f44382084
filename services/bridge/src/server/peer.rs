//! The client of a request: the peer of its connection, or the client that a trusted proxy names.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use addresses::{BadForwardedFor, TrustedProxies};
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderName};
use protocol::{Problem, ProblemType};

use super::connections::{Connection, OpenConnection};
use super::problems::problem_page;

/// The header in which a proxy names its client.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client of a request, stored as an extension of the request.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// The address of the client, for the log and for limits.
    pub(super) address: IpAddr,
    /// Counts the connection until the last clone is dropped. `None` only in a request that did not
    /// arrive on a connection.
    pub(super) open: Option<Arc<OpenConnection>>,
}

impl Client {
    /// Returns the client of a request, which the outermost middleware has stored.
    pub(super) fn of(request: &Request) -> Self {
        let client = request.extensions().get::<Self>().cloned();
        client.unwrap_or(Self {
            address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            open: None,
        })
    }

    /// Determines the client of a request with these headers. Also returns all addresses on the
    /// way: the client, the proxies and the peer.
    ///
    /// # Errors
    /// A trusted proxy sent no usable `X-Forwarded-For`.
    pub(super) async fn determine(
        connection: Connection,
        headers: &HeaderMap,
        proxies: &TrustedProxies,
    ) -> Result<(Self, Vec<IpAddr>), BadForwardedFor> {
        let Connection {
            peer,
            is_proxy_port,
            open,
        } = connection;
        let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().cloned().collect();
        let lines = lines.iter().map(http::HeaderValue::as_bytes);
        let route = proxies.route(peer, is_proxy_port, lines).await?;
        let client = Self {
            address: route.client,
            open: Some(open),
        };
        let mut addresses = route.proxies;
        addresses.push(route.client);
        Ok((client, addresses))
    }
}

/// Creates the 400 (Bad Request) response to a proxy that did not name its client.
pub(super) fn bad_forwarded_for(error: &BadForwardedFor) -> Response {
    let kind = ProblemType::InvalidForwardedFor;
    problem_page(&Problem::new(kind, error.to_string()))
}
