//! The refusal of HTTP requests from the box, the container in which claude-api and the model's
//! commands run (see [`crate::boxed`]). Also the page that claude-api itself calls at its start, to
//! find out whether the box can reach the service through its published port.

mod peer;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use protocol::guard::reads_health;
use protocol::{Problem, ProblemType};

use super::reply::json_response;
use super::reply::{App, Reply, unknown_path};
use crate::reach;
pub(crate) use peer::{ConnectionPeer, KnownPeers, Peer, identify};

/// Middleware that refuses requests from the box, before any other check. Requests from the
/// container's own addresses get 401 `from-the-box`.
///
/// If the box reaches the service through its published port, its requests look like those of the
/// host. Then every request needs an access token; without access tokens, all requests get 503
/// `box-reaches-service`. Health pages are always served. If `--boxed` is off, all requests are
/// served.
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
    if boxed.is_closed().await {
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

/// Returns the problem 503 `box-reaches-service`. A service without access tokens answers it to all
/// requests while the model's commands could reach it through its published port.
fn box_reaches_service() -> Problem {
    Problem::new(
        ProblemType::BoxReachesService,
        "commands of the model reach this service through its published port, so it serves only \
         its health pages; the remedy is in /health/ready",
    )
}

/// `GET /health/box/{nonce}`: the page that claude-api calls at its start through its published
/// port. If a call with its own nonce arrives from outside the box, commands of the model could
/// reach the service by the same route. This is noted, and the answer is 200.
///
/// The call may arrive from an address of the box: the published port hides the addresses of its
/// clients, or the box uses the network of the host. Then the clients cannot be distinguished from
/// the box. This is noted, too. The answer is 404 `unknown-path`, as for any other nonce.
pub(crate) async fn returned_call(
    State(service): App,
    peer: Option<Extension<Peer>>,
    Path(nonce): Path<String>,
    uri: Uri,
) -> Response {
    let (Some(boxed), Some(Extension(peer))) = (&service.boxed, peer) else {
        return unknown_path(uri.path()).into_response();
    };
    if peer.is_own && boxed.has_nonce(&nonce) {
        reach::note_shared_address(&service, peer.address);
    } else if !peer.is_own && boxed.note_return(&nonce) {
        let readiness = &service.engine.readiness;
        readiness.box_reaches_service(boxed.has_tokens);
        return json_response(StatusCode::OK, br#"{"status":"reached"}"#.to_vec());
    }
    unknown_path(uri.path()).into_response()
}

#[cfg(test)]
mod tests;
