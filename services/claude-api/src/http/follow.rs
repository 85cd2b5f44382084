//! `?follow=true`: streams the status of an execution as NDJSON, one JSON object per line. A line
//! is sent at the start, at each change and at each heartbeat. The terminal status is the last
//! line.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use protocol::Problem;
use tokio::sync::watch;
use tokio::time::Instant;

use super::output::mark_stream;
use crate::access::Caller;
use crate::execution::Live;
use crate::execution::live::Published;
use crate::execution::views::Viewing;
use crate::service::{FoundExecution, Service, VisibleStatus};
use crate::streams::StreamPermit;

/// The shortest time between two lines of a stream of statuses, so a client gets at most 10 per
/// second (docs/protocol.md, "Calls").
const INTERVAL: Duration = Duration::from_millis(100);

/// The state of one HTTP stream of statuses between two lines.
struct Follow {
    service: Arc<Service>,
    /// The client, which decides the fields that the lines show.
    caller: Caller,
    live: Live,
    /// The channel over which the execution's task publishes each status.
    status: watch::Receiver<Published>,
    /// When the last line was sent; `None` before the first.
    sent: Option<Instant>,
    /// Whether the terminal status or an error was sent, after which the stream ends.
    is_finished: bool,
    /// The permit of this stream, which counts against the limit of open streams.
    _place: StreamPermit,
    /// Counts the stream as a view of the execution until the stream is dropped.
    _viewing: Option<Viewing>,
}

/// Returns a response that streams the status of an execution until it ends. For an ended execution
/// it has one line. `viewer` is the client's name from the request header: a scheduled cancel that
/// waits until nobody views the execution depends on it.
///
/// # Errors
/// 503 `too-many-streams` if no further stream may be open; for an ended execution, 410 `deleted`
/// or 500 `internal` if its status cannot be read.
pub(crate) async fn response(
    service: Arc<Service>,
    caller: &Caller,
    view: FoundExecution,
    viewer: Option<&str>,
) -> Result<Response, Problem> {
    let FoundExecution::Live(live) = &view else {
        let status = service.status(caller, &view).await?;
        return Ok(lines(Body::from(line(&service, &status))));
    };
    let place = service.streams.permit(caller.quota())?;
    // Only now: a refused stream does not count as a view.
    let viewing = service.viewing(&view, viewer).await;
    let follow = Follow {
        status: live.status.clone(),
        service,
        caller: caller.clone(),
        live: live.clone(),
        sent: None,
        is_finished: false,
        _viewing: viewing,
        _place: place,
    };
    let statuses = stream::unfold(follow, |mut follow| async move {
        let item = follow.next().await?;
        Some((item, follow))
    });
    Ok(lines(Body::from_stream(statuses)))
}

/// Returns a response with NDJSON, marked as a stream.
fn lines(body: Body) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    mark_stream(&mut response);
    response
}

impl Follow {
    /// Waits for the next line: immediately for the first, then at a change or a heartbeat. `None`
    /// after the terminal status; an error, which aborts the connection, if the task that runs the
    /// execution died.
    async fn next(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        if self.is_finished {
            return None;
        }
        if let Some(sent) = self.sent {
            let heartbeat = Duration::from_millis(self.service.engine.settings.limits.heartbeat_ms);
            tokio::select! {
                changed = self.status.changed() => {
                    if changed.is_err() && !self.status.borrow().status.state.is_terminal() {
                        self.is_finished = true;
                        return Some(Err(std::io::Error::other("the execution's owner died")));
                    }
                    self.settle(sent).await;
                }
                () = tokio::time::sleep_until(sent + heartbeat) => {}
            }
        }
        let published = self.status.borrow_and_update().clone();
        self.is_finished = published.status.state.is_terminal();
        let service = &self.service;
        let status = service.published_status(&self.caller, &self.live, &published);
        self.sent = Some(Instant::now());
        Some(Ok(line(&self.service, &status)))
    }

    /// Waits until 100 ms have passed since the last line, so quick changes become one line.
    /// Returns early if the execution ends: its terminal status is sent immediately.
    async fn settle(&mut self, sent: Instant) {
        let end = self.status.wait_for(|p| p.status.state.is_terminal());
        let _ = tokio::time::timeout_at(sent + INTERVAL, end).await;
    }
}

/// Returns a status as one line of JSON, with a line feed.
fn line(service: &Service, status: &VisibleStatus) -> Bytes {
    let mut line = status.to_json(service.engine.status_bytes());
    line.push(b'\n');
    line.into()
}
