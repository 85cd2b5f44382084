//! One connection of a client, with its one request.

use std::convert::Infallible;
use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::admit::{Decision, decide};
use super::context::Context;
use super::head_slots::HeadSlot;
use super::linger::LingerPlaces;
use crate::forward::{Admitted, refused};
use crate::request::head::{HEAD_BYTES, length};
use crate::request::refusal::Refusal;

/// The time for the head of the request to arrive.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The maximum number of bytes that the HTTP library reads ahead or keeps unsent for one
/// connection.
const BUFFER_BYTES: usize = 64 * 1024;
/// The size of the first buffer for a head. The CLI's heads have about 1 KiB.
const FIRST_HEAD_BYTES: usize = 4 * 1024;
/// The time after which the kernel drops a client that acknowledges no data.
const USER_TIMEOUT: Duration = Duration::from_secs(60);
/// The time for a request whose grant was revoked to end on its own. Then the connection is closed,
/// although the client may not have read all that was sent.
const CUT_TIME: Duration = Duration::from_secs(1);
/// The answer to the healthcheck.
const LIVE: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\
    connection: close\r\n\r\n{\"status\":\"live\"}";

/// Serves the one request of a connection. `is_local` says whether the client runs on this machine.
/// Dropping the future closes the connection.
pub(super) async fn handle(
    context: Arc<Context>,
    mut stream: TcpStream,
    is_local: bool,
    slot: HeadSlot,
    places: LingerPlaces,
) {
    if let Err(error) = set_options(&stream) {
        tracing::debug!(%error, "could not set the options of a client's connection");
    }
    let mut received = BytesMut::with_capacity(FIRST_HEAD_BYTES);
    let head = tokio::select! {
        biased;
        () = slot.must_close() => return,
        head = tokio::time::timeout(HEAD_TIME, read_head(&mut stream, &mut received)) => head,
    };
    let decision = match head {
        // The client has closed, or is too slow.
        Err(_) | Ok(Err(_)) => return,
        Ok(Ok(None)) => Err(Refusal::invalid("the head is longer than 32 KiB")),
        Ok(Ok(Some(length))) => decide(&context, &received[..length], is_local),
    };
    let answer = match decision {
        Ok(Decision::Forward(admitted)) => {
            drop(slot);
            return serve(context, admitted, stream, received, places).await;
        }
        Ok(Decision::Live) => LIVE.to_owned(),
        Err(refusal) => {
            tracing::debug!(%refusal, "refused a request of the sandbox");
            refusal.to_http()
        }
    };
    // A connection that lingers has no buffer of its head.
    drop(received);
    let written = tokio::select! {
        biased;
        () = slot.must_close() => return,
        written = stream.write_all(answer.as_bytes()) => written,
    };
    drop(slot);
    if written.is_ok() {
        places.close(stream).await;
    }
}

fn set_options(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let user_timeout = u32::try_from(USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(
        stream,
        user_timeout,
    )?)
}

/// Reads until `received` has a whole head, and returns the head's length. `None` if the head is
/// too long.
async fn read_head(
    stream: &mut TcpStream,
    received: &mut BytesMut,
) -> std::io::Result<Option<usize>> {
    let mut searched = 0;
    loop {
        if let Some(length) = length(received, searched) {
            return Ok((length <= HEAD_BYTES).then_some(length));
        }
        searched = received.len();
        if searched >= HEAD_BYTES {
            return Ok(None);
        }
        if stream.read_buf(received).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Forwards a request whose first bytes, at least its head, have been received.
async fn serve(
    context: Arc<Context>,
    admitted: Admitted,
    stream: TcpStream,
    received: BytesMut,
    places: LingerPlaces,
) {
    let cut = admitted.open.cut().clone();
    let must_end = async {
        cut.cancelled().await;
        tokio::time::sleep(CUT_TIME).await;
    };
    let (read, write) = stream.into_split();
    let stream = tokio::io::join(Cursor::new(received).chain(read), write);
    // The one request of the connection. A lock, because the library may call the service from any
    // thread; it is held only for the take.
    let admitted = Mutex::new(Some(admitted));
    let service = service_fn(|request: Request<Incoming>| {
        let admitted = admitted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let forwarder = Arc::clone(&context.forwarder);
        async move {
            Ok::<_, Infallible>(match admitted {
                Some(admitted) => forwarder.forward(admitted, request).await,
                None => refused(&Refusal::invalid("a connection has one request")),
            })
        }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = connection.without_shutdown() => ended,
        () = must_end => return,
    };
    match ended {
        Ok(parts) => {
            // A connection that lingers has no buffer of its head, nor of what followed.
            let Parts { io, .. } = parts;
            let (read, write) = io.into_inner().into_inner();
            let (_, read) = read.into_inner();
            places.close(tokio::io::join(read, write)).await;
        }
        Err(error) => tracing::debug!(%error, "the connection of a client ended with an error"),
    }
}
