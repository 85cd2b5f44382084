//! A message that a session is still receiving, with the memory that is reserved for it. When
//! memory is short, a waiting message may evict another one that is stalled or slow. The session of
//! the evicted message is closed.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::{InboundBudget, InboundCharge, MessageState};

/// How many wait steps (1 s each by default) a message must wait for memory before it may evict one
/// that is slow but makes progress. A stalled message may be evicted after the first wait step.
pub(super) const EVICT_SLOW_AFTER_STEPS: u32 = 5;
/// The number of wait steps (1 s each by default) that divides slow messages from fast ones. A
/// message is slow if its rest will take longer at its rate so far. Forty wait steps are two ping
/// intervals, the time after which the session of a silent peer is closed too.
const SLOW_IF_STEPS_LEFT: u32 = 40;

/// A message that a session is still receiving, with the bytes that are reserved for it. Dropping
/// it releases the bytes. [`Self::finish`] turns them into a charge when the message is complete.
#[derive(Debug)]
pub struct Unfinished {
    budget: Arc<InboundBudget>,
    number: u64,
    held: u64,
    /// The same message in the part of its client's principal. `None` without a principal.
    of_principal: Option<Box<Unfinished>>,
}

impl Unfinished {
    /// Registers a new message in `budget`. It has no bytes reserved yet, and is the youngest of
    /// the messages. `max_bytes` is the most bytes that the whole message may have.
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
            of_principal: None,
        }
    }

    /// Registers the message also in the part of its client's principal. It then needs memory in
    /// both, and while the part is used up, it evicts only messages of the same principal.
    #[must_use]
    pub fn of_principal(mut self, part: Option<Arc<InboundBudget>>, max_bytes: u64) -> Self {
        self.of_principal = part.map(|part| Box::new(Self::new(part, max_bytes)));
        self
    }

    /// Returns the registration in the part of the principal if the message waits for that part.
    fn waiting_part(&self) -> Option<&Self> {
        let part = self.of_principal.as_deref()?;
        let state = part.budget.lock();
        let waits = state.messages.get(&part.number).is_some_and(|m| m.waits);
        drop(state);
        waits.then_some(part)
    }

    /// Returns the length in bytes up to which the message may be read with the memory reserved so
    /// far. Returns `u64::MAX` once the whole budget is reserved for it, because then no more can
    /// be reserved.
    #[must_use]
    pub fn allowed(&self) -> u64 {
        if self.held >= self.budget.total {
            u64::MAX
        } else {
            self.held
        }
    }

    /// Reserves memory until the message holds `bytes` bytes, or the whole budget if that is
    /// smaller. `Pending` means that the bytes are in use, or are kept free for the rest of the
    /// oldest message. The task is then woken when bytes are released or when the message is
    /// evicted.
    pub fn poll_grow(&mut self, bytes: u64, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(part) = &mut self.of_principal {
            ready!(part.poll_grow(bytes, cx));
        }
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

    /// Records that `received` bytes of the message have arrived now. Another message that waits
    /// for memory may evict a message without progress.
    pub fn note_progress(&self, received: u64) {
        if let Some(part) = &self.of_principal {
            part.note_progress(received);
        }
        let mut state = self.budget.lock();
        if let Some(message) = state.messages.get_mut(&self.number) {
            (message.received, message.progressed_at) = (received, Instant::now());
        }
    }

    /// Returns true if other unfinished messages hold memory, so evicting one would help. If false,
    /// the memory is held by executes and inputs, and only answers of claude-api free it.
    #[must_use]
    pub fn has_others(&self) -> bool {
        if let Some(part) = self.waiting_part() {
            return part.has_others();
        }
        let state = self.budget.lock();
        let mut messages = state.messages.iter();
        messages.any(|(number, message)| *number != self.number && message.held > 0)
    }

    /// Evicts one other message, so that its memory becomes free for this one. First choice is the
    /// oldest message that is stalled, which means no progress for a wait step although it does not
    /// wait for memory itself. From the fifth wait step on, the oldest slow message is the second
    /// choice. Does nothing if there is no such message, or if another one was evicted within the
    /// last wait step. `times` is the number of wait steps that this message has waited.
    pub fn try_evict(&self, times: u32) {
        if let Some(part) = self.waiting_part() {
            return part.try_evict(times);
        }
        let (now, wait_step) = (Instant::now(), self.budget.wait_step);
        let mut state = self.budget.lock();
        let state = &mut *state;
        if state.last_eviction.is_some_and(|at| now - at < wait_step) {
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
            |message: &MessageState| !message.waits && now - message.progressed_at >= wait_step;
        let victim = holders().find(|(_, message)| is_stalled(message));
        let victim = victim.or_else(|| {
            let mut slow = holders().filter(|_| times >= EVICT_SLOW_AFTER_STEPS);
            slow.find(|(_, message)| message.is_slow(now, wait_step * SLOW_IF_STEPS_LEFT))
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

    /// Returns true if another message has evicted this one to get its memory. The session of this
    /// message must then close with the WebSocket code 1013 (try again later).
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        if self
            .of_principal
            .as_ref()
            .is_some_and(|part| part.is_evicted())
        {
            return true;
        }
        let state = self.budget.lock();
        state
            .messages
            .get(&self.number)
            .is_some_and(|message| message.is_evicted)
    }

    /// Ends a message that was received completely, with `bytes` bytes. Returns the charge for
    /// these bytes, which the executes and inputs of the message keep. Releases any further bytes
    /// that were reserved.
    #[must_use]
    pub fn finish(mut self, bytes: u64) -> InboundCharge {
        let of_principal = self.of_principal.take();
        let of_principal = of_principal.map(|part| Box::new(part.finish(bytes)));
        let bytes = bytes.min(self.held);
        let rest = std::mem::replace(&mut self.held, 0) - bytes;
        let charge = InboundCharge {
            budget: self.budget.clone(),
            bytes,
            of_principal,
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
