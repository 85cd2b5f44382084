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
//!   that made no progress for as long, later the oldest one that is too slow (`SLOW`). At most one
//!   session is closed per patience. Small requests have a share of their own ([`shares`]) and wait
//!   for nobody: they are refused with -32004 when it is spent.
//! - What bounds the other direction? [`super::outbound`] bounds answers and output.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The parts of `inboundBytes` for large messages and for small ones.
#[must_use]
pub fn shares(inbound: u64) -> (u64, u64) {
    let small = inbound / 8;
    (inbound - small, small)
}

/// Messages of at most this many bytes are always read: a ping, a cancel, a common prompt.
pub const FREE_BYTES: u64 = 64 * 1024;
/// After so many times the patience, a waiting message evicts a slow holder even if that one makes
/// progress.
const STUBBORN: u32 = 5;
/// A holder is slow that needs more than so many times the patience for the rest of its message, at
/// its rate so far. That is two pings, after which a silent peer is closed as well.
const SLOW: u32 = 40;

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

#[derive(Debug)]
struct Seat {
    held: u64,
    /// The most bytes that the message may have.
    most: u64,
    began: Instant,
    /// Its bytes when it last made 64 KiB of progress, and when that was.
    received: u64,
    moved: Instant,
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

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    /// How long a message waits before it evicts another.
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

    /// The length that the message may reach with its charge; unlimited once it holds the whole
    /// budget.
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
        let stands = |seat: &Seat| !seat.waits && now - seat.moved >= patience;
        let victim = holders().find(|(_, seat)| stands(seat));
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

#[cfg(test)]
mod tests;
