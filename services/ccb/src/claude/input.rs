//! Sends the lines of stdin to the execution, in order and one request at a time.
//!
//! ```text
//! read a line -> send it at the offset -> accepted: advance the offset
//!                       ^   |
//!                       |   +- not accepted yet: wait, send it again
//!                       |   +- refused: report it, keep the offset, read the next line
//!                       +---+- the execution accepts no more input: stop
//! ```
//!
//! A request can be repeated without harm: the service cuts bytes at offsets that it has accepted
//! before. A refused request leaves the offset unchanged.

mod outcome;

use std::sync::Arc;
use std::time::Duration;

use client::{Client, Error};
use protocol::ExecutionId;
use protocol::message::InputParams;
use retries::Delays;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::line::{LineKind, refusal};
use super::lines::Lines;
use outcome::{Outcome, outcome};

/// The maximum size of messages that share one request, in bytes.
const REQUEST_BYTES: usize = 256 << 10;
/// The delay before the first retry of input that the service could not accept. The service itself
/// waits 2 s for a CLI that does not read.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The maximum delay between two retries.
const MAX_DELAY: Duration = Duration::from_secs(5);

/// An event of the input for the task that owns stdout.
#[derive(Debug, PartialEq)]
pub(super) enum InputEvent {
    /// A line for stdout, which answers a refused control request.
    Answer(String),
    /// A sentence for stderr. The input continues.
    Warning(String),
    /// The input cannot continue, for this reason. The execution must be cancelled.
    Failed(String),
}

/// The lines of a stream on their way to the stdin of an execution's CLI.
pub(super) struct Input<R> {
    client: Arc<Client>,
    id: ExecutionId,
    lines: Lines<R>,
    /// The number of bytes that the service has accepted.
    offset: u64,
    events: mpsc::Sender<InputEvent>,
}

/// The answer to a request.
enum Sent {
    Accepted,
    /// The service refused the lines, for this reason.
    Refused(String),
    /// The execution accepts no more input.
    Closed,
    /// No further input can be sent, for this reason.
    Failed(String),
}

/// Returns why the service refused a line, for people: without the number of the line, which means
/// nothing to a program that sends single lines.
fn reason(error: &Error) -> String {
    let text = error.to_string();
    let of_line = text
        .strip_prefix("line ")
        .and_then(|text| text.split_once(": "))
        .and_then(|(_, text)| text.strip_suffix("; nothing of the request was accepted"));
    of_line.map_or_else(|| text.clone(), |text| format!("the request {text}"))
}

impl<R: AsyncRead + Unpin> Input<R> {
    pub(super) fn new(
        client: Arc<Client>,
        id: ExecutionId,
        lines: Lines<R>,
        events: mpsc::Sender<InputEvent>,
    ) -> Self {
        Self {
            client,
            id,
            lines,
            offset: 0,
            events,
        }
    }

    /// Sends all lines and then the end of the input. Returns when the execution accepts no more
    /// input, or after a failure, which is the last event. The events must be received.
    pub(super) async fn run(mut self) {
        if let Err(reason) = self.send_all().await {
            let _ = self.events.send(InputEvent::Failed(reason)).await;
        }
    }

    async fn send_all(&mut self) -> Result<(), String> {
        // A line that was read already, but starts the next request.
        let mut next = None;
        loop {
            let line = match next.take() {
                Some(line) => Some(line),
                None => self.lines.next().await.map_err(|e| e.to_string())?,
            };
            let Some(mut data) = line else {
                return match self.send(String::new(), true).await {
                    Sent::Accepted | Sent::Closed => Ok(()),
                    Sent::Refused(reason) | Sent::Failed(reason) => {
                        Err(format!("could not end the input: {reason}"))
                    }
                };
            };
            let kind = LineKind::of(&data);
            if kind == LineKind::Message {
                next = self.join_messages(&mut data)?;
            }
            match self.send(data, false).await {
                Sent::Accepted => {}
                Sent::Closed => return Ok(()),
                Sent::Failed(reason) => return Err(reason),
                Sent::Refused(reason) => {
                    if let LineKind::ControlResponse(id) = &kind {
                        // Its refusal would repeat itself, so it is not looked at.
                        let _ = self.send(refusal(id, &reason), false).await;
                    }
                    self.refused(kind, &reason).await?;
                }
            }
        }
    }

    /// Appends further messages that were read already. Returns the first line that must start the
    /// next request.
    fn join_messages(&mut self, data: &mut String) -> Result<Option<String>, String> {
        while let Some(line) = self.lines.buffered().map_err(|e| e.to_string())? {
            let fits = data.len() + line.len() <= REQUEST_BYTES;
            if !fits || LineKind::of(&line) != LineKind::Message {
                return Ok(Some(line));
            }
            data.push_str(&line);
        }
        Ok(None)
    }

    async fn refused(&self, kind: LineKind, reason: &str) -> Result<(), String> {
        let event = match kind {
            LineKind::ControlRequest(id) => InputEvent::Answer(refusal(&id, reason)),
            LineKind::ControlResponse(_) | LineKind::Unanswered => {
                InputEvent::Warning(format!("the service refused a control line: {reason}"))
            }
            LineKind::Message => {
                return Err(format!("the service refused a message: {reason}"));
            }
        };
        // Without a receiver, the relay has ended.
        let _ = self.events.send(event).await;
        Ok(())
    }

    /// Sends lines, or the end of the input, until the service accepts or refuses them.
    async fn send(&mut self, data: String, eof: bool) -> Sent {
        let params = InputParams {
            execution_id: Some(self.id),
            offset: self.offset,
            data,
            eof,
        };
        let mut delays = Delays::new(FIRST_DELAY, MAX_DELAY);
        loop {
            let error = match self.client.request(params.clone()).await {
                Ok(accepted) => {
                    self.offset = accepted.accepted;
                    return Sent::Accepted;
                }
                Err(error) => error,
            };
            match outcome(&error) {
                Outcome::Retry => {
                    let pause = match &error {
                        Error::Rpc(e) => e.data["retryAfterSeconds"].as_u64(),
                        _ => None,
                    };
                    sleep(delays.next_delay(pause.map(Duration::from_secs))).await;
                }
                Outcome::Closed => return Sent::Closed,
                Outcome::Refused => return Sent::Refused(reason(&error)),
                Outcome::Failed => return Sent::Failed(error.to_string()),
            }
        }
    }
}
