//! The WebSocket handshake (RFC 6455, section 4.2). By hand, because the session wants the raw connection:
//! small buffers, and its own say on closing.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{
    CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::App;
use crate::session::connection;

/// `/ws` and `/ws/mcp`.
pub async fn upgrade(State(app): State<App>, mut request: Request) -> Response {
    let headers = request.headers();
    let asks =
        has_token(headers, &CONNECTION, "upgrade") && has_token(headers, &UPGRADE, "websocket");
    let version = headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_some_and(|v| v == "13");
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .map(|k| derive_accept_key(k.as_bytes()));
    let (true, true, Some(accept)) = (asks, version, key) else {
        return required();
    };
    let on_upgrade = hyper::upgrade::on(&mut request);
    let place = app.place();
    let tracker = app.shared.tracker.clone();
    tracker.spawn(async move {
        match on_upgrade.await {
            Ok(upgraded) => {
                let io = TokioIo::new(upgraded);
                if let Some(_place) = &place {
                    // What the handshake needed is no part of the session's task.
                    Box::pin(connection::run(io, app.shared.clone())).await;
                } else {
                    app.shared.viewer.metrics.sessions_refused.add(1);
                    Box::pin(connection::refuse(io, app.shared.own.sessions)).await;
                }
            }
            // The client left during the handshake.
            Err(error) => tracing::debug!(%error, "no upgrade"),
        }
    });
    let headers = [
        (CONNECTION, "upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// 426 (RFC 9110, section 15.5.22).
fn required() -> Response {
    let detail = "this path speaks WebSocket, version 13 (RFC 6455)";
    let body = json!({ "type": "upgrade-required", "status": 426, "detail": detail });
    let headers = [
        (CONTENT_TYPE, protocol::problem::CONTENT_TYPE),
        (CONNECTION, "upgrade"),
        (UPGRADE, "websocket"),
        (SEC_WEBSOCKET_VERSION, "13"),
    ];
    (StatusCode::UPGRADE_REQUIRED, headers, body.to_string()).into_response()
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}
