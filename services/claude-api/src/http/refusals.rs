//! Counts refused requests, and writes the audit log.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use protocol::ProblemType;

use super::boxed::{ConnectionPeer, Peer};
use super::reply::App;
use crate::access::Caller;
use crate::access::guarded::AuditRecord;

/// The longest path in an audit line, in characters. No path of this service is longer.
const PATH_CHARS: usize = 128;

/// Middleware around all others. It counts the requests that are answered with an error (a problem,
/// RFC 9457) by its type. A request that is refused because of its client is in the audit log, with
/// its method and path, but without its query and headers.
pub(super) async fn note(State(service): App, request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<ConnectionPeer>();
    let address = connection.map(ConnectionPeer::address);
    let method = request.method().clone();
    let path: String = request.uri().path().chars().take(PATH_CHARS).collect();
    let response = next.run(request).await;
    let Some(outcome) = response.extensions().get::<ProblemType>().copied() else {
        return response;
    };
    service.engine.metrics.refused(outcome);
    if is_about_the_client(response.status(), outcome) {
        // The client behind a proxy, if the request came that far.
        let peer = response.extensions().get::<Peer>();
        let peer = peer.map(|peer| peer.address).or(address);
        let caller = response.extensions().get::<Caller>();
        let record = AuditRecord {
            token: caller.map_or("-", Caller::name),
            principal: caller.and_then(Caller::principal),
            peer: peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            method: method.as_str(),
            path: &path,
            outcome,
        };
        let guarded = &service.engine.access.guarded;
        guarded.log(record, Instant::now());
    }
    response
}

/// Returns whether a request was refused because of who its client is.
fn is_about_the_client(status: StatusCode, outcome: ProblemType) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
    ) || matches!(
        outcome,
        ProblemType::InvalidForwardedFor | ProblemType::BoxReachesService
    )
}
