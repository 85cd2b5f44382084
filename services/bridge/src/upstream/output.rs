//! The stream of an execution's output from an offset. It opens on request. When it breaks, it
//! reconnects at the byte that it has reached, so no byte is lost or repeated (docs/protocol.md,
//! "Streams").

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use protocol::{ExecutionId, ProblemType};
use retries::Delays;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Upstream;
use super::dedicated_stream::DedicatedStream;
use super::errors::Failure;
use super::retry::delays;

/// An item of the stream of an execution's output: bytes, or the reason why none arrive.
#[derive(Debug)]
pub enum OutputItem {
    /// The next bytes of the output. They follow the bytes of the last item without a gap.
    Bytes(Bytes),
    /// claude-api ended the stream without an error. That does not mean that the output is
    /// complete: only the status of the execution shows whether more bytes will follow.
    End,
    /// claude-api has deleted all bytes before this offset, and the stream is closed. The client
    /// will miss the bytes that were not read yet.
    Freed(u64),
    /// claude-api cannot be reached: at least two attempts failed in a row. The stream keeps
    /// trying.
    Unreachable,
    /// claude-api no longer has this execution. The stream is closed.
    Gone,
}

/// A GET request whose answer has not arrived yet.
type Connecting = Pin<Box<dyn Future<Output = Result<DedicatedStream, Failure>> + Send>>;

/// The state of the connection: closed, connecting until a deadline, open, or waiting for the next
/// attempt.
enum StreamState {
    Idle,
    Connecting(Connecting, Instant),
    Open(Box<DedicatedStream>),
    Waiting(Instant),
}

/// The stream of one execution's output. The view opens and closes it as it has memory. While it is
/// open, it reconnects by itself.
pub struct OutputStream {
    upstream: Upstream,
    id: ExecutionId,
    /// The offset of the next byte that the stream returns, in bytes of output.
    offset: u64,
    phase: StreamState,
    delays: Delays,
    /// When the last byte arrived, or the stream was opened. A stream without a byte for too long
    /// is cut.
    progressed_at: Instant,
}

impl OutputStream {
    /// Creates a closed stream that begins at `offset`. Sends nothing before [`Self::open`].
    #[must_use]
    pub fn new(upstream: Upstream, id: ExecutionId, offset: u64) -> Self {
        Self {
            upstream,
            id,
            offset,
            phase: StreamState::Idle,
            delays: delays(),
            progressed_at: Instant::now(),
        }
    }

    /// Opens the stream at the byte that it has reached. Does nothing if it is open, connecting or
    /// waiting for its next attempt.
    pub fn open(&mut self) {
        if matches!(self.phase, StreamState::Idle) {
            self.connect();
        }
    }

    /// Opens the stream after a delay that grows with each failure. Used for a stream that ended
    /// without a reason, because an immediate retry could become a busy loop.
    pub fn open_later(&mut self) {
        if matches!(self.phase, StreamState::Idle) {
            self.upstream.retries.output.inc();
            self.phase = StreamState::Waiting(Instant::now() + self.delays.next_delay(None));
        }
    }

    /// Closes the stream and sets the offset at which it will continue, because claude-api no
    /// longer has the bytes before it.
    pub fn jump(&mut self, offset: u64) {
        self.offset = offset;
        self.phase = StreamState::Idle;
    }

    /// Closes the stream, so that it needs no memory. [`Self::open`] continues at `offset`. Does
    /// nothing if the stream is closed already.
    pub fn close(&mut self, offset: u64) {
        if !matches!(self.phase, StreamState::Idle) {
            self.jump(offset);
        }
    }

    /// Reconnects if the stream is open but no byte has arrived for the time `Times::stall`. Only
    /// for a caller that knows that claude-api has more bytes, because an execution may be quiet
    /// for long.
    pub fn cut_if_stalled(&mut self) {
        let stalled = self.progressed_at.elapsed() > self.upstream.times.stall;
        if stalled && matches!(self.phase, StreamState::Open(_)) {
            tracing::info!(
                execution = %self.id,
                offset = self.offset,
                "no byte arrived for too long although claude-api has more output; reconnecting"
            );
            self.phase = StreamState::Idle;
            self.open_later();
        }
    }

    /// Records that the view does not read at the moment. This time then does not count as a stall.
    pub fn note_skipped_read(&mut self) {
        self.progressed_at = Instant::now();
    }

    /// Waits for the next item, and reconnects as needed. While the stream is closed it waits
    /// forever. Cancel-safe.
    pub async fn next(&mut self) -> OutputItem {
        loop {
            match &mut self.phase {
                StreamState::Idle => std::future::pending().await,
                StreamState::Waiting(until) => {
                    sleep_until(*until).await;
                    self.connect();
                }
                StreamState::Connecting(connecting, deadline) => {
                    let result = match timeout_at(*deadline, connecting).await {
                        Ok(result) => result,
                        Err(_) => Err(Failure::Broken("no answer in time".to_owned())),
                    };
                    match result {
                        Ok(stream) => {
                            self.progressed_at = Instant::now();
                            self.phase = StreamState::Open(Box::new(stream));
                        }
                        Err(failure) => {
                            if let Some(read) = self.failed(&failure) {
                                return read;
                            }
                        }
                    }
                }
                StreamState::Open(stream) => match stream.chunk().await {
                    Ok(Some(chunk)) if chunk.is_empty() => {}
                    Ok(Some(chunk)) => {
                        self.offset += chunk.len() as u64;
                        self.progressed_at = Instant::now();
                        self.delays.reset();
                        return OutputItem::Bytes(chunk);
                    }
                    Ok(None) => {
                        self.phase = StreamState::Idle;
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

    /// Sends the GET request for the output from the byte that the stream has reached.
    fn connect(&mut self) {
        let upstream = self.upstream.clone();
        let path = super::path(self.id, &format!("/output?offset={}", self.offset));
        let id = self.id;
        let connecting = Box::pin(async move {
            let viewer = upstream.viewer.as_deref();
            let authorization = upstream.authorization.clone();
            let (base, span) = (upstream.service_url(id), upstream.request_span("GET"));
            DedicatedStream::open(base, &path, viewer, authorization, span).await
        });
        let deadline = Instant::now() + self.upstream.times.head;
        self.phase = StreamState::Connecting(connecting, deadline);
    }

    /// Handles a failed attempt or a broken stream. Returns an item if the view must know: the
    /// execution is gone, bytes were deleted, or it is the second failure in a row. A single
    /// failure is only retried, and returns `None`.
    fn failed(&mut self, failure: &Failure) -> Option<OutputItem> {
        tracing::debug!(
            execution = %self.id,
            offset = self.offset,
            error = failure.logged(),
            "the stream of an execution's output broke or was refused"
        );
        if failure.is_gone() {
            self.phase = StreamState::Idle;
            return Some(OutputItem::Gone);
        }
        let kept = failure
            .problem(ProblemType::OffsetNotKept)
            .and_then(|p| p.extra.get("keptFrom"))
            .and_then(serde_json::Value::as_u64);
        if let Some(kept) = kept.filter(|kept| *kept > self.offset) {
            self.phase = StreamState::Idle;
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
        self.phase =
            StreamState::Waiting(Instant::now() + self.delays.next_delay(failure.retry_after()));
        // A single failure is not reported.
        (self.delays.attempts() >= 2).then_some(OutputItem::Unreachable)
    }
}
