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

/// Splits `inbound`, the setting `inboundBytes`, into the budget for messages over 64 KiB (seven
/// eighths) and the one for smaller messages (one eighth). So large messages cannot block small
/// ones.
#[must_use]
pub fn shares(inbound: u64) -> (u64, u64) {
    let small = inbound / 8;
    (inbound - small, small)
}

/// The length up to which a message is read without a charge, in bytes. So a ping, a cancel or a
/// common prompt never waits for memory.
pub const FREE_BYTES: u64 = 64 * 1024;

/// A number of bytes that executes, inputs and messages being received may hold together. There is
/// one for large and one for small messages, and each session has its own limits
/// ([`super::SessionInbound`]).
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
    /// The messages that are being received, by their number: the oldest first.
    messages: BTreeMap<u64, MessageState>,
    last_eviction: Option<Instant>,
}

/// The charge and the progress of one message that a session is still receiving. Other messages may
/// wait for its memory, so they need to know whether it is slow.
#[derive(Debug)]
struct MessageState {
    /// The bytes that are charged for the message. They may exceed the bytes received so far.
    held: u64,
    /// The most bytes that the whole message may have.
    max_bytes: u64,
    began: Instant,
    /// The bytes received when the message last passed a multiple of 64 KiB. `progressed_at` is the
    /// time of that.
    received: u64,
    progressed_at: Instant,
    /// Whether the message waits until more bytes are free. Then its session is not read.
    waits: bool,
    waker: Option<Waker>,
    is_evicted: bool,
}

impl MessageState {
    /// Whether the rest of the message will take longer than `limit`, at its average rate so far.
    fn is_slow(&self, now: Instant, limit: Duration) -> bool {
        let rest = self.max_bytes.saturating_sub(self.received);
        let needed = u128::from(rest) * (now - self.began).as_nanos();
        needed > u128::from(self.received) * limit.as_nanos()
    }
}

impl InboundBudget {
    /// Creates a budget of `total` bytes. `patience`: how long a message waits for memory before it
    /// evicts another message. Zero for a budget on which no message waits.
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

    /// Returns the bytes that are charged now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    /// Returns how long a message waits for memory before it evicts another message.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Charges `bytes` bytes until the result is dropped, without waiting. Returns `None` if so
    /// many bytes are not free. A request for more than the budget charges the whole budget, so it
    /// can succeed once the budget is unused.
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

/// Bytes charged to an [`InboundBudget`]. Dropping it releases the bytes and wakes the messages
/// that wait for memory.
#[derive(Debug)]
pub struct InboundCharge {
    budget: Arc<InboundBudget>,
    bytes: u64,
}

impl InboundCharge {
    /// Moves `bytes` bytes, or all that are left, into a new charge. So the entries of a batch
    /// share the charge of their message.
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
