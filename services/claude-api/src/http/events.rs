//! The HTTP stream of an execution's events, which are the stdout of the CLI byte for byte. If the
//! stream ends cleanly, it is complete; after a failure the connection is aborted.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, HeaderValue, Version};
use axum::response::Response;
use futures::stream;
use http_body::Frame;
use protocol::{Problem, ProblemType, trailers};
use spool::{Entry, EventsExtent, EventsReader, ReadError};

use super::output::{CHUNK_BYTES, abort, needs_http_11, read_problem, stream_response};
use super::query::{Id, Query};
use super::reply::{App, Reply};
use crate::access::{Caller, Right};

/// `GET .../events?offset=N&follow=false`: streams the CLI's stdout from byte N, by default from
/// the oldest byte that is kept. With `follow=false` the stream ends at the present end of the
/// events, and response headers announce its first byte and the length. Otherwise it lasts until
/// the execution ends.
pub(crate) async fn events(
    State(service): App,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    version: Version,
    RawQuery(raw): RawQuery,
) -> Result<Response, Reply> {
    needs_http_11(version)?;
    let query = Query::parse(raw.as_deref(), ["offset", "follow"])?;
    let (offset, follows) = (query.number("offset")?, query.flag("follow", true)?);
    // Before the permit, so that a client without the right takes none.
    let view = service.find(&caller, id, Right::View).await?;
    let stream_permit = service.streams.permit(caller.quota())?;
    let entry = view.entry().clone();
    let opened = spool::blocking::run(move || open(&entry, offset, follows)).await;
    let Opened { reader, extent } = match opened {
        Ok(opened) => opened.map_err(|e| read_problem("events", id, &e))?,
        Err(_) => {
            return Err(Reply(Problem::new(
                ProblemType::Internal,
                "the events cannot be opened",
            )));
        }
    };
    let frames = stream::unfold(Some(reader), move |reader| {
        // Held until the response is dropped.
        let _ = &stream_permit;
        async move {
            let mut reader = reader?;
            match reader.next(CHUNK_BYTES).await {
                Ok(Some(bytes)) => Some((Ok(Frame::data(bytes)), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((abort(&error.to_string()).await, None)),
            }
        }
    });
    let mut response = stream_response("application/x-ndjson", frames, false);
    if let Some((offset, extent)) = extent {
        let headers = response.headers_mut();
        for (name, value) in [
            (trailers::EVENTS_OFFSET, HeaderValue::from(offset)),
            (trailers::EVENTS_LENGTH, HeaderValue::from(extent.len)),
            (trailers::EVENTS_ENDED, bool_value(extent.ended)),
        ] {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    Ok(response)
}

/// The events of one execution, opened for an HTTP stream.
struct Opened {
    reader: EventsReader,
    /// For `follow=false`: the offset of the first byte of the stream, and how many bytes of events
    /// existed when it was opened. `None` for a stream that lasts until the execution ends.
    extent: Option<(u64, EventsExtent)>,
}

/// Opens the events of an execution at byte `offset`, or at the oldest kept byte for `None`. If
/// `follows` is true, the reader waits for new events until the execution ends; otherwise it ends
/// at the present end.
///
/// Blocks on the disk. With an offset it may read all patches, which are the stored differences
/// between the output and the CLI's stdout.
fn open(entry: &Entry, offset: Option<u64>, follows: bool) -> Result<Opened, ReadError> {
    if follows && offset.is_none() {
        let reader = entry.events_reader()?;
        return Ok(Opened {
            reader,
            extent: None,
        });
    }
    let (mut reader, extent) = entry.events_from(offset)?;
    let extent = (!follows).then(|| (offset.unwrap_or(extent.kept_from), extent));
    if let Some((offset, extent)) = extent {
        reader.end_after(extent.len - offset);
    }
    Ok(Opened { reader, extent })
}

fn bool_value(value: bool) -> HeaderValue {
    HeaderValue::from_static(if value { "true" } else { "false" })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use http::Request;
    use protocol::State;
    use tower::ServiceExt;

    use super::*;
    use crate::service::testing::{accepted, open};

    #[tokio::test]
    async fn events_of_a_queued_execution_end_immediately_and_wrong_queries_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let service = open(dir.path());
        let id = accepted(&service, State::Queued);
        service.recover().unwrap();
        for (query, code, kind) in [
            ("follow=false", 200, None),
            ("follow=false&offset=0", 200, None),
            ("follow=false&offset=1", 416, Some("offset-beyond-end")),
            ("offset=1", 416, Some("offset-beyond-end")),
            ("offset=-1", 400, Some("invalid-query")),
            ("offset=", 400, Some("invalid-query")),
            ("follow=no", 400, Some("invalid-query")),
            ("limit=1", 400, Some("invalid-query")),
        ] {
            let request = Request::get(format!("/v1/executions/{id}/events?{query}"));
            let request = request.header("host", "localhost").body(Body::empty());
            let router = crate::http::router(Arc::clone(&service));
            let answer = router.oneshot(request.unwrap()).await.unwrap();
            assert_eq!(answer.status(), code, "{query}");
            let header = |name: &str| {
                let value = answer.headers().get(name)?;
                Some(value.to_str().unwrap().to_owned())
            };
            if code == 200 {
                let names = ["events-offset", "events-length", "events-ended"];
                let values = names.map(|name| header(name).unwrap());
                assert_eq!(values, ["0", "0", "false"], "{query}");
            }
            let body = axum::body::to_bytes(answer.into_body(), 4096);
            let body = body.await.unwrap();
            match kind {
                None => assert!(body.is_empty(), "{query}"),
                Some(kind) => {
                    let problem: Problem = serde_json::from_slice(&body).unwrap();
                    assert_eq!(problem.kind.as_str(), kind, "{query}");
                }
            }
        }
    }
}
