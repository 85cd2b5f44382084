//! A message that a session is still receiving, and the bytes of the inbound budget that it holds.
//! Messages that wait for memory may evict others that are stalled or slow.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::{InboundBudget, InboundCharge, MessageState};

/// How many patiences (1 s each by default) a message must wait for memory before it may evict one
/// that makes progress, but slowly. A stalled message may be evicted after the first one.
pub(super) const PATIENCES_FOR_SLOW: u32 = 5;
/// A message is slow if its rest will take more than this number of patiences (1 s each by
/// default), at its rate so far. That is two ping intervals, after which the session of a silent
/// peer is closed as well.
const SLOW_PATIENCES: u32 = 40;

/// A message that a session is still receiving, as a holder of bytes of the inbound budget.
/// Dropping it releases the bytes; [`Self::finish`] keeps those of a complete message.
#[derive(Debug)]
pub struct Unfinished {
    budget: Arc<InboundBudget>,
    number: u64,
    held: u64,
}

impl Unfinished {
    /// Registers a new message, which holds no bytes yet, as the youngest of the budget.
    /// `max_bytes`: the most bytes that the whole message may have.
    #[must_use]
    pub fn new(budget: Arc<InboundBudget>, max_bytes: u64) -> Self {
        let max_bytes = max_bytes.min(budget.total);
        let mut state = budget.lock();
        state.last_number += 1;
        let number = state.last_number;
        let now = Instant::now();
        let message = MessageState {
            held: 0,
            max_bytes,
            began: now,
            received: 0,
            progressed_at: now,
            waits: false,
            waker: None,
            is_evicted: false,
        };
        state.messages.insert(number, message);
        drop(state);
        Self {
            budget,
            number,
            held: 0,
        }
    }

    /// Returns the length in bytes up to which the message may be read with its charge: unlimited
    /// once it holds the whole budget.
    #[must_use]
    pub fn allowed(&self) -> u64 {
        if self.held >= self.budget.total {
            u64::MAX
        } else {
            self.held
        }
    }

    /// Grows the charge until it holds `bytes` bytes, or the whole budget. Pending while they are
    /// not free, or are reserved for the rest of the oldest message; the task is woken when bytes
    /// are released.
    pub fn poll_grow(&mut self, bytes: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.budget.lock();
        let state = &mut *state;
        let (total, used) = (self.budget.total, state.used);
        let oldest = state.messages.first_key_value();
        let kept = match oldest {
            Some((number, oldest)) if *number != self.number => {
                oldest.max_bytes.saturating_sub(oldest.held)
            }
            _ => 0,
        };
        let Some(message) = state.messages.get_mut(&self.number) else {
            return Poll::Ready(());
        };
        let more = bytes.min(total).saturating_sub(message.held);
        message.waker = Some(cx.waker().clone());
        message.waits = used.saturating_add(more).saturating_add(kept) > total;
        if message.waits {
            return Poll::Pending;
        }
        message.held += more;
        self.held = message.held;
        state.used += more;
        Poll::Ready(())
    }

    /// Records that the message now has `received` bytes, and when. A message without progress may
    /// be evicted by one that waits for memory.
    pub fn note_progress(&self, received: u64) {
        let mut state = self.budget.lock();
        if let Some(message) = state.messages.get_mut(&self.number) {
            (message.received, message.progressed_at) = (received, Instant::now());
        }
    }

    /// Whether other unfinished messages hold bytes. If not, waiting for memory means waiting for
    /// claude-api's answers.
    #[must_use]
    pub fn has_others(&self) -> bool {
        let state = self.budget.lock();
        let mut messages = state.messages.iter();
        messages.any(|(number, message)| *number != self.number && message.held > 0)
    }

    /// Evicts the oldest other message that made no progress for a patience (the time that a
    /// message waits for memory at a time) and does not wait itself. From the fifth patience on,
    /// evicts a slow one otherwise. At most one message is evicted per patience. `times`: how many
    /// patiences this message has waited.
    pub fn try_evict(&self, times: u32) {
        let (now, patience) = (Instant::now(), self.budget.patience);
        let mut state = self.budget.lock();
        let state = &mut *state;
        if state.last_eviction.is_some_and(|at| now - at < patience) {
            return;
        }
        let number = self.number;
        let holders = || {
            let messages = state.messages.iter();
            messages.filter(move |(n, message)| {
                **n != number && message.held > 0 && !message.is_evicted
            })
        };
        let is_stalled =
            |message: &MessageState| !message.waits && now - message.progressed_at >= patience;
        let victim = holders().find(|(_, message)| is_stalled(message));
        let victim = victim.or_else(|| {
            let mut slow = holders().filter(|_| times >= PATIENCES_FOR_SLOW);
            slow.find(|(_, message)| message.is_slow(now, patience * SLOW_PATIENCES))
        });
        let Some(number) = victim.map(|(number, _)| *number) else {
            return;
        };
        if let Some(message) = state.messages.get_mut(&number) {
            message.is_evicted = true;
            if let Some(waker) = message.waker.take() {
                waker.wake();
            }
            state.last_eviction = Some(now);
        }
    }

    /// Whether another message needs this one's memory more. Then the session of this message must
    /// close with 1013.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        let state = self.budget.lock();
        state
            .messages
            .get(&self.number)
            .is_some_and(|message| message.is_evicted)
    }

    /// Ends a complete message of `bytes` bytes. Returns the charge for them, which its executes
    /// and inputs keep, and releases what was charged beyond that.
    #[must_use]
    pub fn finish(mut self, bytes: u64) -> InboundCharge {
        let bytes = bytes.min(self.held);
        let rest = std::mem::replace(&mut self.held, 0) - bytes;
        let charge = InboundCharge {
            budget: self.budget.clone(),
            bytes,
        };
        let mut state = self.budget.lock();
        state.messages.remove(&self.number);
        state.release(rest);
        drop(state);
        charge
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        if state.messages.remove(&self.number).is_some() {
            state.release(self.held);
        }
    }
}
