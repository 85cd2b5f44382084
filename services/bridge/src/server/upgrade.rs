//! The WebSocket handshake (RFC 6455, section 4.2). It is hand-written, because a session needs the
//! raw TCP connection, with small buffers and with its own way to close.

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use hyper_util::rt::TokioIo;
use protocol::{Problem, ProblemType};
use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::access::{Admission, Purpose, SUBPROTOCOL, origin, presented};
use super::app::{App, SlotRefusal};
use super::peer::Client;
use super::problems::{Refused, problem_page};
use crate::session;
use crate::session::task::refuse::{refuse, too_many_sessions};

/// Handles a WebSocket handshake on `/ws` or `/ws/mcp`. Answers 101 (Switching Protocols) and runs
/// the session on the connection. A faulty handshake gets HTTP 400, 405 or 426, and one without a
/// valid token 401, 403 or 429.
///
/// A client that may have a session later is refused after the handshake, with the close code 1013:
/// too many sessions are open (the client also gets a JSON-RPC error), or claude-api does not
/// answer. If too many are being refused like that, it gets HTTP 503.
///
/// The subprotocol `ccb.v1` is selected if the client offers it, and is required only beside a
/// secret. Other names are ignored, as RFC 6455 allows (section 4.2.2). A client that needs another
/// one closes the connection itself.
pub async fn upgrade(State(app): State<App>, mut request: Request) -> Response {
    let accept = match check(&request) {
        Ok(accept) => accept,
        Err(refusal) => return refusal.into_response(),
    };
    let presented = match presented(request.headers(), true) {
        Ok(presented) => presented,
        Err(detail) => return Refusal::Invalid(detail).into_response(),
    };
    let client = Client::of(&request);
    let origin = origin(request.headers());
    let admission = app.access.admit(
        &presented,
        origin.as_deref(),
        client.address,
        Purpose::Executions,
    );
    // Boxed, because the judgement needs much more memory than the rest of the handshake.
    let opening = match Box::pin(admission).await {
        Admission::Granted(grant) => app.take_slot(grant).map_err(|SlotRefusal(reason, limit)| {
            let metrics = &app.shared.viewer.metrics;
            metrics.sessions_refused.inc();
            let error = too_many_sessions(reason, limit);
            (Some(error), reason, "too many sessions")
        }),
        Admission::Refused(response) => return *response,
        Admission::NoAnswer => Err((None, "claude_api_unreachable", "claude-api does not answer")),
    };
    let refusal_permit = match &opening {
        Ok(_) => None,
        Err(_) => match app.refusals.clone().try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => return too_many_refusals(),
        },
    };
    let offers_subprotocol = has_item(request.headers(), &SEC_WEBSOCKET_PROTOCOL, |item| {
        item == SUBPROTOCOL
    });
    let on_upgrade = hyper::upgrade::on(&mut request);
    let tracker = app.shared.tracker.clone();
    tracker.spawn(async move {
        // The connection counts until the session has ended.
        let Client { address, open } = client;
        match on_upgrade.await {
            Ok(upgraded) => {
                let io = TokioIo::new(upgraded);
                match opening {
                    Ok(slot) => {
                        let grant = slot.grant().clone();
                        // Boxed, so that the handshake does not enlarge the task of the session.
                        Box::pin(session::run(io, app.shared.clone(), grant, address)).await;
                        drop(slot);
                    }
                    Err((error, reason, close_reason)) => {
                        app.shared.viewer.metrics.refused(reason);
                        Box::pin(refuse(io, error, close_reason)).await;
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "the client left during the handshake"),
        }
        drop((refusal_permit, open));
    });
    let headers = [
        (CONNECTION, "upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
    if offers_subprotocol {
        let name = HeaderValue::from_static(SUBPROTOCOL);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
    }
    response
}

/// The reason why a WebSocket handshake is refused. It decides the HTTP status of the response.
enum Refusal {
    /// The method is not GET. The status is 405 (Method Not Allowed).
    Method,
    /// The request is not HTTP/1.1, so the connection cannot be upgraded (RFC 9110, section 7.8).
    /// The status is 426 (Upgrade Required).
    Version,
    /// The request does not ask for an upgrade to WebSocket version 13. The status is 426 (Upgrade
    /// Required).
    Required,
    /// The handshake has another mistake, which this text explains to the client. The status is 400
    /// (Bad Request).
    Invalid(&'static str),
}

/// Checks the headers of a WebSocket handshake (RFC 6455, section 4.2.1). Returns the value of
/// `Sec-WebSocket-Accept` for the response, which is derived from the client's key. Returns the
/// reason for the refusal if a header is missing, repeated or wrong, or if the request has a body.
fn check(request: &Request) -> Result<String, Refusal> {
    if request.method() != Method::GET {
        return Err(Refusal::Method);
    }
    if request.version() != Version::HTTP_11 {
        return Err(Refusal::Version);
    }
    let headers = request.headers();
    let is = |name: &'static str| move |item: &str| item.eq_ignore_ascii_case(name);
    let asks = has_item(headers, &CONNECTION, is("upgrade"))
        && has_item(headers, &UPGRADE, is("websocket"));
    let version = headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_some_and(|v| v == "13");
    if !asks || !version {
        return Err(Refusal::Required);
    }
    if headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING) {
        // The bytes of a body could be mistaken for frames.
        return Err(Refusal::Invalid(
            "the handshake has a body; send no Content-Length and no Transfer-Encoding",
        ));
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key.as_bytes()) => Ok(derive_accept_key(key.as_bytes())),
        (Some(_), None) => Err(Refusal::Invalid(
            "Sec-WebSocket-Key is not the base64 of 16 bytes; send 24 characters that end in ==",
        )),
        (Some(_), Some(_)) => Err(Refusal::Invalid(
            "Sec-WebSocket-Key is given twice; send one",
        )),
        (None, _) => Err(Refusal::Invalid("Sec-WebSocket-Key is missing; send one")),
    }
}

/// Returns true if `key` is a valid `Sec-WebSocket-Key`, which is the base64 of 16 bytes. That is
/// 22 characters, of which the last one carries two bits, and `==`.
fn is_key(key: &[u8]) -> bool {
    let [digits @ .., last, b'=', b'='] = key else {
        return false;
    };
    let is_digit = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/');
    digits.len() == 21 && digits.iter().all(is_digit) && b"AQgw".contains(last)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Method => problem_page(&Problem::new(
                ProblemType::MethodNotAllowed,
                "this path accepts only GET",
            )),
            Self::Version => upgrade_required(
                "a WebSocket needs HTTP/1.1, and this request was HTTP/1.0; behind nginx set \
                 `proxy_http_version 1.1` and forward the Upgrade and Connection headers",
            ),
            Self::Required => upgrade_required("this path speaks WebSocket, version 13 (RFC 6455)"),
            Self::Invalid(detail) => plain(StatusCode::BAD_REQUEST, "invalid-handshake", detail),
        }
    }
}

