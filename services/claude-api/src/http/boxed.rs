//! The refusal of HTTP requests from the box, the container in which claude-api and the model's
//! commands run (see [`crate::boxed`]). Also the page that claude-api itself calls at its start, to
//! find out whether the box can reach the service through its published port.

use std::net::IpAddr;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use protocol::guard::reads_health;
use protocol::{Problem, ProblemType};

use super::reply::json_response;
use super::reply::{App, Reply, unknown_path};
use crate::service::Service;

/// The client's end of a TCP connection, classified by its address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// The address of the client.
    pub(crate) address: IpAddr,
    /// Whether the limits for each peer do not apply to this client.
    pub(crate) is_exempt: bool,
    /// Whether the client has an address of claude-api's own container, so it may be a command of
    /// the model. Always false if `--boxed` is off.
    pub(crate) is_own: bool,
}

impl Peer {
    /// Classifies the client of a new connection by its IP address.
    pub(crate) fn new(service: &Service, address: IpAddr) -> Self {
        let boxed = service.boxed.as_ref();
        Self {
            address,
            is_exempt: address.is_loopback(),
            is_own: boxed.is_some_and(|boxed| boxed.includes(address)),
        }
    }
}

/// Middleware that refuses requests from the box, before any other check. Requests from the
/// container's own addresses get 401 `from-the-box`.
///
/// If the box reaches the service through its published port, its requests look like those of the
/// host; then all requests get 503 `box-reaches-service`. Health pages are always served. If
/// `--boxed` is off, all requests are served.
pub(super) async fn check(State(service): App, request: Request, next: Next) -> Response {
    let Some(boxed) = &service.boxed else {
        return next.run(request).await;
    };
    if reads_health(request.method(), request.uri()) {
        return next.run(request).await;
    }
    // Without a known peer, the request counts as one of the box.
    let peer = request.extensions().get::<Peer>();
    if peer.is_none_or(|peer| peer.is_own) {
        return Reply(from_the_box()).into_response();
    }
    if boxed.is_reached().await {
        return Reply(box_reaches_service()).into_response();
    }
    next.run(request).await
}

/// Returns the problem 401 `from-the-box`, for a request from claude-api's own container.
fn from_the_box() -> Problem {
    Problem::new(
        ProblemType::FromBox,
        "requests from claude-api's own container are refused: commands of the model run there. \
         If your client runs elsewhere, its connections arrive from an address of that container \
         (host networking, one pod, rootless port forwarding); set CLAUDE_API_BOXED=false there",
    )
}

/// Returns the problem 503 `box-reaches-service`, for all requests while the model's commands could
/// reach the service through its published port.
fn box_reaches_service() -> Problem {
    Problem::new(
        ProblemType::BoxReachesService,
        "commands of the model reach this service through its published port, so it serves only \
         its health pages; the remedy is in /health/ready",
    )
}

/// `GET /health/box/{nonce}`: the page that claude-api calls at its start through its published
/// port. If a call with its own nonce arrives from outside the box, commands of the model could
/// reach the service by the same route. This is noted, and the answer is 200. Any other call gets
/// 404 `unknown-path`.
pub(crate) async fn returned_call(
    State(service): App,
    peer: Option<Extension<Peer>>,
    Path(nonce): Path<String>,
    uri: Uri,
) -> Response {
    let outside = peer.is_some_and(|Extension(peer)| !peer.is_own);
    let boxed = service.boxed.as_ref();
    if outside && boxed.is_some_and(|boxed| boxed.note_return(&nonce)) {
        service.engine.readiness.box_reaches_service();
        return json_response(StatusCode::OK, br#"{"status":"reached"}"#.to_vec());
    }
    unknown_path(uri.path()).into_response()
}

#[cfg(test)]
mod tests;
