//! The HTTP stream of an execution's output. If the stream ends cleanly, the client has everything.
//! After a failure the connection is aborted, so a client does not mistake a part for the whole.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::{self, Stream};
use http_body::Frame;
use http_body_util::StreamBody;
use protocol::limits::VIEWER_BYTES;
use protocol::{ExecutionId, Problem, ProblemType, Status, trailers};
use spool::ReadError;

use super::query::{Id, Query};
use super::reply::{App, Reply};
use crate::access::{Caller, Right};
use crate::service::{FoundExecution, Service, deleted};
use crate::streams::StreamPermit;

/// The maximum size of one read from the disk, in bytes, which becomes one chunk of a stream. It
/// bounds the memory of a stream: hyper asks for the next chunk while it holds fewer unsent bytes
/// than its buffer size (`READ_BUFFER_BYTES` in `server`). It keeps a chunk that is sent in part,
/// so it holds less than three chunks.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;
/// How long a stream waits before it aborts its connection. Meanwhile hyper sends the data that it
/// still holds, which it would drop at an error.
const FLUSH_WAIT: Duration = Duration::from_millis(50);

/// The response header that makes nginx forward a stream immediately instead of buffering it
/// (ngx_http_proxy_module, `proxy_buffering`).
const NO_BUFFERING: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-accel-buffering"),
    HeaderValue::from_static("no"),
);

/// `GET .../output?offset=N`: streams the output from byte N, by default from the first byte, and
/// waits for new output until the execution ends. Answers 400 to a malformed query, 404 or 410 to
/// an unknown or deleted id, and 503 `too-many-streams` if no further stream may be open.
pub(crate) async fn output(
    State(service): App,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    headers: HeaderMap,
    version: Version,
    RawQuery(raw): RawQuery,
) -> Result<Response, Reply> {
    needs_http_11(version)?;
    let offset = Query::parse(raw.as_deref(), ["offset"])?.number("offset")?;
    let view = service.find(&caller, id, Right::View).await?;
    let place = service.streams.permit(caller.quota())?;
    let offset = offset.unwrap_or(0);
    Ok(stream(&service, &view, id, offset, place, viewer(&headers)).await?)
}

/// Returns 426 `upgrade-required` if a client requests a stream over HTTP/1.0. That version has
/// neither chunks nor trailers, so its client could not distinguish a cut stream from a complete
/// one.
pub(crate) fn needs_http_11(version: Version) -> Result<(), Problem> {
    if version >= Version::HTTP_11 {
        return Ok(());
    }
    Err(Problem::new(
        ProblemType::UpgradeRequired,
        "a stream needs HTTP/1.1, because HTTP/1.0 cannot distinguish a cut stream from a complete \
         one; in nginx set `proxy_http_version 1.1`, or ask for the status with \
         `Accept: application/json`",
    ))
}

/// A marker in the extensions of an HTTP response: the response is a stream, which may last as long
/// as its execution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamMarker;

/// Returns whether an HTTP response is a stream of output, events or statuses, which may stay open
/// as long as its execution runs. The connection of a stream is never closed as idle.
pub(crate) fn is_stream(response: &Response) -> bool {
    response.extensions().get::<StreamMarker>().is_some()
}

/// Marks a response as a stream, so that this service never closes its connection as idle, no cache
/// stores it (`no-store`), and nginx does not buffer it.
pub(super) fn mark_stream(response: &mut Response) {
    response.extensions_mut().insert(StreamMarker);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(NO_BUFFERING.0, NO_BUFFERING.1);
}

