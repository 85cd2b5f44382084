//! The inbound budget (`inboundBytes`): memory for messages being received, and for executes and
//! inputs that await an answer of claude-api.
//!
//! - When is it taken? A message takes bytes as it grows, in steps that double, and only beyond its
//!   first 64 KiB ([`FREE_BYTES`]). An execute or an input of a large message keeps its message's
//!   bytes until claude-api has answered. One of a small message takes its own bytes when it is
//!   read.
//! - Who waits behind whom? A message that cannot grow waits, and its session is not read. The
//!   oldest unfinished message waits for no other: its remaining need is kept free, so one message
//!   always makes progress. After [`Inbound::patience`] a waiting message evicts another one, and
//!   that session is closed with 1013 (docs/protocol.md, "Close codes"): first the oldest holder
//!   that made no progress for as long, later the oldest one that is too slow. At most one
//!   session is closed per patience. Small requests have a share of their own ([`shares`]) and wait
//!   for nobody: they are refused with -32004 when it is spent.
//! - What bounds the other direction? [`super::outbound`] bounds answers and output.

pub mod unfinished;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

/// The parts of `inboundBytes` for large messages and for small ones.
#[must_use]
pub fn shares(inbound: u64) -> (u64, u64) {
    let small = inbound / 8;
    (inbound - small, small)
}

/// Messages of at most this many bytes are always read: a ping, a cancel, a common prompt.
pub const FREE_BYTES: u64 = 64 * 1024;

/// One part of the inbound budget, or the limit of one session.
#[derive(Debug)]
pub struct Inbound {
    total: u64,
    patience: Duration,
    // A plain lock: held for a look into the table, never over an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    next_seat: u64,
    /// Unfinished messages, the oldest first.
    seats: BTreeMap<u64, Seat>,
    last_eviction: Option<Instant>,
}

/// The place of one unfinished message in the budget.
#[derive(Debug)]
struct Seat {
    /// The bytes that the message has taken.
    held: u64,
    /// The most bytes that the message may have.
    most: u64,
    began: Instant,
    /// The received bytes at the last 64 KiB of progress, and the time of that progress.
    received: u64,
    moved: Instant,
    /// Whether the message waits for room.
    waits: bool,
    waker: Option<Waker>,
    is_evicted: bool,
}

impl Seat {
    /// Whether the rest of the message takes longer than `limit`, at its rate so far.
    fn is_slow(&self, now: Instant, limit: Duration) -> bool {
        let rest = self.most.saturating_sub(self.received);
        let needed = u128::from(rest) * (now - self.began).as_nanos();
        needed > u128::from(self.received) * limit.as_nanos()
    }
}

impl Inbound {
    /// Creates an unused budget. `patience`: how long a message waits before it evicts another.
    #[must_use]
    pub fn new(total: u64, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            total,
            patience,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    /// Returns how long a message waits before it evicts another.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Takes so many bytes; None when they are not free. A request for more than the budget takes
    /// the whole budget.
    #[must_use]
    pub fn take(self: &Arc<Self>, bytes: u64) -> Option<Charge> {
        let bytes = bytes.min(self.total);
        let mut state = self.lock();
        if state.used + bytes > self.total {
            return None;
        }
        state.used += bytes;
        Some(Charge {
            budget: self.clone(),
            bytes,
        })
    }

    fn give_back(&self, bytes: u64) {
        self.lock().release(bytes);
    }
}

impl State {
    fn release(&mut self, bytes: u64) {
        self.used -= bytes;
        for seat in self.seats.values_mut().filter(|seat| seat.waits) {
            if let Some(waker) = seat.waker.take() {
                waker.wake();
            }
        }
    }
}

/// Bytes that were taken, until dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Inbound>,
    bytes: u64,
}

impl Charge {
    /// Splits off a charge of `bytes`, or of all that is left.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = (bytes as u64).min(self.bytes);
        self.bytes -= bytes;
        Self {
            budget: self.budget.clone(),
            bytes,
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.give_back(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests;
