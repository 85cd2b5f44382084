//! The input of a running CLI: lines of JSON that clients append by `POST .../input`, and answers
//! to questions. A client names the offset of its first byte, so a repeated request appends nothing
//! twice. Each line is checked, and buffered until the CLI reads it.
//!
//! ```text
//! POST .../input ───────▶ Gate::offer ──┐
//!                                       ├──▶ Buffer (whole lines) ──▶ feed ──▶ the CLI's stdin
//! answers to questions ─▶ Gate::push ───┘
//! ```
//!
//! The lines of clients are bounded. A line of claude-api itself always has room, because the CLI
//! waits for it. At most 96 MiB may be unread: see `Gate::push`.
//!
//! No input is accepted before the execution runs, because accepted bytes are only in memory while
//! a queued execution survives a restart of this process. A paused execution accepts as much as its
//! buffer holds. A request waits briefly for the start, or for room in the buffer, and is then
//! refused.

mod buffer;
mod rules;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::client_control::ClientControl;
use buffer::{Buffer, Next};
pub use buffer::{Offer, Refusal};
pub use rules::{Fault, Rules, line_bytes};

/// The reason why a client's input was refused. No byte of the request was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The execution is queued, and did not start while the request waited.
    NotRunning,
    /// The CLI reads no more input, because it has ended or has closed its stdin.
    Closed,
    /// The buffer of input refused it: a wrong offset, a bad line, or no room while the request
    /// waited.
    Buffer(Refusal),
}

/// Whether the stdin of an execution accepts input from clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GateState {
    /// The execution has not started yet. Offers wait for the start.
    Waiting,
    /// The CLI runs and reads its stdin.
    Open,
    /// The CLI reads no more. The state never changes again.
    Closed,
}

/// The input queue of one execution, between the requests of clients and the task that writes to
/// the CLI's stdin. It accepts input only while the CLI reads, and buffers a limited number of
/// bytes.
#[derive(Debug)]
pub struct Gate {
    // Held briefly; the longest work inside is the parsing of one request's lines. No await happens
    // inside.
    inner: Mutex<(GateState, Buffer)>,
    changed: watch::Sender<()>,
    /// Whether the task that writes stdin has ended, so that no message reaches the CLI any more.
    is_stdin_closed: AtomicBool,
    /// The rules that each line must obey, such as the allowed control requests.
    rules: Rules,
    /// The longest time that an offer waits for the start of the execution, or for room in the
    /// buffer.
    patience: Duration,
}

impl Gate {
    /// Creates the input queue of an execution that has not started; [`Gate::open`] opens it.
    /// `limit` is the maximum number of buffered bytes, and also the maximum length of one line. An
    /// offer waits at most `patience` for the start or for room.
    #[must_use]
    pub fn new(limit: usize, rules: Rules, patience: Duration) -> Self {
        Self {
            inner: Mutex::new((GateState::Waiting, Buffer::new(limit))),
            changed: watch::Sender::new(()),
            is_stdin_closed: AtomicBool::new(false),
            rules,
            patience,
        }
    }

    /// Creates the input queue of an execution that takes no input of clients but may ask
    /// questions. Only claude-api writes to it (`Gate::push`).
    #[must_use]
    pub fn for_answers(rules: Rules) -> Self {
        let gate = Self::new(0, rules, Duration::ZERO);
        gate.change(|_, buffer| buffer.end());
        gate
    }

    /// Queues a message of claude-api itself for the CLI, such as the answer to a question, behind
    /// the lines that are queued already. Has no effect after [`Gate::close`], and when the CLI's
    /// stdin is closed.
    ///
    /// The client's limit of the buffer does not apply. Each message replies to one control request
    /// of the CLI. A message to a CLI that has left 96 MiB unread is dropped; the first one is
    /// logged.
    pub(crate) fn push(&self, message: &serde_json::Value) {
        let mut line = protocol::json::to_vec(message).unwrap_or_default();
        line.push(b'\n');
        self.change(|state, buffer| {
            let is_open = *state != GateState::Closed && !self.has_ended();
            if is_open && buffer.push(&line) {
                tracing::warn!("a CLI asks without reading its stdin; replies to it are dropped");
            }
        });
    }

