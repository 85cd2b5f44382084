//! `?follow=true`: the stream of the status as NDJSON. A line is sent at the start, at each change
//! and at each heartbeat. The terminal status is the last line.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use protocol::{Problem, Status};
use tokio::sync::watch;
use tokio::time::Instant;

use super::output::mark_stream;
use crate::execution::Live;
use crate::execution::live::Published;
use crate::execution::views::Viewing;
use crate::service::{Service, View};
use crate::streams::StreamPermit;

/// The shortest time between two statuses of a stream: at most 10 a second (docs/protocol.md,
/// "Calls").
const INTERVAL: Duration = Duration::from_millis(100);

/// The state of one stream of statuses between two lines.
struct Follow {
    service: Arc<Service>,
    live: Live,
    status: watch::Receiver<Published>,
    /// The time of the last line; `None` before the first.
    sent: Option<Instant>,
    is_finished: bool,
    _place: StreamPermit,
    /// Counts the stream as a view until it is dropped.
    _viewing: Option<Viewing>,
}

/// Returns a response that streams the status of an execution until its end; of an ended one it has
/// one line. `viewer` is the name that the client gave, for cancels that wait until nobody views
/// the execution.
pub(crate) async fn response(
    service: Arc<Service>,
    view: View,
    viewer: Option<&str>,
) -> Result<Response, Problem> {
    let View::Live(live) = &view else {
        let status = service.status(&view).await?;
        return Ok(lines(Body::from(line(&service, &status))));
    };
    let place = service.streams.permit()?;
    // Only now: a refused stream does not count as a view.
    let viewing = service.viewing(&view, viewer).await;
    let follow = Follow {
        status: live.status.clone(),
        service,
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
        let status = self.service.fill(&self.live, &published);
        self.is_finished = status.state.is_terminal();
        self.sent = Some(Instant::now());
        Some(Ok(line(&self.service, &status)))
    }

    /// Waits until the next line may be sent: quick changes become one line. The end is sent
    /// immediately.
    async fn settle(&mut self, sent: Instant) {
        let end = self.status.wait_for(|p| p.status.state.is_terminal());
        let _ = tokio::time::timeout_at(sent + INTERVAL, end).await;
    }
}

fn line(service: &Service, status: &Status) -> Bytes {
    let mut line = status.to_json(service.engine.status_bytes());
    line.push(b'\n');
    line.into()
}
