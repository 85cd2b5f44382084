//! The memory for incoming messages: for messages that are being received, and for executes and
//! inputs that claude-api has not answered. The setting `inboundBytes` limits it.
//!
//! - When is it charged? A message is charged as it grows, in steps that double, and only beyond
//!   its first 64 KiB ([`FREE_BYTES`]). An execute or an input from a large message keeps the bytes
//!   of its message until claude-api has answered. An execute or an input from a small message is
//!   charged when it is read.
//! - Who waits for whom? A message that cannot grow waits, and its session is not read. The oldest
//!   unfinished message waits for no other message: its remaining need is kept free, so one message
//!   always makes progress. After [`InboundBudget::wait_step`] a waiting message evicts another
//!   one, and the session of that one is closed with 1013 (docs/protocol.md, "Close codes"). The
//!   first choice is the oldest holder that made no progress during the wait step. A later choice
//!   is the oldest holder that is too slow. At most one session is closed per wait step. Small
//!   requests have a separate share ([`shares`]) and never wait: they are refused with -32004 when
//!   it is spent.
//! - What bounds the other direction? `outbound` bounds answers and output.

pub mod unfinished;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

/// Divides the memory for incoming messages into two shares, and returns their sizes in bytes:
/// seven eighths for messages over 64 KiB, then one eighth for smaller ones. With separate shares,
/// large messages cannot block small ones. `inbound` is the setting `inboundBytes`.
#[must_use]
pub fn shares(inbound: u64) -> (u64, u64) {
    let small = inbound / 8;
    (inbound - small, small)
}

/// The length of a message in bytes up to which receiving it charges no memory budget (64 KiB).
/// Pings, cancels and common prompts are shorter, so they never wait for memory.
pub const FREE_BYTES: u64 = 64 * 1024;

/// A limit of the bytes that incoming messages and unanswered executes and inputs may hold, with
/// the bytes in use. The bridge has one for large and one for small messages. Each session also has
/// its own limits (`SessionInbound`).
#[derive(Debug)]
pub struct InboundBudget {
    total: u64,
    wait_step: Duration,
    // A plain lock, because it is held only to read or change the table, never across an await.
    state: Mutex<State>,
}

/// The bytes in use, and the messages that are being received.
#[derive(Debug, Default)]
struct State {
    /// The bytes that are reserved now, by all charges and all messages.
    used: u64,
    /// The number of the youngest message. Messages are numbered in the order of their arrival.
    last_number: u64,
    /// The messages that are being received, by their number. The oldest is first.
    messages: BTreeMap<u64, MessageState>,
    /// When a message was last evicted; `None` if that never happened. At most one message is
    /// evicted per wait step.
    last_eviction: Option<Instant>,
}

/// The memory and the progress of one message that a session is still receiving. Other messages may
/// wait for its memory, so they must know whether it is slow.
#[derive(Debug)]
struct MessageState {
    /// The bytes that are reserved for the message. They may exceed the bytes received so far.
    held: u64,
    /// The most bytes that the whole message may have.
    max_bytes: u64,
    /// When the budget began to track the message. Its average rate is measured from here.
    began: Instant,
    /// The length of the message in bytes when it last passed a multiple of 64 KiB.
    received: u64,
    /// When the message last passed a multiple of 64 KiB, or began. A message with no progress for
    /// a wait step may be evicted.
    progressed_at: Instant,
    /// Whether the message waits for memory. The bridge does not read from its session meanwhile.
    waits: bool,
    /// Wakes the task of the session when bytes are released, or when the message is evicted.
    waker: Option<Waker>,
    /// Whether the message must give up its memory to another one. Its session then closes with the
    /// WebSocket code 1013 (try again later).
    is_evicted: bool,
}

impl MessageState {
    /// Returns true if the rest of the message would take longer than `limit` at its average rate
    /// so far. The rest is estimated from the most bytes that the message may have.
    fn is_slow(&self, now: Instant, limit: Duration) -> bool {
        let rest = self.max_bytes.saturating_sub(self.received);
        let needed = u128::from(rest) * (now - self.began).as_nanos();
        needed > u128::from(self.received) * limit.as_nanos()
    }
}

impl InboundBudget {
    /// Creates an unused budget of `total` bytes. `wait_step` is how long a message waits for
    /// memory before it may evict another message. It is zero for a budget on which no message
    /// waits.
    #[must_use]
    pub fn new(total: u64, wait_step: Duration) -> Arc<Self> {
        Arc::new(Self {
            total,
            wait_step,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of bytes that are reserved now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    /// Returns how long a message waits for memory before it may evict another message, whose
    /// session is then closed.
    #[must_use]
    pub fn wait_step(&self) -> Duration {
        self.wait_step
    }

    /// Reserves `bytes` bytes until the result is dropped. Never waits: returns `None` if fewer
    /// bytes are free. A request for more than the whole budget reserves the whole budget, so it
    /// succeeds once the budget is unused.
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
            of_principal: None,
        })
    }

    /// Frees `bytes` bytes, and wakes the messages that wait for memory.
    fn release(&self, bytes: u64) {
        self.lock().release(bytes);
    }
}

impl State {
    /// Frees `bytes` bytes, and wakes the messages that wait for memory.
    fn release(&mut self, bytes: u64) {
        self.used -= bytes;
        for message in self.messages.values_mut().filter(|message| message.waits) {
            if let Some(waker) = message.waker.take() {
                waker.wake();
            }
        }
    }
}

/// Bytes that are reserved in a memory budget for incoming messages. Dropping the charge releases
/// them and wakes the messages that wait for memory.
#[derive(Debug)]
pub struct InboundCharge {
    budget: Arc<InboundBudget>,
    bytes: u64,
    /// The charge of the same bytes in the part of the client's principal. `None` without a
    /// principal.
    of_principal: Option<Box<InboundCharge>>,
}

impl InboundCharge {
    /// Adds the charge of the same bytes in the part of the client's principal, so that both are
    /// released together.
    #[must_use]
    pub(super) fn with(mut self, of_principal: Option<Self>) -> Self {
        self.of_principal = of_principal.map(Box::new);
        self
    }

    /// Moves `bytes` bytes of this charge into a new one, or all bytes if fewer are left. With it,
    /// each request of a JSON-RPC batch gets a part of the memory that its message has reserved.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let of_principal = self.of_principal.as_mut();
        let of_principal = of_principal.map(|charge| Box::new(charge.split(bytes)));
        let bytes = (bytes as u64).min(self.bytes);
        self.bytes -= bytes;
        Self {
            budget: self.budget.clone(),
            bytes,
            of_principal,
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
