//! Output as a stream. A clean end means complete; a stream that fails ends in an aborted connection.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::{self, Stream};
use http_body::Frame;
use http_body_util::StreamBody;
use protocol::{ExecutionId, Problem, ProblemType, Status, trailers};
use spool::ReadError;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::query::{Id, Query};
use super::reply::{App, Reply};
use crate::service::{Service, View, deleted};
use crate::streams::StreamPlace;

/// The most bytes of one read.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks on their way into one connection. hyper alone would collect up to 400 KiB for each reader that takes nothing.
const UNDER_WAY: usize = 1;
/// The longest name of a viewer, in bytes: a session's id is a UUID.
const VIEWER_BYTES: usize = 64;
/// An error directly behind unflushed data loses that data in hyper: it gets this long to leave.
const FLUSH: Duration = Duration::from_millis(50);

/// The header that stops nginx from buffering an answer (ngx_http_proxy_module, `proxy_buffering`).
const NO_BUFFERING: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-accel-buffering"),
    HeaderValue::from_static("no"),
);

/// `GET .../output?offset=N`.
pub(crate) async fn output(
    State(service): App,
    Id(id): Id,
    headers: HeaderMap,
    version: Version,
    RawQuery(raw): RawQuery,
) -> Result<Response, Reply> {
    needs_http_11(version)?;
    let offset = Query::parse(raw.as_deref(), ["offset"])?.number("offset")?;
    let view = service.find(id).await?;
    let place = service.streams.place()?;
    let offset = offset.unwrap_or(0);
    Ok(stream(&service, &view, id, offset, place, viewer(&headers)).await?)
}

/// Refuses a stream over HTTP/1.0: without chunks and trailers its reader cannot tell a cut from
/// the end.
pub(crate) fn needs_http_11(version: Version) -> Result<(), Problem> {
    if version >= Version::HTTP_11 {
        return Ok(());
    }
    Err(Problem::new(
        ProblemType::UpgradeRequired,
        "a stream needs HTTP/1.1, as HTTP/1.0 cannot tell a cut stream from a whole one; \
         in nginx say \
         `proxy_http_version 1.1`, or ask for the status with `Accept: application/json`",
    ))
}

/// Marks a response that lasts as long as its execution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IsStream;

/// Marks a response as a stream for this service, for caches and for buffering proxies (nginx).
pub(super) fn mark_stream(response: &mut Response) {
    response.extensions_mut().insert(IsStream);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(NO_BUFFERING.0, NO_BUFFERING.1);
}

/// Streams the output from `offset` on.
///
/// # Errors
/// A byte from `offset` on is no longer kept, or `offset` is beyond the output; the disk's.
pub(crate) async fn stream(
    service: &Arc<Service>,
    view: &View,
    id: ExecutionId,
    offset: u64,
    stream_place: StreamPlace,
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
    let service = Arc::clone(service);
    let view = view.clone();
    let places = Places::default();
    let frames = stream::unfold(Step::Data(reader), move |step| {
        // Held until the response is dropped.
        let _ = (&viewing, &stream_place);
        let (service, view) = (Arc::clone(&service), view.clone());
        let places = places.clone();
        async move {
            let place = places.next().await;
            next(step, place, &service, &view).await
        }
    });
    Ok(respond("text/plain; charset=utf-8", frames, true))
}

/// Returns the viewer that opens a stream, if a bridge named its session.
pub(crate) fn viewer(headers: &HeaderMap) -> Option<&str> {
    let name = headers.get(trailers::VIEWER)?.to_str().ok()?;
    (name.len() <= VIEWER_BYTES).then_some(name)
}

enum Step {
    Data(spool::Reader),
    Over,
}

pub(super) type Item = Result<Frame<Bytes>, std::io::Error>;

/// Who gives out chunks, and waits until hyper has written one before the next.
#[derive(Clone)]
pub(super) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(UNDER_WAY)))
    }
}