/// Returns a response that streams the output of an execution from byte `offset` to its end, and
/// then sends its length and checksum as trailers. Until the response is dropped, it holds
/// `stream_permit` and counts as a view of the execution. `viewer` is the client's name from the
/// request header, if any.
///
/// # Errors
/// 410 `offset-not-kept` if the byte at `offset` is no longer kept; 416 `offset-beyond-end` if it
/// does not exist yet; 410 `deleted`; 500 `internal` after a disk error.
pub(crate) async fn stream(
    service: &Arc<Service>,
    view: &FoundExecution,
    id: ExecutionId,
    offset: u64,
    stream_permit: StreamPermit,
    viewer: Option<&str>,
) -> Result<Response, Problem> {
    let entry = view.entry().clone();
    let opened = spool::blocking::run(move || entry.reader(offset)).await;
    let reader = match opened {
        Ok(opened) => opened.map_err(|e| read_problem("output", id, &e))?,
        Err(_) => {
            return Err(Problem::new(
                ProblemType::Internal,
                "the output cannot be opened",
            ));
        }
    };
    let viewing = service.viewing(view, viewer).await;
    let source = Source {
        reader,
        service: Arc::clone(service),
        view: view.clone(),
    };
    let frames = stream::unfold(Some(source), move |source| {
        // Held until the response is dropped.
        let _ = (&viewing, &stream_permit);
        async move { Some(next_frame(source?).await) }
    });
    Ok(stream_response("text/plain; charset=utf-8", frames, true))
}

/// Returns the client's name from the request header `viewer`; a bridge sends the id of its
/// session. `None` if the header is missing, is not text, or has over 64 bytes.
pub(crate) fn viewer(headers: &HeaderMap) -> Option<&str> {
    let name = headers.get(trailers::VIEWER)?.to_str().ok()?;
    (name.len() <= VIEWER_BYTES).then_some(name)
}

/// Where the frames of one stream come from.
struct Source {
    reader: spool::Reader,
    service: Arc<Service>,
    view: FoundExecution,
}

/// The next HTTP frame of a stream, data or trailers. An error aborts the connection.
pub(super) type FrameResult = Result<Frame<Bytes>, std::io::Error>;

/// Returns the next HTTP frame of an output: data while there is any, then the trailers, or an
/// error if the output or its end cannot be read. After the trailers or the error there is no
/// source for a further frame.
async fn next_frame(mut source: Source) -> (FrameResult, Option<Source>) {
    match source.reader.next(CHUNK_BYTES).await {
        Ok(Some(bytes)) => (Ok(Frame::data(bytes)), Some(source)),
        Ok(None) => match source.service.terminal_status(&source.view).await {
            Some(status) => (Ok(Frame::trailers(trailer(&status))), None),
            None => (abort("the execution's owner died").await, None),
        },
        Err(error) => (abort(&error.to_string()).await, None),
    }
}

/// Waits 50 ms for hyper to send earlier data, then returns the error that makes hyper abort the
/// connection. Without a clean end of the stream, the client knows that it is incomplete.
pub(super) async fn abort(reason: &str) -> FrameResult {
    tokio::time::sleep(FLUSH_WAIT).await;
    Err(std::io::Error::other(reason.to_owned()))
}

/// Returns the trailers at the end of an output: the execution's state, its exit code if there is
/// one, and the length and CRC-32 of the output.
fn trailer(status: &Status) -> HeaderMap {
    let mut map = HeaderMap::new();
    let mut add = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            map.insert(HeaderName::from_static(name), value);
        }
    };
    add(trailers::EXECUTION_STATE, status.state.as_str().to_owned());
    if let Some(code) = status.exit_code {
        add(trailers::EXIT_CODE, code.to_string());
    }
    add(trailers::OUTPUT_LENGTH, status.output_bytes.to_string());
    if let Some(crc32) = &status.crc32 {
        add(trailers::OUTPUT_CRC32, crc32.clone());
    }
    map
}

