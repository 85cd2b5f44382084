//! CORS (Fetch Standard, CORS protocol) for the paths that scripts of web pages use.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, header};
use protocol::Guard;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may cache the answer to a CORS preflight request. The limit bounds how long a
/// browser uses an answer from before a change of `--allowed-origins`.
const PREFLIGHT: Duration = Duration::from_secs(600);
/// The header with the id of an MCP session.
const MCP_SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// Returns the middleware for CORS, which permits web pages of the origins in `--allowed-origins`.
/// There are no cookies, so credentials are never allowed. Responses name the origin, never `*`.
pub(super) fn layer(guard: Arc<Guard>) -> CorsLayer {
    let listed = move |origin: &HeaderValue, _: &Parts| {
        origin.to_str().is_ok_and(|origin| guard.lists(origin))
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(listed))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("mcp-protocol-version"),
            HeaderName::from_static("mcp-method"),
            HeaderName::from_static("mcp-name"),
            MCP_SESSION,
        ])
        .expose_headers([header::RETRY_AFTER, header::WWW_AUTHENTICATE, MCP_SESSION])
        // A listed page on the public web may reach a local service (Private Network Access).
        .allow_private_network(true)
        .max_age(PREFLIGHT)
}