/// Creates the 426 (Upgrade Required) response. Its headers name WebSocket version 13, as RFC 9110,
/// section 15.5.22, requires. `detail` tells the client what to change.
fn upgrade_required(detail: &str) -> Response {
    let mut response = plain(StatusCode::UPGRADE_REQUIRED, "upgrade-required", detail);
    let fields = [
        (CONNECTION, "upgrade"),
        (UPGRADE, "websocket"),
        (SEC_WEBSOCKET_VERSION, "13"),
    ];
    for (name, value) in fields {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Creates the 503 (Service Unavailable) response to a client that gets no session now. It is used
/// when too many other clients are already being refused over WebSocket. `Retry-After` asks the
/// client to wait 5 s.
fn too_many_refusals() -> Response {
    let detail = "there are too many sessions; try again later";
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "too-many-sessions", detail);
    let later = HeaderValue::from_static("5");
    response.headers_mut().insert(RETRY_AFTER, later);
    response
}

/// Creates the response that refuses a handshake with a problem object of type `kind`, marked so
/// that `/metrics` counts it.
fn plain(status: StatusCode, kind: &'static str, detail: &str) -> Response {
    let body = json!({ "type": kind, "status": status.as_u16(), "detail": detail });
    let content_type = [(CONTENT_TYPE, protocol::problem::CONTENT_TYPE)];
    (
        status,
        content_type,
        Extension(Refused(kind)),
        body.to_string(),
    )
        .into_response()
}

/// Returns true if `is` accepts an item of the comma-separated header `name`. The header may be
/// repeated. Values that are not visible ASCII are ignored.
fn has_item(headers: &HeaderMap, name: &HeaderName, is: impl Fn(&str) -> bool) -> bool {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| is(item.trim()))
}
