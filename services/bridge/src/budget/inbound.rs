//! The inbound budget (`inboundBytes`): memory for messages being received, and for executes and
//! inputs that claude-api has not answered.
//!
//! - When is it charged? A message is charged as it grows, in steps that double, and only beyond
//!   its first 64 KiB ([`FREE_BYTES`]). An execute or an input from a large message keeps the bytes
//!   of its message until claude-api has answered. An execute or an input from a small message is
//!   charged when it is read.
//! - Who waits for whom? A message that cannot grow waits, and its session is not read. The oldest
//!   unfinished message waits for no other message: its remaining need is kept free, so one message
//!   always makes progress. After [`InboundBudget::patience`] a waiting message evicts another one,
//!   and the session of that one is closed with 1013 (docs/protocol.md, "Close codes"). The first
//!   choice is the oldest holder that made no progress during the patience. A later choice is the
//!   oldest holder that is too slow. At most one session is closed per patience. Small requests
//!   have a separate share ([`shares`]) and never wait: they are refused with -32004 when it is
//!   spent.
//! - What bounds the other direction? [`super::outbound`] bounds answers and output.

pub mod unfinished;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

/// Returns the parts of `inboundBytes` for large messages and for small ones.
#[must_use]
pub fn shares(inbound: u64) -> (u64, u64) {
    let small = inbound / 8;
    (inbound - small, small)
}

/// The size up to which a message is always read, in bytes: a ping, a cancel, a common prompt.
pub const FREE_BYTES: u64 = 64 * 1024;

/// One part of the inbound budget, or the limit of one session.
#[derive(Debug)]
pub struct InboundBudget {
    total: u64,
    patience: Duration,
    // A plain lock, because it is held only to read or change the table, never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    last_number: u64,
    /// Unfinished messages by their number, the oldest first.
    messages: BTreeMap<u64, MessageState>,
    last_eviction: Option<Instant>,
}

/// The state of one unfinished message in the budget.
#[derive(Debug)]
struct MessageState {
    /// The bytes that are charged for the message.
    held: u64,
    /// The most bytes that the message may have.
    max_bytes: u64,
    began: Instant,
    /// The received bytes at the last 64 KiB of progress, and the time of that progress.
    received: u64,
    progressed_at: Instant,
    /// Whether the message waits for room.
    waits: bool,
    waker: Option<Waker>,
    is_evicted: bool,
}

impl MessageState {
    /// Whether the rest of the message takes longer than `limit` at its rate so far.
    fn is_slow(&self, now: Instant, limit: Duration) -> bool {
        let rest = self.max_bytes.saturating_sub(self.received);
        let needed = u128::from(rest) * (now - self.began).as_nanos();
        needed > u128::from(self.received) * limit.as_nanos()
    }
}

impl InboundBudget {
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

    /// Charges `bytes` bytes. Returns None if they are not free. A request for more than the budget
    /// takes the whole budget.
    #[must_use]
    pub fn take(self: &Arc<Self>, bytes: u64) -> Option<InboundCharge> {
        let bytes = bytes.min(self.total);
        let mut state = self.lock();
        if state.used + bytes > self.total {
            return None;
        }
        state.used += bytes;
        Some(InboundCharge {
            budget: self.clone(),
            bytes,
        })
    }

    fn release(&self, bytes: u64) {
        self.lock().release(bytes);
    }
}

impl State {
    fn release(&mut self, bytes: u64) {
        self.used -= bytes;
        for message in self.messages.values_mut().filter(|message| message.waits) {
            if let Some(waker) = message.waker.take() {
                waker.wake();
            }
        }
    }
}

/// Charged bytes of the inbound budget, until dropped.
#[derive(Debug)]
pub struct InboundCharge {
    budget: Arc<InboundBudget>,
    bytes: u64,
}

impl InboundCharge {
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

impl Drop for InboundCharge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.release(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests;
