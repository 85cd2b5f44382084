//! The memory for answers and output that clients have not read. The setting `outboundBytes` limits
//! it.
//!
//! - When is it charged? When an answer exists, or when a chunk of output was read. A call to
//!   claude-api is charged with the most bytes that its answer may need, for `callMs` at most.
//! - Who waits for whom? Each session has its own floor, so no session waits for the client of
//!   another one. Beyond its floor a session uses the common part, up to [`SESSION_BYTES`]. While
//!   that is spent, the session is not read, its queued queries do not start, and its views stop
//!   reading from claude-api. A view with `onSlow: skip` drops its oldest output. A view with
//!   `wait` resumes later at its offset. A principal has at most half of the common part
//!   (`principals`).
//! - What bounds the other direction? The session of a client that reads no byte for two pings is
//!   closed, which frees its bytes. `inbound` bounds the bytes that clients send.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

/// The most bytes of unread answers and output that one session may hold (4 MiB). It is less if
/// `outboundBytes` is less.
pub const SESSION_BYTES: u64 = 4 * 1024 * 1024;
/// The least number of bytes that are reserved for each session alone (128 KiB), called its floor.
/// No other session can use them, so every client makes progress when memory is short.
const FLOOR_BYTES: u64 = 128 * 1024;

/// The memory for answers and output that clients have not read, shared by all sessions. Each
/// session has a reserved part, its floor. This type counts only the bytes beyond the floors.
#[derive(Debug)]
pub struct OutboundBudget {
    /// How much memory each session has alone, and how much all share.
    limits: OutboundLimits,
    /// The bytes that all sessions use beyond their floors. A change is announced only when the
    /// number falls below the limit again, to wake the views that wait for memory.
    used: watch::Sender<u64>,
}

/// How the memory for unread answers and output is divided: the part reserved for each session, and
/// the part that all sessions share. All values are in bytes.
#[derive(Debug, Clone, Copy)]
pub struct OutboundLimits {
    /// The most bytes that all sessions together may use beyond their floors.
    pub common: u64,
    /// The most bytes that one session may use, its floor included.
    pub session: u64,
    /// The bytes that are reserved for each session alone.
    pub floor: u64,
}

impl OutboundLimits {
    /// Divides the setting `outboundBytes` (`outbound`) into the floors of `sessions` sessions and
    /// the common part. A floor is 128 KiB, or twice `status_bytes` if that is more, so that two
    /// statuses always fit. All floors together get at most half of the memory.
    #[must_use]
    pub fn new(outbound: u64, sessions: u64, status_bytes: u64) -> Self {
        let floor = FLOOR_BYTES.max(status_bytes * 2);
        let floors = floor.saturating_mul(sessions).min(outbound / 2);
        Self {
            common: outbound - floors,
            session: SESSION_BYTES.min(outbound).max(floor * 2),
            floor,
        }
    }
}

impl OutboundBudget {
    /// Creates the unused budget with these limits.
    #[must_use]
    pub fn new(limits: OutboundLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            used: watch::Sender::new(0),
        })
    }

    /// Returns how the memory is divided between the sessions.
    #[must_use]
    pub fn limits(&self) -> OutboundLimits {
        self.limits
    }

    /// Returns the bytes that all sessions together use beyond their floors.
    #[must_use]
    pub fn used(&self) -> u64 {
        *self.used.borrow()
    }

    /// Returns true if the common part is used up. Each session may then use only its floor.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.used() >= self.limits.common
    }

    /// Changes the bytes that one session uses beyond its floor from `old` to `new`. Wakes the
    /// waiting views if the common part is no longer used up.
    fn change(&self, old: u64, new: u64) {
        self.used.send_if_modified(|used| {
            let was_short = *used >= self.limits.common;
            *used = *used - old + new;
            was_short && *used < self.limits.common
        });
    }
}

