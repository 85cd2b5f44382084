//! A GET request on its own TCP connection, for an answer that is read slowly. The connection reads
//! little ahead. The connections of reqwest buffer up to 400 KiB for a client that reads nothing,
//! and have no setting for that.

mod one_task;

use std::pin::pin;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{AUTHORIZATION, HOST};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection};
use hyper_util::rt::TokioIo;
use protocol::trailers::VIEWER;
use rustix::net::sockopt;
use telemetry::Span;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::errors::Failure;
use super::request::note_answer;
use super::response::failure;
use super::{CONNECT_TIMEOUT, KEEPALIVE};
use one_task::OneTask;

/// The most bytes that one read from the connection returns (32 KiB).
const READ_BYTES: usize = 32 * 1024;

/// The size of the kernel's receive buffer (SO_RCVBUF), in bytes. The kernel doubles it. Without
/// this limit the buffer would grow to many MiB for a client that reads nothing.
const RECEIVE_BUFFER_BYTES: usize = 128 * 1024;

/// The body of an HTTP answer that is read on its own TCP connection, which buffers little for a
/// slow reader. Dropping it closes the connection.
pub(super) struct DedicatedStream {
    body: OneTask<Connection<TokioIo<TcpStream>, Empty<Bytes>>, Incoming>,
}

impl DedicatedStream {
    /// Sends a GET request on a new connection, and returns its answer once the head has arrived.
    /// `base` is `http://host:port`, and `path` is the rest of the URL. `viewer` is the id of the
    /// session that reads; without it claude-api gets no viewer's id. `authorization` is the value
    /// of the header of that name, if the client has a token. `span` is the span of the request; it
    /// ends with the head of the answer.
    ///
    /// # Errors
    /// Returns an error if the connection fails, or if the status of the answer is not a success.
    pub(super) async fn open(
        base: &str,
        path: &str,
        viewer: Option<&str>,
        authorization: Option<HeaderValue>,
        mut span: Span,
    ) -> Result<Self, Failure> {
        let (authority, stream) = connect(base).await?;
        let handshake = http1::Builder::new()
            .max_buf_size(READ_BYTES)
            .handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(broken)?;
        let mut connection = Some(connection);
        let mut request = http::Request::get(path).header(HOST, authority);
        if let Some(viewer) = viewer {
            request = request.header(VIEWER, viewer);
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| Failure::Broken(error.to_string()))?;
        if let Some(context) = span.context() {
            context.set_headers(request.headers_mut());
        }
        let sent = with_connection(&mut connection, sender.send_request(request)).await;
        let status = sent.as_ref().ok().map(|answer| answer.status().as_u16());
        note_answer(&mut span, status);
        drop(span);
        let response = sent.map_err(broken)?;
        if response.status().is_success() {
            let body = OneTask::new(connection, response.into_body());
            return Ok(Self { body });
        }
        let response = reqwest::Response::from(response.map(reqwest::Body::wrap));
        Err(with_connection(&mut connection, failure(response)).await)
    }

    /// Returns the next bytes of the body, or `None` at its end.
    ///
    /// # Errors
    /// Returns an error if the connection broke.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        self.body.chunk().await.map_err(broken)
    }
}

/// Waits for an answer while the connection on which it arrives is polled. Sets the connection to
/// `None` if it ends, after which the answer has all that has arrived, or fails.
async fn with_connection<T>(
    connection: &mut Option<impl Future + Unpin>,
    answer: impl Future<Output = T>,
) -> T {
    let mut answer = pin!(answer);
    if let Some(open) = connection {
        tokio::select! {
            answer = &mut answer => return answer,
            _ = open => {}
        }
    }
    *connection = None;
    answer.await
}

/// Opens a TCP connection to `base` and sets its options. Returns the value of the `Host` header
/// for it, and the connection.
///
/// # Errors
/// Returns an error if the URL is malformed, or if no connection is open within 5 s.
async fn connect(base: &str) -> Result<(String, TcpStream), Failure> {
    let url = reqwest::Url::parse(base).map_err(|error| Failure::Connect(error.to_string()))?;
    let host = url.host_str().unwrap_or_default();
    let authority = url
        .port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let address = (
        host.trim_matches(['[', ']']),
        url.port_or_known_default().unwrap_or(80),
    );
    let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(|error| Failure::Connect(error.to_string()))?,
        Err(_) => return Err(Failure::Connect("no connection in time".to_owned())),
    };
    set_options(&stream).map_err(|error| Failure::Connect(error.to_string()))?;
    Ok((authority, stream))
}

/// Sets the socket options of a connection to claude-api: TCP_NODELAY, a small receive buffer,
/// keepalive probes, and TCP_USER_TIMEOUT.
fn set_options(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_recv_buffer_size(stream, RECEIVE_BUFFER_BYTES)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    let user_timeout = u32::try_from((KEEPALIVE * 3).as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(stream, user_timeout)?)
}

/// Turns an error of hyper into a broken connection, after which claude-api may have acted on the
/// request.
fn broken(error: hyper::Error) -> Failure {
    Failure::Broken(error.to_string())
}
