//! The output of an execution from an offset. The stream opens on request. When it breaks, it
//! reconnects at the byte that it reached (docs/protocol.md, "Streams").

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use protocol::{ExecutionId, ProblemType};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Upstream;
use super::dedicated_stream::DedicatedStream;
use super::errors::Failure;
use super::retry::Delays;

/// An item of an output stream.
#[derive(Debug)]
pub enum OutputItem {
    /// The next bytes, exactly after the previous ones.
    Bytes(Bytes),
    /// The stream ended cleanly. Whether the execution ended too is in its status.
    End,
    /// claude-api has freed the bytes before this offset.
    Freed(u64),
    /// claude-api does not answer: at least two attempts failed in a row.
    Unreachable,
    /// claude-api no longer knows this execution.
    Gone,
}

type Connecting = Pin<Box<dyn Future<Output = Result<DedicatedStream, Failure>> + Send>>;

enum Phase {
    Idle,
    Connecting(Connecting, Instant),
    Open(Box<DedicatedStream>),
    Waiting(Instant),
}

/// The stream of one execution's output.
pub struct OutputStream {
    upstream: Upstream,
    id: ExecutionId,
    /// The offset of the next byte.
    offset: u64,
    phase: Phase,
    delays: Delays,
    /// The time at which the last byte arrived, or the stream opened.
    progressed_at: Instant,
}

impl OutputStream {
    /// Creates a stream that sends nothing before [`Self::open`].
    #[must_use]
    pub fn new(upstream: Upstream, id: ExecutionId, offset: u64) -> Self {
        Self {
            upstream,
            id,
            offset,
            phase: Phase::Idle,
            delays: Delays::default(),
            progressed_at: Instant::now(),
        }
    }

    /// Opens the stream at the byte that it reached. Does nothing if the stream is open.
    pub fn open(&mut self) {
        if matches!(self.phase, Phase::Idle) {
            self.connect();
        }
    }

    /// Opens the stream after a delay, because a stream that ended without a reason must not be
    /// retried immediately.
    pub fn open_later(&mut self) {
        if matches!(self.phase, Phase::Idle) {
            self.upstream.retries.output.inc();
            self.phase = Phase::Waiting(Instant::now() + self.delays.next_delay(None));
        }
    }

    /// Continues at `offset`.
    pub fn jump(&mut self, offset: u64) {
        self.offset = offset;
        self.phase = Phase::Idle;
    }

    /// Closes the stream. [`Self::open`] opens it again at `offset`.
    pub fn close(&mut self, offset: u64) {
        if !matches!(self.phase, Phase::Idle) {
            self.jump(offset);
        }
    }

    /// Reconnects a stream on which no byte arrived for too long. The caller knows that claude-api
    /// has more bytes.
    pub fn cut_if_stalled(&mut self) {
        let stalled = self.progressed_at.elapsed() > self.upstream.times.stall;
        if stalled && matches!(self.phase, Phase::Open(_)) {
            tracing::info!(
                execution = %self.id,
                offset = self.offset,
                "no byte arrived for too long although claude-api has more output; reconnecting"
            );
            self.phase = Phase::Idle;
            self.open_later();
        }
    }

    /// Notes that the view does not read now. This time does not count as a stall.
    pub fn note_skipped_read(&mut self) {
        self.progressed_at = Instant::now();
    }

    /// Waits for the next item. Cancel-safe. Pending until [`Self::open`].
    pub async fn next(&mut self) -> OutputItem {
        loop {
            match &mut self.phase {
                Phase::Idle => std::future::pending().await,
                Phase::Waiting(until) => {
                    sleep_until(*until).await;
                    self.connect();
                }
                Phase::Connecting(connecting, deadline) => {
                    let result = match timeout_at(*deadline, connecting).await {
                        Ok(result) => result,
                        Err(_) => Err(Failure::Broken("no answer in time".to_owned())),
                    };
                    match result {
                        Ok(stream) => {
                            self.progressed_at = Instant::now();
                            self.phase = Phase::Open(Box::new(stream));
                        }
                        Err(failure) => {
                            if let Some(read) = self.failed(&failure) {
                                return read;
                            }
                        }
                    }
                }
                Phase::Open(stream) => match stream.chunk().await {
                    Ok(Some(chunk)) if chunk.is_empty() => {}
                    Ok(Some(chunk)) => {
                        self.offset += chunk.len() as u64;
                        self.progressed_at = Instant::now();
                        self.delays.reset();
                        return OutputItem::Bytes(chunk);
                    }
                    Ok(None) => {
                        self.phase = Phase::Idle;
                        return OutputItem::End;
                    }
                    Err(error) => {
                        if let Some(read) = self.failed(&error) {
                            return read;
                        }
                    }
                },
            }
        }
    }

    fn connect(&mut self) {
        let upstream = self.upstream.clone();
        let path = super::path(self.id, &format!("/output?offset={}", self.offset));
        let id = self.id;
        let connecting = Box::pin(async move {
            let viewer = upstream.viewer.as_deref();
            DedicatedStream::open(upstream.service_url(id), &path, viewer).await
        });
        let deadline = Instant::now() + self.upstream.times.head;
        self.phase = Phase::Connecting(connecting, deadline);
    }

    /// Handles a failure, and returns an item if the failure must be reported.
    fn failed(&mut self, failure: &Failure) -> Option<OutputItem> {
        tracing::debug!(
            execution = %self.id,
            offset = self.offset,
            error = %failure,
            "the stream of an execution's output broke or was refused"
        );
        if failure.is_gone() {
            self.phase = Phase::Idle;
            return Some(OutputItem::Gone);
        }
        let kept = failure
            .problem(ProblemType::OffsetNotKept)
            .and_then(|p| p.extra.get("keptFrom"))
            .and_then(serde_json::Value::as_u64);
        if let Some(kept) = kept.filter(|kept| *kept > self.offset) {
            self.phase = Phase::Idle;
            return Some(OutputItem::Freed(kept));
        }
        if failure.problem(ProblemType::OffsetBeyondEnd).is_some() {
            tracing::error!(
                execution = %self.id,
                offset = self.offset,
                "claude-api has fewer bytes of output than it already sent; retrying"
            );
        }
        self.upstream.retries.output.inc();
        self.phase = Phase::Waiting(Instant::now() + self.delays.next_delay(failure.retry_after()));
        // A single failure is not reported.
        (self.delays.attempts() >= 2).then_some(OutputItem::Unreachable)
    }
}
