//! A message that a session is receiving, as a holder of the inbound budget.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::{Charge, Inbound, Seat};

/// After so many times the patience, a waiting message evicts a slow holder even if that holder
/// makes progress.
pub(super) const STUBBORN: u32 = 5;
/// A holder is slow if the rest of its message needs more than so many times the patience, at the
/// rate so far. That is two pings, after which the session of a silent peer is closed as well.
const SLOW: u32 = 40;

/// A message that is not complete, until dropped.
#[derive(Debug)]
pub struct Unfinished {
    budget: Arc<Inbound>,
    number: u64,
    held: u64,
}

impl Unfinished {
    /// Creates a message that holds nothing yet. `most`: the most bytes that it may have.
    #[must_use]
    pub fn new(budget: Arc<Inbound>, most: u64) -> Self {
        let most = most.min(budget.total);
        let mut state = budget.lock();
        state.next_seat += 1;
        let number = state.next_seat;
        let now = Instant::now();
        let seat = Seat {
            held: 0,
            most,
            began: now,
            received: 0,
            moved: now,
            waits: false,
            waker: None,
            is_evicted: false,
        };
        state.seats.insert(number, seat);
        drop(state);
        Self {
            budget,
            number,
            held: 0,
        }
    }

    /// Returns the length that the message may reach with its charge: unlimited once it holds the
    /// whole budget.
    #[must_use]
    pub fn allowed(&self) -> u64 {
        if self.held >= self.budget.total {
            u64::MAX
        } else {
            self.held
        }
    }

    /// Grows the charge until it holds `bytes`.
    pub fn poll_grow(&mut self, bytes: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.budget.lock();
        let state = &mut *state;
        let (total, used) = (self.budget.total, state.used);
        let oldest = state.seats.first_key_value();
        let kept = match oldest {
            Some((number, oldest)) if *number != self.number => {
                oldest.most.saturating_sub(oldest.held)
            }
            _ => 0,
        };
        let Some(seat) = state.seats.get_mut(&self.number) else {
            return Poll::Ready(());
        };
        let more = bytes.min(total).saturating_sub(seat.held);
        seat.waker = Some(cx.waker().clone());
        seat.waits = used.saturating_add(more).saturating_add(kept) > total;
        if seat.waits {
            return Poll::Pending;
        }
        seat.held += more;
        self.held = seat.held;
        state.used += more;
        Poll::Ready(())
    }

    /// Records progress: the message has so many bytes now.
    pub fn moved(&self, received: u64) {
        let mut state = self.budget.lock();
        if let Some(seat) = state.seats.get_mut(&self.number) {
            (seat.received, seat.moved) = (received, Instant::now());
        }
    }

    /// Whether other unfinished messages hold bytes.
    #[must_use]
    pub fn has_others(&self) -> bool {
        let state = self.budget.lock();
        let mut seats = state.seats.iter();
        seats.any(|(number, seat)| *number != self.number && seat.held > 0)
    }

    /// Evicts another message, if one may be evicted. `times`: how often the patience has passed.
    pub fn press(&self, times: u32) {
        let (now, patience) = (Instant::now(), self.budget.patience);
        let mut state = self.budget.lock();
        let state = &mut *state;
        if state.last_eviction.is_some_and(|at| now - at < patience) {
            return;
        }
        let number = self.number;
        let holders = || {
            let seats = state.seats.iter();
            seats.filter(move |(n, seat)| **n != number && seat.held > 0 && !seat.is_evicted)
        };
        let is_stalled = |seat: &Seat| !seat.waits && now - seat.moved >= patience;
        let victim = holders().find(|(_, seat)| is_stalled(seat));
        let victim = victim.or_else(|| {
            let mut slow = holders().filter(|_| times >= STUBBORN);
            slow.find(|(_, seat)| seat.is_slow(now, patience * SLOW))
        });
        let Some(number) = victim.map(|(number, _)| *number) else {
            return;
        };
        if let Some(seat) = state.seats.get_mut(&number) {
            seat.is_evicted = true;
            if let Some(waker) = seat.waker.take() {
                waker.wake();
            }
            state.last_eviction = Some(now);
        }
    }

    /// Whether this message was evicted: its session must close so that other messages can grow.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        let state = self.budget.lock();
        state
            .seats
            .get(&self.number)
            .is_some_and(|seat| seat.is_evicted)
    }

    /// Ends the message: keeps a charge of `bytes`, its length, and releases the rest.
    #[must_use]
    pub fn finish(mut self, bytes: u64) -> Charge {
        let bytes = bytes.min(self.held);
        let rest = std::mem::replace(&mut self.held, 0) - bytes;
        let charge = Charge {
            budget: self.budget.clone(),
            bytes,
        };
        let mut state = self.budget.lock();
        state.seats.remove(&self.number);
        state.release(rest);
        drop(state);
        charge
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        if state.seats.remove(&self.number).is_some() {
            state.release(self.held);
        }
    }
}