impl Places {
    pub(super) async fn next(&self) -> Place {
        // Never closed.
        let permit = Arc::clone(&self.0).acquire_owned().await;
        Place {
            _permit: permit.ok(),
        }
    }
}

/// A chunk's place, until hyper has written and dropped the chunk.
pub(super) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

struct Placed {
    bytes: Bytes,
    _place: Place,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Place {
    pub(super) fn holds(self, bytes: Bytes) -> Frame<Bytes> {
        let placed = Placed {
            bytes,
            _place: self,
        };
        Frame::data(Bytes::from_owner(placed))
    }
}

async fn next(
    step: Step,
    place: Place,
    service: &Arc<Service>,
    view: &View,
) -> Option<(Item, Step)> {
    let Step::Data(mut reader) = step else {
        return None;
    };
    match reader.next(CHUNK_BYTES).await {
        Ok(Some(bytes)) => Some((Ok(place.holds(bytes)), Step::Data(reader))),
        Ok(None) => match terminal(service, view).await {
            Some(status) => Some((Ok(Frame::trailers(trailer(&status))), Step::Over)),
            None => Some((abort("the execution's owner died").await, Step::Over)),
        },
        Err(error) => Some((abort(&error.to_string()).await, Step::Over)),
    }
}

/// The terminal status: the output's end is published a moment before it.
async fn terminal(service: &Arc<Service>, view: &View) -> Option<Status> {
    match view {
        View::Live(live) => live.ended().await.ok(),
        View::Ended(_) => service
            .status(view)
            .await
            .ok()
            .filter(|s| s.state.is_terminal()),
    }
}

pub(super) async fn abort(why: &str) -> Item {
    tokio::time::sleep(FLUSH).await;
    Err(std::io::Error::other(why.to_owned()))
}

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

pub(super) fn respond(
    kind: &'static str,
    frames: impl Stream<Item = Item> + Send + 'static,
    trailers: bool,
) -> Response {
    let mut response = Body::new(StreamBody::new(frames)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // A page must never take the output for something else.
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

/// The answer to what cannot be read. `what`: the output or the events.
pub(super) fn read_problem(what: &str, id: ExecutionId, error: &ReadError) -> Problem {
    match error {
        ReadError::NotKept { kept_from, len } => Problem::new(
            ProblemType::OffsetNotKept,
            format!(
                "of the {what} of execution {id} the bytes before {kept_from} are no longer kept; \
                 read from there"
            ),
        )
        .with("keptFrom", *kept_from)
        .with("length", *len),
        ReadError::Beyond { len } => Problem::new(
            ProblemType::OffsetBeyondEnd,
            format!("execution {id} has {len} bytes of {what} now; begin at {len} at most"),
        )
        .with("length", *len),
        // A DELETE came while it was opened.
        ReadError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => deleted(id),
        other => {
            tracing::error!(execution = %id, error = %other, what, "could not read the stream");
            Problem::new(
                ProblemType::Internal,
                format!("the {what} cannot be read; the log of claude-api says why"),
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

    /// The places of 8 connections.
    const STREAMS: usize = 6;

    #[tokio::test]
    async fn a_put_whose_body_never_comes_takes_no_place_of_a_stream() {
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
        assert!(service.streams.place().is_ok());
    }

    #[tokio::test]
    async fn a_stream_that_is_refused_is_no_view_and_no_acceptance() {
        let dir = tempfile::tempdir().unwrap();
        let service = open_with(dir.path(), &["--connections=8"]);
        let id = accepted(&service, protocol::State::Queued);
        service.recover().unwrap();
        let view = service.find(id).await.unwrap();
        let View::Live(live) = &view else {
            panic!("it is queued");
        };
        let number = live.views.schedule(Duration::from_secs(3600), None);
        let taken: Vec<_> = (0..STREAMS).map(|_| service.streams.place()).collect();
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
            "the wish is as it was"
        );
        assert!(service.find(other).await.is_err(), "nothing is recorded");
        drop(taken);
    }
}
