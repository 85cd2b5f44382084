//! What clients send to a running CLI's stdin: appended idempotently by offset, judged line by line, held back while the CLI
//! does not read.
//!
//! ```text
//! POST .../input ──▶ Gate ──▶ Buffer (whole, judged lines; bounded) ──▶ feed ──▶ the CLI's stdin
//! ```
//!
//! Nothing is taken before the execution runs: what `accepted` counts is in memory only, and a queued execution outlives this
//! process. A paused one takes what its buffer holds. An offer waits a moment for the start, or for room, then is refused.

mod buffer;
mod rules;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use buffer::{Buffer, Next};
pub use buffer::{Offer, Refusal};
pub use rules::{Fault, Rules, line_bytes};

/// Why nothing of an offer was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It does not run yet.
    NotRunning,
    /// The CLI takes no more: it has ended, or closed its stdin.
    Closed,
    /// The buffer's reasons.
    Buffer(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Open,
    Closed,
}

/// Between the requests and the one task that writes to stdin.
#[derive(Debug)]
pub struct Gate {
    // Short and synchronous, but for the parse of one request's lines; no await happens inside.
    inner: Mutex<(Phase, Buffer)>,
    changed: watch::Sender<()>,
    rules: Rules,
    patience: Duration,
}

impl Gate {
    /// A gate that opens once the execution runs. At most `limit` bytes wait in it, and a line has no more; an offer waits
    /// so long for the start, or for room.
    #[must_use]
    pub fn new(limit: usize, rules: Rules, patience: Duration) -> Self {
        Self {
            inner: Mutex::new((Phase::Waiting, Buffer::new(limit))),
            changed: watch::Sender::new(()),
            rules,
            patience,
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Phase, &mut Buffer) -> T) -> T {
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (phase, buffer) = &mut *guard;
        let done = act(phase, buffer);
        drop(guard);
        self.changed.send_replace(());
        done
    }

    /// The offset at which the next offer must begin.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        let guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        guard.1.accepted()
    }

    /// The CLI runs.
    pub fn open(&self) {
        self.with(|phase, _| {
            if *phase == Phase::Waiting {
                *phase = Phase::Open;
            }
        });
    }

    /// The CLI takes no more.
    pub fn close(&self) {
        self.with(|phase, buffer| {
            *phase = Phase::Closed;
            buffer.clear();
        });
    }

    /// Takes all of an offer, or nothing; answers the accepted total. Cancel safe: then nothing was taken.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn offer(&self, offer: Offer<'_>) -> Result<u64, Refused> {
        let mut changed = self.changed.subscribe();
        let until = tokio::time::Instant::now() + self.patience;
        loop {
            // Seen before the try, so that what changes behind it is not missed.
            changed.mark_unchanged();
            let refused = match self.offer_now(offer) {
                Err(refused @ (Refused::NotRunning | Refused::Buffer(Refusal::Full { .. }))) => {
                    refused
                }
                done => return done,
            };
            match tokio::time::timeout_at(until, changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(refused),
            }
        }
    }

    fn offer_now(&self, offer: Offer<'_>) -> Result<u64, Refused> {
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (phase, buffer) = &mut *guard;
        let done = match phase {
            Phase::Waiting => return Err(Refused::NotRunning),
            // A repeated request is answered as it was.
            Phase::Closed if !buffer.has_all_of(&offer) => return Err(Refused::Closed),
            Phase::Open | Phase::Closed => buffer.offer(offer, &self.rules),
        };
        drop(guard);
        let taken = done.map_err(Refused::Buffer)?;
        self.changed.send_replace(());
        Ok(taken)
    }

    /// Writes to stdin what is taken, until `eof`, the gate's end, or the CLI's.
    pub async fn feed(&self, stdin: &mut (impl AsyncWrite + Unpin)) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let next = {
                let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                match guard.0 {
                    Phase::Closed => Next::End,
                    Phase::Waiting | Phase::Open => guard.1.next(),
                }
            };
            match next {
                Next::Lines(lines) => {
                    if stdin.write_all(&lines).await.is_err() {
                        return self.close();
                    }
                    self.with(|_, buffer| buffer.written());
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
    async fn an_offer_waits_for_the_start_then_gives_up() {
        let gate = gate(1000);
        assert_eq!(gate.offer(at(0, LINE)).await, Err(Refused::NotRunning));
        let (one, other) = (Arc::clone(&gate), Arc::clone(&gate));
        let offered = tokio::spawn(async move { one.offer(at(0, LINE)).await });
        tokio::task::yield_now().await;
        other.open();
        assert_eq!(offered.await.unwrap(), Ok(LINE.len() as u64));
    }

    #[tokio::test]
    async fn a_cli_that_does_not_read_is_not_fed_for_ever() {
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
        // It reads again: there is room, and nothing was lost.
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
        // The last offer once more.
        assert_eq!(gate.offer(offer).await, Ok(total));
    }

    #[tokio::test]
    async fn a_cli_that_is_gone_takes_nothing() {
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
