//! The audit lines of refused requests: who sent what, and why it was refused.
//!
//! - When is a line written? When a request is answered with 401, 403, 429 or
//!   `invalid-forwarded-for`: because of its token, its role, its address, its `Host` or its
//!   `Origin`. A connection beyond the limit of its peer has no line.
//! - Who waits for whom? Nobody. At most 20 lines a minute are written for each client. Further
//!   ones are counted, and the next line has their number.
//! - What bounds the other direction? The table has at most 4096 clients.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use addresses::AuditLines;
use axum::response::Response;
use http::{Method, StatusCode};

use super::problems::{AuditedAs, Refused};

/// The paths of the bridge. Any other path is not logged, because it may have a secret by mistake.
const PATHS: [&str; 7] = [
    "/",
    "/ws",
    "/ws/mcp",
    "/mcp",
    "/metrics",
    "/protocol.json",
    "/ws-ticket",
];

/// The writer of the audit lines of refused requests.
#[derive(Debug, Default)]
pub(super) struct Audit {
    // A plain lock, never held across an await.
    lines: Mutex<AuditLines>,
}

/// The parts of a request that an audit line shows: never a header or a query.
#[derive(Debug, Clone)]
pub(super) struct AuditedRequest {
    /// The HTTP method, or `*` for one that the client made up.
    pub(super) method: &'static str,
    /// The path, if it is one of the bridge.
    path: &'static str,
}

impl AuditedRequest {
    /// Creates the description of a request to this path.
    pub(super) fn new(method: &Method, path: &str) -> Self {
        let known = PATHS.into_iter().find(|known| *known == path);
        Self {
            method: protocol::guard::shown_method(method),
            path: known.unwrap_or("(another path)"),
        }
    }
}

impl Audit {
    /// Writes a line if the response refuses the request of `client` for a reason of access.
    pub(super) fn record(&self, client: IpAddr, request: &AuditedRequest, response: &Response) {
        let Some(Refused(reason)) = response.extensions().get() else {
            return;
        };
        let is_about_access = matches!(
            response.status(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
        );
        if !is_about_access && *reason != "invalid-forwarded-for" {
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(omitted) = lines.next(client, Instant::now()) else {
            return;
        };
        drop(lines);
        let audited = response.extensions().get::<AuditedAs>();
        let me = audited.map(|AuditedAs(grant)| grant.me());
        tracing::info!(
            target: "audit",
            token = me.and_then(|me| me.name.as_deref()),
            principal = me.and_then(|me| me.principal.as_deref()),
            peer = %client,
            method = request.method,
            path = request.path,
            outcome = reason,
            omitted = omitted.total(),
            "refused a request"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_path_or_method_is_not_logged() {
        let request = |method: &[u8], path| {
            let method = Method::from_bytes(method).unwrap();
            let request = AuditedRequest::new(&method, path);
            (request.method, request.path)
        };
        assert_eq!(request(b"GET", "/ws"), ("GET", "/ws"));
        assert_eq!(
            request(b"ccb_secret", "/ccb_secret"),
            ("*", "(another path)")
        );
    }
}