    /// Returns whether the CLI's stdin is closed, so that no message reaches the CLI any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.is_stdin_closed.load(Ordering::SeqCst)
    }

    /// Ends the input of clients. The CLI's stdin is closed after the lines that are buffered. The
    /// beginning of an incomplete line is discarded.
    pub(crate) fn end_input(&self) {
        self.change(|_, buffer| buffer.discard_and_end());
    }

    /// Returns the control protocol with the client, if the execution has one.
    pub(crate) fn client(&self) -> Option<Arc<ClientControl>> {
        self.rules.client.clone()
    }

    /// Returns whether a message of a client is buffered, so that the CLI begins a turn.
    pub(crate) fn has_message(&self) -> bool {
        let guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        guard.1.has_message()
    }

    /// Sets whether stdin stays open after the last line of clients, because the CLI may still ask
    /// questions in its present turn.
    pub(crate) fn hold_open(&self, held_open: bool) {
        self.change(|_, buffer| buffer.hold_open(held_open));
    }

    /// Sets whether a question is open, so that stdin stays open for its answer, also between
    /// turns. Wakes the writer only if that changes, because every step of an execution calls this.
    pub(crate) fn set_asking(&self, is_asking: bool) {
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let has_changed = guard.1.set_asking(is_asking);
        drop(guard);
        if has_changed {
            self.changed.send_replace(());
        }
    }

    /// Changes the state and the buffer under the lock, then wakes all waiting offers and the
    /// writer.
    fn change<T>(&self, change: impl FnOnce(&mut GateState, &mut Buffer) -> T) -> T {
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, buffer) = &mut *guard;
        let result = change(state, buffer);
        drop(guard);
        self.changed.send_replace(());
        result
    }

    /// Returns the number of bytes accepted so far, which is the offset at which the next offer
    /// must begin.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        let guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        guard.1.accepted()
    }

    /// Accepts input from now on, because the CLI runs. Has no effect after [`Gate::close`].
    pub fn open(&self) {
        self.change(|state, _| {
            if *state == GateState::Waiting {
                *state = GateState::Open;
            }
        });
    }

    /// Refuses all further input, because the CLI has ended or has closed its stdin. Discards
    /// accepted lines that are not written yet. The queue cannot be opened again.
    pub fn close(&self) {
        self.change(|state, buffer| {
            *state = GateState::Closed;
            buffer.clear();
        });
    }

    /// Accepts the input of one request, all of it or none, and returns the total number of
    /// accepted bytes. Waits up to the gate's patience while the execution does not run yet or the
    /// buffer is full. Bytes that were accepted before are skipped, so a client may repeat a
    /// request. Cancel safe: an offer whose future is dropped was not accepted.
    ///
    /// # Errors
    /// The reason for the refusal. No byte of the offer was accepted.
    pub async fn offer(&self, offer: Offer<'_>) -> Result<u64, Refused> {
        let mut changed = self.changed.subscribe();
        let until = tokio::time::Instant::now() + self.patience;
        loop {
            // Marked before the attempt, so that a change during the attempt is not missed.
            changed.mark_unchanged();
            let refused = match self.offer_now(offer) {
                Err(refused @ (Refused::NotRunning | Refused::Buffer(Refusal::Full { .. }))) => {
                    refused
                }
                result => return result,
            };
            match tokio::time::timeout_at(until, changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(refused),
            }
        }
    }

    /// Accepts or refuses an offer immediately, without waiting.
    fn offer_now(&self, offer: Offer<'_>) -> Result<u64, Refused> {
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, buffer) = &mut *guard;
        let result = match state {
            GateState::Waiting => return Err(Refused::NotRunning),
            // A repeated request gets the same answer again.
            GateState::Closed if !buffer.contains(&offer) => return Err(Refused::Closed),
            GateState::Open | GateState::Closed => buffer.offer(offer, &self.rules),
        };
        drop(guard);
        let accepted = result.map_err(Refused::Buffer)?;
        self.changed.send_replace(());
        Ok(accepted)
    }

    /// Writes accepted lines to the CLI's stdin as they arrive. Returns after the last line of the
    /// input (`eof`), when the gate is closed, or when a write fails because the CLI closed its
    /// stdin. The caller closes `stdin` by dropping it.
    pub async fn feed(&self, stdin: &mut (impl AsyncWrite + Unpin)) {
        self.feed_lines(stdin).await;
        self.is_stdin_closed.store(true, Ordering::SeqCst);
    }

    async fn feed_lines(&self, stdin: &mut (impl AsyncWrite + Unpin)) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let next = {
                let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                match guard.0 {
                    GateState::Closed => Next::End,
                    GateState::Waiting | GateState::Open => guard.1.next(),
                }
            };
            match next {
                Next::Lines(lines) => {
                    if stdin.write_all(&lines).await.is_err() {
                        return self.close();
                    }
                    self.change(|_, buffer| buffer.note_written());
                }
                Next::Wait => {
                    if changed.changed().await.is_err() {
                        return;
                    }
                }
                Next::End => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    fn gate(limit: usize) -> Arc<Gate> {
        let patience = Duration::from_millis(100);
        Arc::new(Gate::new(limit, Rules::for_tests(), patience))
    }

    fn at(offset: u64, data: &[u8]) -> Offer<'_> {
        Offer {
            offset,
            data,
            eof: false,
        }
    }

    const LINE: &[u8] = b"{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":\"a\"}}\n";

    #[tokio::test]
    async fn an_offer_waits_for_the_start_and_is_then_refused() {
        let gate = gate(1000);
        assert_eq!(gate.offer(at(0, LINE)).await, Err(Refused::NotRunning));
        let offering = Arc::clone(&gate);
        let offered = tokio::spawn(async move { offering.offer(at(0, LINE)).await });
        tokio::task::yield_now().await;
        gate.open();
        assert_eq!(offered.await.unwrap(), Ok(LINE.len() as u64));
    }

    #[tokio::test]
    async fn input_for_a_cli_that_does_not_read_is_bounded() {
        let gate = gate(300);
        gate.open();
        let (mut stdin, mut cli) = tokio::io::duplex(16);
        let feeder = Arc::clone(&gate);
        let feeding = tokio::spawn(async move { feeder.feed(&mut stdin).await });
        let mut offset = 0;
        let refused = loop {
            match gate.offer(at(offset, LINE)).await {
                Ok(total) => offset = total,
                Err(refused) => break refused,
            }
            assert!(offset < 10_000, "the buffer has no bound");
        };
        assert_eq!(refused, Refused::Buffer(Refusal::Full { accepted: offset }));
        // The CLI reads again: there is room, and no line was lost.
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            cli.read_to_end(&mut all).await.unwrap();
            all
        });
        let offer = Offer {
            eof: true,
            ..at(offset, LINE)
        };
        let total = gate.offer(offer).await.unwrap();
        feeding.await.unwrap();
        let read = reader.await.unwrap();
        let lines = read.iter().filter(|b| **b == b'\n').count() as u64;
        assert_eq!(lines * LINE.len() as u64, total);
        // The last offer is repeated.
        assert_eq!(gate.offer(offer).await, Ok(total));
    }

    #[tokio::test]
    async fn input_for_a_cli_that_has_ended_is_refused() {
        let gate = gate(1000);
        gate.open();
        let (mut stdin, cli) = tokio::io::duplex(16);
        drop(cli);
        let total = gate.offer(at(0, LINE)).await.unwrap();
        gate.feed(&mut stdin).await;
        assert_eq!(gate.offer(at(total, LINE)).await, Err(Refused::Closed));
        assert_eq!(gate.offer(at(0, LINE)).await, Ok(total), "a repeat");
    }
}
