//! The inbound budget (`inboundBytes`): memory for messages being received, and for executes and
//! inputs that await an answer.
//!
//! - Taken when: a message takes bytes as it grows, in steps that double, and only beyond its first
//!   64 KiB. An execute or an input of a large message keeps its message's bytes. One of a small
//!   message takes its own when it is read.
//! - Who waits behind whom: a message that cannot grow waits, and its session is not read. The
//!   oldest unfinished message waits for no other: its remaining need is kept free, so one message
//!   always makes progress. After [`Room::patience`] a waiting message has another session closed
//!   with 1013: the oldest holder that made no progress for as long, later the oldest one that is
//!   too slow (`SLOW`). At most one session is closed per patience. Small requests have their own share ([`shares`]).
//! - The other direction: [`super::outbound`] bounds answers and output.

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

/// After so many times the patience, a waiting message evicts a slow holder even if that one makes
/// progress.
const STUBBORN: u32 = 5;
/// A holder is slow that needs more than so many times the patience for the rest of its message, at
/// its rate so far. Two pings, as in [`super::socket`].
const SLOW: u32 = 40;

/// A budget of bytes: see the module's documentation.
#[derive(Debug)]
pub struct Room {
    total: u64,
    patience: Duration,
    // A plain lock: held for a look into the table, never over an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    next_seat: u64,
    /// Messages in the making, the oldest first.
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

impl Room {
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
            room: self.clone(),
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
    room: Arc<Room>,
    bytes: u64,
}

impl Charge {
    /// Splits off a charge of `bytes`, or of all that is left.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = (bytes as u64).min(self.bytes);
        self.bytes -= bytes;
        Self {
            room: self.room.clone(),
            bytes,
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.room.give_back(self.bytes);
        }
    }
}

/// A message in the making, until dropped.
#[derive(Debug)]
pub struct Making {
    room: Arc<Room>,
    number: u64,
    held: u64,
}

impl Making {
    /// Creates a message that holds nothing yet. `most`: the most bytes that it may have.
    #[must_use]
    pub fn new(room: Arc<Room>, most: u64) -> Self {
        let most = most.min(room.total);
        let mut state = room.lock();
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
            room,
            number,
            held: 0,
        }
    }

    /// The length that the message may reach with its charge; unlimited once it holds the whole
    /// budget.
    #[must_use]
    pub fn allowed(&self) -> u64 {
        if self.held >= self.room.total {
            u64::MAX
        } else {
            self.held
        }
    }

    /// Grows the charge until it holds `bytes`.
    pub fn poll_grow(&mut self, bytes: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.room.lock();
        let state = &mut *state;
        let (total, used) = (self.room.total, state.used);
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
        let mut state = self.room.lock();
        if let Some(seat) = state.seats.get_mut(&self.number) {
            (seat.received, seat.moved) = (received, Instant::now());
        }
    }

    /// Whether other unfinished messages hold bytes.
    #[must_use]
    pub fn has_others(&self) -> bool {
        let state = self.room.lock();
        let mut seats = state.seats.iter();
        seats.any(|(number, seat)| *number != self.number && seat.held > 0)
    }

    /// Evicts another message, if one may be evicted. `times`: how often the patience has passed.
    pub fn press(&self, times: u32) {
        let (now, patience) = (Instant::now(), self.room.patience);
        let mut state = self.room.lock();
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
        let state = self.room.lock();
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
            room: self.room.clone(),
            bytes,
        };
        let mut state = self.room.lock();
        state.seats.remove(&self.number);
        state.release(rest);
        drop(state);
        charge
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let mut state = self.room.lock();
        if state.seats.remove(&self.number).is_some() {
            state.release(self.held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grows(making: &mut Making, bytes: u64) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        making.poll_grow(bytes, &mut cx).is_ready()
    }

    #[test]
    fn the_remaining_need_of_the_oldest_message_is_kept_free() {
        let room = Room::new(100, Duration::ZERO);
        let mut oldest = Making::new(room.clone(), 60);
        let mut second = Making::new(room.clone(), 60);
        assert!(grows(&mut oldest, 10) && grows(&mut second, 40));
        assert!(!grows(&mut second, 41), "10 + 41 + the oldest's other 50");
        assert!(grows(&mut oldest, 60));
        let charge = oldest.finish(55);
        assert_eq!(room.used(), 55 + 40);
        assert!(grows(&mut second, 45) && !grows(&mut second, 46));
        drop(charge);
        assert!(grows(&mut second, 60));
        drop(second);
        assert_eq!(room.used(), 0);
    }

    #[test]
    fn a_waiting_message_evicts_the_oldest_holder_once_per_patience() {
        let hour = Duration::from_secs(3600);
        for (patience, gone) in [(Duration::ZERO, true), (hour, false)] {
            let room = Room::new(100, patience);
            let empty = Making::new(room.clone(), 0);
            let mut first = Making::new(room.clone(), 50);
            let mut second = Making::new(room.clone(), 50);
            let mut waiter = Making::new(room.clone(), 50);
            assert!(grows(&mut first, 50) && grows(&mut second, 50) && !grows(&mut waiter, 10));
            waiter.press(1);
            assert_eq!(first.is_evicted(), gone);
            assert!(!empty.is_evicted() && !second.is_evicted() && !waiter.is_evicted());
        }
    }

    #[test]
    fn a_holder_that_will_soon_be_whole_is_never_evicted() {
        let room = Room::new(100, Duration::from_secs(3600));
        let [mut fast, mut slow, mut waiter] = [(); 3].map(|()| Making::new(room.clone(), 50));
        assert!(grows(&mut fast, 50) && grows(&mut slow, 50) && !grows(&mut waiter, 10));
        fast.moved(40);
        waiter.press(STUBBORN);
        assert!(!fast.is_evicted() && slow.is_evicted());
    }

    #[test]
    fn a_holder_that_makes_progress_is_evicted_later() {
        let room = Room::new(100, Duration::from_secs(3600));
        let mut holder = Making::new(room.clone(), 50);
        let mut waiter = Making::new(room.clone(), 100);
        assert!(grows(&mut holder, 50) && !grows(&mut waiter, 60) && waiter.has_others());
        waiter.press(STUBBORN - 1);
        assert!(!holder.is_evicted());
        waiter.press(STUBBORN);
        assert!(holder.is_evicted());
        drop(holder);
        assert!(grows(&mut waiter, 60) && !waiter.has_others());
    }

    #[test]
    fn a_request_for_more_than_the_budget_takes_the_whole_budget() {
        let room = Room::new(100, Duration::ZERO);
        let mut making = Making::new(room.clone(), 1000);
        assert!(grows(&mut making, 500));
        assert_eq!((making.allowed(), room.used()), (u64::MAX, 100));
        assert!(room.take(1).is_none());
        drop(making);
        let charge = room.take(1000).unwrap();
        assert_eq!(room.used(), 100);
        drop(charge);
        assert_eq!(room.used(), 0);
    }
}
