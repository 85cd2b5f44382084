//! Counts refused requests, and writes the audit log.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use protocol::{ExecutionId, ProblemType};

use super::boxed::{ConnectionPeer, Peer};
use super::reply::App;
use crate::access::Caller;
use crate::access::guarded::AuditRecord;

/// The words of this service's paths, which an audit line shows.
const WORDS: [&str; 22] = [
    "box",
    "cancel",
    "events",
    "executions",
    "health",
    "input",
    "limits",
    "live",
    "me",
    "metrics",
    "openapi.json",
    "output",
    "pause",
    "questions",
    "ready",
    "redeem",
    "resume",
    "session",
    "share",
    "startup",
    "tickets",
    "v1",
];

/// Middleware around all others. It counts the requests that are answered with an error (a problem,
/// RFC 9457) by its type. It writes an audit line for a request that is refused because of its
/// client. The line has the method and the path, but neither the query nor the headers.
pub(super) async fn note(State(service): App, request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<ConnectionPeer>();
    let address = connection.map(ConnectionPeer::address);
    let method = protocol::guard::shown_method(request.method());
    let path = shown(request.uri().path());
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
            method,
            path: &path,
            outcome,
        };
        let guarded = &service.engine.access.guarded;
        guarded.log(record, Instant::now());
    }
    response
}

/// Returns a path as an audit line shows it: with words of this service and ids alone.
fn shown(path: &str) -> String {
    known_parts(path, str::to_owned)
}

/// Returns a path with `{id}` for each id, as spans show it: with words of this service alone. So
/// there are few such texts.
pub(super) fn route(path: &str) -> String {
    known_parts(path, |_| "{id}".to_owned())
}

/// Returns a path in which only words of this service are unchanged, because a client may have put
/// its token into the path by mistake. `id` shows an id.
fn known_parts(path: &str, id: impl Fn(&str) -> String) -> String {
    let parts = path.trim_start_matches('/').split('/').take(8);
    let part = |part: &str| {
        if WORDS.contains(&part) || part.is_empty() {
            format!("/{part}")
        } else if part.parse::<ExecutionId>().is_ok() {
            format!("/{}", id(part))
        } else {
            "/*".to_owned()
        }
    };
    parts.map(part).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_line_shows_only_words_and_ids_of_a_path() {
        let id = ExecutionId::random();
        for (path, expected) in [
            ("/v1/executions", "/v1/executions"),
            (
                &*format!("/v1/executions/{id}/cancel"),
                &*format!("/v1/executions/{id}/cancel"),
            ),
            ("/v1/executions/ccb_secret", "/v1/executions/*"),
            ("/ccb_secret/v1", "/*/v1"),
            ("/", "/"),
            ("/a/b/c/d/e/f/g/h/i/j", "/*/*/*/*/*/*/*/*"),
        ] {
            assert_eq!(shown(path), expected);
            assert_eq!(route(path), expected.replace(&id.to_string(), "{id}"));
        }
    }
}