/// The bytes of unread answers and output that one session holds. The session's views wait on it
/// for free memory before they read more output from claude-api.
#[derive(Debug)]
pub struct Share {
    budget: Arc<OutboundBudget>,
    /// The part of the client's principal in the budget. `None` without a principal.
    of_principal: Option<Arc<OutboundBudget>>,
    // A plain lock, because it is held only to read or change both sums, never across an await.
    used: Mutex<u64>,
    /// Wakes the session's views when the session may buffer more again. A watch channel would do
    /// the same, but would take a twentieth of the memory of an idle session.
    freed: Notify,
}

impl Share {
    /// Creates the unused share of a new session. `of_principal` is the part of the client's
    /// principal in the budget.
    #[must_use]
    pub fn new(
        budget: Arc<OutboundBudget>,
        of_principal: Option<Arc<OutboundBudget>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            budget,
            of_principal,
            used: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Returns true if the common part of all sessions, or the part of the client's principal, is
    /// used up. The session may then use only its floor.
    #[must_use]
    pub fn is_short(&self) -> bool {
        let of_principal = self.of_principal.as_ref();
        self.budget.is_short() || of_principal.is_some_and(|part| part.is_short())
    }

    /// Returns the bytes that the session holds now, its floor included.
    #[must_use]
    pub fn used(&self) -> u64 {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if a view of the session may buffer more output. It may while the session holds
    /// less than its floor, or less than its limit and the common part is not used up.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let OutboundLimits { session, floor, .. } = self.budget.limits;
        let used = self.used();
        used < floor || (used < session && !self.is_short())
    }

    /// Waits until [`Self::has_room`] is true. Reserves no memory, so another view may use it first
    /// and the caller must check again. Cancel-safe.
    pub async fn room(&self) {
        let mut common = self.budget.used.subscribe();
        let of_principal = self.of_principal.as_ref();
        let mut of_principal = of_principal.map(|part| part.used.subscribe());
        loop {
            let mut freed = pin!(self.freed.notified());
            // Before the check, so that no wakeup is lost between the check and the wait.
            freed.as_mut().enable();
            if self.has_room() {
                return;
            }
            // The sender outlives this borrow.
            tokio::select! {
                () = freed => {}
                _ = common.changed() => {}
                () = changed(of_principal.as_mut()) => {}
            }
        }
    }

    /// Creates a charge of zero bytes for a new buffer of the session. The buffer's owner sets it
    /// to the bytes that the buffer holds.
    #[must_use]
    pub fn charge(self: &Arc<Self>) -> OutboundCharge {
        OutboundCharge {
            share: self.clone(),
            bytes: 0,
        }
    }

    /// Changes the bytes of one buffer of the session from `old` to `new`. Wakes the session's
    /// views if they may buffer more again.
    fn change(&self, old: u64, new: u64) {
        let OutboundLimits { session, floor, .. } = self.budget.limits;
        let mut guard = self.lock();
        let old_used = *guard;
        let used = old_used - old + new;
        *guard = used;
        let above_floor = |used: u64| used.saturating_sub(floor);
        if above_floor(old_used) != above_floor(used) {
            self.budget.change(above_floor(old_used), above_floor(used));
            if let Some(part) = &self.of_principal {
                part.change(above_floor(old_used), above_floor(used));
            }
        }
        drop(guard);
        let falls_below = |limit: u64| old_used >= limit && used < limit;
        if falls_below(floor) || falls_below(session) {
            self.freed.notify_waiters();
        }
    }
}

/// Waits until the part of a principal is no longer used up, and forever for `None`. Cancel-safe.
async fn changed(part: Option<&mut watch::Receiver<u64>>) {
    match part {
        // The sender lives as long as the share.
        Some(part) => drop(part.changed().await),
        None => std::future::pending().await,
    }
}

/// The bytes that one buffer of a session holds, counted until the charge is dropped. A charge
/// never fails and may exceed every limit. Its owner must check [`Share::has_room`] before it
/// buffers more.
#[derive(Debug)]
pub struct OutboundCharge {
    share: Arc<Share>,
    bytes: u64,
}

impl OutboundCharge {
    /// Changes the charge to `bytes` bytes in total. If the session may buffer more again, its
    /// waiting views are woken.
    pub fn set(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        if bytes != self.bytes {
            self.share.change(self.bytes, bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for OutboundCharge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests;
