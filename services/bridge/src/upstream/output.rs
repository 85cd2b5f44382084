//! The output of an execution from an offset. The stream opens on request, and reconnects at the
//! byte it reached whenever it breaks (docs/protocol.md, "Streams").

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use protocol::{ExecutionId, ProblemType};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Upstream;
use super::errors::Failure;
use super::retry::Delays;
use super::stream::Stream;

/// An item of an output stream.
#[derive(Debug)]
pub enum OutputItem {
    /// The next bytes, exactly where the last ones ended.
    Bytes(Bytes),
    /// The stream ended cleanly. Whether the execution ended too is in its status.
    End,
    /// The bytes up to this offset are gone.
    Freed(u64),
    /// claude-api does not answer: the second failure in a row, and each one after it.
    Unreachable,
    /// claude-api does not know this execution any more.
    Gone,
}

type Connecting = Pin<Box<dyn Future<Output = Result<Stream, Failure>> + Send>>;

enum Phase {
    Idle,
    Connecting(Connecting, Instant),
    Open(Box<Stream>),
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
    moved: Instant,
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
            moved: Instant::now(),
        }
    }

    /// Opens the stream at the byte it reached. An open stream is left as it is.
    pub fn open(&mut self) {
        if matches!(self.phase, Phase::Idle) {
            self.connect();
        }
    }

    /// Opens the stream after a delay, as a stream that ended without cause is not retried at once.
    pub fn open_later(&mut self) {
        if matches!(self.phase, Phase::Idle) {
            self.upstream.retries.output.inc();
            self.phase = Phase::Waiting(Instant::now() + self.delays.after(None));
        }
    }

    /// Continues at `offset`.
    pub fn jump(&mut self, offset: u64) {
        self.offset = offset;
        self.phase = Phase::Idle;
    }

    /// Closes the stream; [`Self::open`] opens it again at `offset`.
    pub fn close(&mut self, offset: u64) {
        if !matches!(self.phase, Phase::Idle) {
            self.jump(offset);
        }
    }

    /// Reconnects a stream on which no byte arrived for too long. The caller knows that claude-api
    /// has more bytes.
    pub fn cut_if_stalled(&mut self) {
        let stalled = self.moved.elapsed() > self.upstream.times.stall;
        if stalled && matches!(self.phase, Phase::Open(_)) {
            tracing::info!(execution = %self.id, offset = self.offset, "the output stream stalled");
            self.phase = Phase::Idle;
            self.open_later();
        }
    }

    /// Notes that the view does not read now; this time does not count as a stall.
    pub fn not_read(&mut self) {
        self.moved = Instant::now();
    }

    /// Waits for the next item. Cancel-safe; pending until [`Self::open`].
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
                            self.moved = Instant::now();
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
                        self.moved = Instant::now();
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
            Stream::open(upstream.home(id), &path, viewer).await
        });
        let deadline = Instant::now() + self.upstream.times.head;
        self.phase = Phase::Connecting(connecting, deadline);
    }

    fn failed(&mut self, failure: &Failure) -> Option<OutputItem> {
        tracing::debug!(
            execution = %self.id,
            offset = self.offset,
            error = %failure,
            "the output stream broke"
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
                "claude-api no longer has bytes that it sent"
            );
        }
        self.upstream.retries.output.inc();
        self.phase = Phase::Waiting(Instant::now() + self.delays.after(failure.retry_after()));
        // A single failure is not reported.
        (self.delays.attempts() >= 2).then_some(OutputItem::Unreachable)
    }
}
