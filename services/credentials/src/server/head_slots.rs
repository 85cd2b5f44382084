//! The connections whose request has not arrived yet. They are limited, because they need no grant.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::{CancellationToken, DropGuard};

/// The most connections that wait for the head of their request. Each takes up to 32 KiB.
const SLOTS: usize = 256;

/// The slots of connections that wait for a head. Clones share them. A new connection never waits
/// for a slot: if all are taken, the oldest connection is closed.
#[derive(Debug, Clone, Default)]
pub(super) struct HeadSlots(
    /// The connections, the oldest first; those that have left are removed when all slots are
    /// taken. A lock, held for a push; no await happens under it.
    Arc<Mutex<VecDeque<Waiting>>>,
);

#[derive(Debug)]
struct Waiting {
    close: CancellationToken,
    left: CancellationToken,
}

/// A slot. Dropping it makes room for another connection.
#[derive(Debug)]
pub(super) struct HeadSlot {
    close: CancellationToken,
    _left: DropGuard,
}

impl HeadSlots {
    /// Takes a slot for a new connection.
    pub(super) fn take(&self) -> HeadSlot {
        let (close, left) = (CancellationToken::new(), CancellationToken::new());
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() == SLOTS {
            waiting.retain(|waiting| !waiting.left.is_cancelled());
        }
        if waiting.len() == SLOTS
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.close.cancel();
        }
        waiting.push_back(Waiting {
            close: close.clone(),
            left: left.clone(),
        });
        HeadSlot {
            close,
            _left: left.drop_guard(),
        }
    }
}

impl HeadSlot {
    /// Waits until the connection must close. Cancel-safe.
    pub(super) async fn must_close(&self) {
        self.close.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_connection_that_waits_is_closed() {
        let slots = HeadSlots::default();
        let mut taken: Vec<_> = (0..SLOTS).map(|_| slots.take()).collect();
        drop(taken.remove(0));
        taken.push(slots.take());
        assert!(!taken.iter().any(|slot| slot.close.is_cancelled()));
        let _newest = slots.take();
        let closed = taken.iter().filter(|slot| slot.close.is_cancelled());
        assert_eq!(closed.count(), 1);
        assert!(taken[0].close.is_cancelled());
    }
}
