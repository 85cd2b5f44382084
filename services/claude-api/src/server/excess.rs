//! The refusal of a connection beyond the limit of its peer: one HTTP answer, then the end.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use protocol::{Problem, ProblemType};

use crate::http::Reply;
use crate::net::Connection;

/// The time for the whole exchange with a client whose connection is refused. It bounds how long
/// such a connection holds its place.
const EXCHANGE_TIME: Duration = Duration::from_secs(2);
/// The time for the rest of the request. Closing the socket with unread bytes resets the connection
/// (RFC 9112, section 9.6), so a client that still sends would lose the answer.
const REST_TIME: Duration = Duration::from_secs(1);
/// The value of the header `Retry-After`, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Answers the first request of a connection with 429 `too-many-connections` and closes the
/// connection. `limit` is the number of connections that one peer may have. Takes at most 2 s.
pub(super) async fn refuse(connection: Connection, limit: u64, buffer_bytes: usize) {
    let service = service_fn(
        move |request: hyper::Request<hyper::body::Incoming>| async move {
            let mut body = request.into_body();
            let rest = async { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} };
            let _ = tokio::time::timeout(REST_TIME, rest).await;
            Ok::<Response<Body>, Infallible>(answer(limit))
        },
    );
    let exchange = http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None)
        .max_buf_size(buffer_bytes)
        .serve_connection(TokioIo::new(connection), service);
    // An error means that the client is gone already.
    let _ = tokio::time::timeout(EXCHANGE_TIME, exchange).await;
}

/// Creates the answer 429 `too-many-connections`.
fn answer(limit: u64) -> Response {
    let detail = format!(
        "this address has {limit} open connections to claude-api, the limit for one client; close \
         some of them, or ask the operator to raise CLAUDE_API_CONNECTIONS_PER_PEER \
         (--connections-per-peer)"
    );
    let problem = Problem::new(ProblemType::TooManyConnections, detail);
    let mut response = Reply(problem).into_response();
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}
