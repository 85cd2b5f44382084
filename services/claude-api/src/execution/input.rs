//! The input of a running CLI. Clients append to it idempotently by offset. Each line is checked,
//! and buffered until the CLI reads it.
//!
//! ```text
//! POST .../input ──▶ Gate ──▶ Buffer (whole, checked lines; bounded) ──▶ feed ──▶ the CLI's stdin
//! ```
//!
//! No input is accepted before the execution runs: accepted bytes are only in memory, and a queued
//! execution outlives this process. A paused execution accepts as much as its buffer holds. An
//! offer waits briefly for the start, or for room in the buffer, and is then refused.

mod buffer;
mod rules;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use buffer::{Buffer, Next};
pub use buffer::{Offer, Refusal};
pub use rules::{Fault, Rules, line_bytes};

/// The reason why a client's input was refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The execution does not run yet.
    NotRunning,
    /// The CLI reads no more input: it has ended, or closed its stdin.
    Closed,
    /// The buffer refused the offer.
    Buffer(Refusal),
}

/// Whether a gate accepts input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GateState {
    /// The execution does not run yet.
    Waiting,
    /// The CLI reads its stdin.
    Open,
    /// The CLI reads no more.
    Closed,
}

/// The gate between clients that append input and the task that writes it to the CLI's stdin. It
/// accepts input only while the CLI reads, and buffers a limited number of bytes.
#[derive(Debug)]
pub struct Gate {
    // Held briefly; the longest work inside is the parsing of one request's lines. No await happens
    // inside.
    inner: Mutex<(GateState, Buffer)>,
    changed: watch::Sender<()>,
    rules: Rules,
    /// How long an offer waits for the start, or for room in the buffer.
    patience: Duration,
}

impl Gate {
    /// Creates a gate that opens once the execution runs. `limit` is the maximum of buffered bytes
    /// and the maximum length of a line. An offer waits for at most `patience`.
    #[must_use]
    pub fn new(limit: usize, rules: Rules, patience: Duration) -> Self {
        Self {
            inner: Mutex::new((GateState::Waiting, Buffer::new(limit))),
            changed: watch::Sender::new(()),
            rules,
            patience,
        }
    }

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

    /// Opens the gate, because the CLI runs now. No effect on a closed gate.
    pub fn open(&self) {
        self.change(|state, _| {
            if *state == GateState::Waiting {
                *state = GateState::Open;
            }
        });
    }

    /// Closes the gate for good, because the CLI reads no more. Drops lines that are not written
    /// yet.
    pub fn close(&self) {
        self.change(|state, buffer| {
            *state = GateState::Closed;
            buffer.clear();
        });
    }

    /// Accepts the input of one request, all of it or none, and returns the accepted total in
    /// bytes. Waits up to the gate's patience while the execution does not run yet or the buffer is
    /// full. Cancel safe: an offer whose future is dropped was not accepted.
    ///
    /// # Errors
    /// The reason for the refusal.
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

    /// Writes accepted lines to the CLI's stdin. Ends after the last line of the input (`eof`),
    /// when the gate is closed, or when the CLI closes its stdin.
    pub async fn feed(&self, stdin: &mut (impl AsyncWrite + Unpin)) {
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
    use std::sync::Arc;
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