/// Returns a response that streams `frames` with the media type `kind`. If `trailers` is true, the
/// frames end with trailers, and the header `Trailer` announces them.
pub(super) fn stream_response(
    kind: &'static str,
    frames: impl Stream<Item = FrameResult> + Send + 'static,
    trailers: bool,
) -> Response {
    let mut response = Body::new(StreamBody::new(frames)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // A browser must never interpret the output as another type.
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if trailers {
        headers.insert(
            header::TRAILER,
            HeaderValue::from_static(protocol::trailers::ALL),
        );
    }
    mark_stream(&mut response);
    response
}

/// Returns the HTTP error for an output or events that cannot be opened: 410 if the offset is no
/// longer kept or the execution was deleted, 416 if the offset lies beyond the end, 500 if the disk
/// failed, which is logged. `track` names the stream in the text: `output` or `events`.
pub(super) fn read_problem(track: &str, id: ExecutionId, error: &ReadError) -> Problem {
    match error {
        ReadError::NotKept { kept_from, len } => Problem::new(
            ProblemType::OffsetNotKept,
            format!(
                "the {track} of execution {id} before byte {kept_from} is no longer kept; \
                 begin at {kept_from}"
            ),
        )
        .with("keptFrom", *kept_from)
        .with("length", *len),
        ReadError::Beyond { len } => Problem::new(
            ProblemType::OffsetBeyondEnd,
            format!("execution {id} has {len} bytes of {track} now; begin at {len} at most"),
        )
        .with("length", *len),
        // A DELETE arrived while the stream was being opened.
        ReadError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => deleted(id),
        other => {
            tracing::error!(
                execution = %id,
                error = %other,
                what = track,
                "could not open a stream of an execution; answered with an error"
            );
            Problem::new(
                ProblemType::Internal,
                format!("the {track} cannot be read; the log of claude-api says why"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::service::testing::{accepted, open_with};

    fn request(method: &str, path: &str, body: Body) -> Request<Body> {
        let request = Request::builder().method(method).uri(path);
        request.header("host", "localhost").body(body).unwrap()
    }

    /// The permitted streams of 8 connections.
    const STREAMS: usize = 6;

    #[tokio::test]
    async fn a_put_whose_body_never_arrives_does_not_count_as_a_stream() {
        let dir = tempfile::tempdir().unwrap();
        let service = open_with(dir.path(), &["--connections=8"]);
        let mut puts = Vec::new();
        for _ in 0..STREAMS {
            let path = format!("/v1/executions/{}", ExecutionId::random());
            let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
            let router = crate::http::router(Arc::clone(&service));
            let mut put = Box::pin(router.oneshot(request("PUT", &path, never)));
            assert!(futures::poll!(&mut put).is_pending());
            puts.push(put);
        }
        assert!(service.streams.permit(spool::Owner::NONE).is_ok());
    }

    #[tokio::test]
    async fn a_refused_stream_is_no_view_and_accepts_no_execution() {
        let dir = tempfile::tempdir().unwrap();
        let service = open_with(dir.path(), &["--connections=8"]);
        let id = accepted(&service, protocol::State::Queued);
        service.recover().unwrap();
        let view = service
            .find(&Caller::anyone(), id, Right::View)
            .await
            .unwrap();
        let FoundExecution::Live(live) = &view else {
            panic!("the execution is live");
        };
        let number = live.views.schedule(Duration::from_secs(3600), None);
        let permits: Vec<_> = (0..STREAMS)
            .map(|_| service.streams.permit(spool::Owner::NONE))
            .collect();
        let other = ExecutionId::random();
        let prompt = || Body::from(r#"{"prompt":"x"}"#);
        for (method, path, body) in [
            (
                "GET",
                format!("/v1/executions/{id}?follow=true"),
                Body::empty(),
            ),
            ("GET", format!("/v1/executions/{id}/output"), Body::empty()),
            ("PUT", format!("/v1/executions/{other}"), prompt()),
        ] {
            let router = crate::http::router(Arc::clone(&service));
            let answer = router.oneshot(request(method, &path, body)).await.unwrap();
            assert_eq!(answer.status(), 503, "{method} {path}");
        }
        assert!(
            live.views.due(number).now_or_never().is_none(),
            "the scheduled cancel is unchanged"
        );
        assert!(
            service
                .find(&Caller::anyone(), other, Right::View)
                .await
                .is_err(),
            "nothing is recorded"
        );
        drop(permits);
    }
}
