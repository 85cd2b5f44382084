//! The stream of an execution's statuses (`GET ?follow=true`). claude-api sends one JSON line for
//! each change and at each heartbeat. The stream reconnects when it breaks or is silent for too
//! long (docs/protocol.md, "Streams").
//!
//! ```text
//! idle -> connecting -> open -> (cut, silent) -> waiting -> connecting ...
//!                        |
//!                        +-> terminal status, or execution unknown -> over
//! ```

use std::future::Future;
use std::pin::Pin;

use bytes::BytesMut;
use protocol::trailers::VIEWER;
use protocol::{ExecutionId, Status};
use retries::Delays;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Upstream;
use super::errors::Failure;
use super::response::failure;
use super::retry::delays;

/// The longest line that is read, in bytes (1 MiB). Each line is a status of at most 64 KiB, so a
/// longer one does not come from claude-api. The limit bounds the memory.
const LINE_BYTES: usize = 1024 * 1024;

/// An item of the stream of an execution's statuses: a status, or that claude-api cannot be reached
/// or no longer has the execution.
#[derive(Debug)]
pub enum FollowItem {
    /// A status of the execution. One arrives at the start, then one for each change and each
    /// heartbeat. True marks the first status after a (re)connect, which may repeat a known state.
    Status(Box<Status>, bool),
    /// claude-api cannot be reached: the stream was silent for too long, or at least two attempts
    /// failed in a row. The text is the cause, for the log. The stream keeps trying.
    Unreachable(String),
    /// claude-api no longer has this execution. No further item follows.
    Gone,
}

/// A GET request whose answer has not arrived yet.
type Connecting = Pin<Box<dyn Future<Output = Result<reqwest::Response, Failure>> + Send>>;

/// The state of the connection, as in the module's diagram.
enum StreamState {
    Idle,
    Connecting(Connecting),
    Open(Box<reqwest::Response>),
    Waiting(Instant),
    Over,
}

/// Returns the instant `wait` from now. A wait of more than a year is shortened to a year, so that
/// the addition cannot overflow.
fn deadline_after(wait: std::time::Duration) -> Instant {
    const YEAR: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);
    Instant::now() + wait.min(YEAR)
}

/// The stream of one execution's statuses, which reconnects by itself.
pub struct FollowStream {
    upstream: Upstream,
    id: ExecutionId,
    phase: StreamState,
    /// The bytes received since the last complete line.
    line: BytesMut,
    /// Whether no status has arrived since the last connect.
    first: bool,
    delays: Delays,
    /// The time at which the connection counts as dead if no status arrives until then.
    deadline: Instant,
}

impl FollowStream {
    /// Creates the stream. Sends nothing: the first call of [`Self::next`] connects.
    #[must_use]
    pub fn new(upstream: Upstream, id: ExecutionId) -> Self {
        Self {
            upstream,
            id,
            phase: StreamState::Idle,
            line: BytesMut::new(),
            first: true,
            delays: delays(),
            deadline: Instant::now(),
        }
    }

    /// Waits for the next item, and reconnects as needed. After the terminal status or
    /// [`FollowItem::Gone`] it waits forever. Cancel-safe.
    pub async fn next(&mut self) -> FollowItem {
        loop {
            match &mut self.phase {
                StreamState::Over => std::future::pending().await,
                StreamState::Idle => self.connect(),
                StreamState::Waiting(until) => {
                    sleep_until(*until).await;
                    self.connect();
                }
                StreamState::Connecting(connecting) => {
                    let result = match timeout_at(self.deadline, connecting).await {
                        Ok(result) => result,
                        Err(_) => Err(Failure::Broken("no answer in time".to_owned())),
                    };
                    match result {
                        Ok(response) => {
                            self.line.clear();
                            self.first = true;
                            // The first line arrives with the head.
                            self.deadline = Instant::now() + self.upstream.times.head;
                            self.phase = StreamState::Open(Box::new(response));
                        }
                        Err(failure) if failure.is_gone() => {
                            self.phase = StreamState::Over;
                            return FollowItem::Gone;
                        }
                        Err(failure) => {
                            if let Some(update) = self.wait(&failure) {
                                return update;
                            }
                        }
                    }
                }
                StreamState::Open(response) => {
                    // One chunk may hold several lines.
                    if let Some(end) = self.line.iter().position(|b| *b == b'\n') {
                        let line = self.line.split_to(end + 1);
                        match serde_json::from_slice(&line) {
                            Ok(status) => return self.received(status),
                            Err(error) => {
                                let failure =
                                    Failure::Broken(format!("a line is not a status: {error}"));
                                if let Some(update) = self.wait(&failure) {
                                    return update;
                                }
                                continue;
                            }
                        }
                    }
                    let chunk = match timeout_at(self.deadline, response.chunk()).await {
                        Ok(Ok(Some(chunk))) => Ok(chunk),
                        Ok(Ok(None)) => Err(Failure::Broken("the stream ended early".to_owned())),
                        Ok(Err(error)) => Err(error.into()),
                        Err(_) => {
                            let failure =
                                Failure::Broken("the stream was silent for too long".to_owned());
                            self.wait(&failure);
                            // Missed heartbeats are reported immediately.
                            return FollowItem::Unreachable(failure.to_string());
                        }
                    };
                    let failure = match chunk {
                        Ok(chunk) if self.line.len() + chunk.len() <= LINE_BYTES => {
                            self.line.extend_from_slice(&chunk);
                            continue;
                        }
                        Ok(_) => Failure::Broken("a status line is too long".to_owned()),
                        Err(failure) => failure,
                    };
                    if let Some(update) = self.wait(&failure) {
                        return update;
                    }
                }
            }
        }
    }

    /// Handles a status: resets the delays and the deadline, and ends the stream if it is terminal.
    fn received(&mut self, status: Status) -> FollowItem {
        self.delays.reset();
        self.deadline = deadline_after(self.upstream.silence());
        if status.state.is_terminal() {
            self.phase = StreamState::Over;
        }
        FollowItem::Status(Box::new(status), std::mem::take(&mut self.first))
    }

    /// Sends the GET request for the statuses.
    fn connect(&mut self) {
        let url = self.upstream.execution_url(self.id, "?follow=true");
        let mut request = self.upstream.get(&url);
        if let Some(viewer) = &self.upstream.viewer {
            request = request.header(VIEWER, &**viewer);
        }
        let request = request.send();
        self.deadline = Instant::now() + self.upstream.times.head;
        self.phase = StreamState::Connecting(Box::pin(async move {
            let response = request.await?;
            if response.status().is_success() {
                Ok(response)
            } else {
                Err(failure(response).await)
            }
        }));
    }

    /// Schedules the next attempt after a failure. Returns an item for the view from the second
    /// failure in a row on. A single failure returns `None`, because a reconnect usually repairs
    /// it.
    fn wait(&mut self, failure: &Failure) -> Option<FollowItem> {
        tracing::debug!(
            execution = %self.id,
            error = failure.logged(),
            "the stream of an execution's statuses broke; reconnecting after a delay"
        );
        self.upstream.retries.follow.inc();
        let delay = self.delays.next_delay(failure.retry_after());
        self.phase = StreamState::Waiting(Instant::now() + delay);
        // Only the second failure without a status in between is reported.
        (self.delays.attempts() >= 2).then(|| FollowItem::Unreachable(failure.to_string()))
    }
}
