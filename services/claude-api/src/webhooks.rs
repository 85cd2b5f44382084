//! The durable queue of webhook events.
//!
//! ```text
//! acceptance ─▶ subscribe ─┐
//! stall ──────▶ stalled ───┤
//! end ────────▶ ended ─────┤
//!                          ▼
//!                  ledger of the execution ◀─ settle ─┐
//!                 (memory and SPOOL/webhooks)         │
//!                          │                          │
//!                          └─▶ take_due ─▶ Flight ─▶ courier
//! ```
//!
//! Each execution with a webhook has one ledger, which is a file in a folder of its own. So neither
//! retention nor a client's DELETE of the execution ends a delivery: the ledger lives until every
//! event was delivered or given up, which is at most a day after the event.
//!
//! A crash at any point neither loses nor doubles an event, because its id follows from the
//! execution, the kind of the event and its number:
//!
//! 1. The ledger is on disk before the execution is accepted. A start removes a ledger whose
//!    execution does not exist.
//! 2. The end of the execution is recorded.
//! 3. The event `ended` is written to the ledger, before the end is published. A start adds it to
//!    each ledger whose execution has ended without it.
//! 4. The event is sent. If its result is not written, a start sends the event again with the same
//!    id, by which the receiver recognises it.
//! 5. The counts are added to the terminal status, and the ledger is removed.
//!
//! An event `stalled` is written when the stall is noticed. A crash before that write loses it: the
//! execution is then interrupted, which `ended` reports.
//!
//! Bounds: at most 4096 ledgers, of which one principal may have 1024 (see `table`). A further
//! execution with a webhook is refused; nobody waits. Each
//! ledger has at most one event of each kind that is not settled. `Flights` bounds the deliveries
//! in progress.

mod courier;
mod flights;
mod ledger;
mod retry;
mod store;
mod table;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use grants::{Delivered, Delivery};
use jiff::Timestamp;
use protocol::webhook::{WebhookEvent, WebhookOutcome, WebhookStatus};
use protocol::{ExecutionId, Status, Webhook};
use tokio::sync::watch;

pub(crate) use courier::{Courier, Post};
use ledger::{Ledger, Result};
use store::Store;
#[cfg(test)]
pub(crate) use table::LEDGERS_MAX;
pub(crate) use table::TooManyLedgers;
use table::{DueEvent, Table};

/// The queue of webhook events of all executions. The methods that change a ledger write it, and
/// block on the disk.
#[derive(Debug)]
pub(crate) struct Webhooks {
    store: Store,
    // Held for lookups and changes in memory; no disk access and no await happens inside.
    table: Mutex<Table>,
    /// The number of changes after which [`Self::take_due`] may return more events.
    changes: watch::Sender<u64>,
}

/// The place of a new execution in the queue of webhooks. Dropping it removes the ledger again,
/// unless the execution was accepted ([`Self::keep`]).
#[derive(Debug)]
#[must_use]
pub(crate) struct Subscription {
    webhooks: Arc<Webhooks>,
    /// The execution; `None` once the subscription is kept.
    id: Option<ExecutionId>,
}

/// A delivery in progress. Dropping it frees its place in the bounds of deliveries.
#[derive(Debug)]
#[must_use]
pub(crate) struct Flight {
    webhooks: Arc<Webhooks>,
    event: DueEvent,
}

/// The events to deliver now.
#[derive(Debug)]
pub(crate) struct Due {
    /// The deliveries to start.
    pub(crate) flights: Vec<Flight>,
    /// When the next event is due. `None` if only a change can make one due.
    pub(crate) next: Option<Timestamp>,
}

/// The result of a delivery, after it was written to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The event.
    pub(crate) event: WebhookEvent,
    /// Its result.
    pub(crate) outcome: WebhookOutcome,
}

impl Webhooks {
    /// Opens the folder of ledgers, and reads those of an earlier run. A missing folder is created
    /// with mode 0700. A damaged ledger is logged and removed. Blocks on the disk.
    ///
    /// # Errors
    /// The folder cannot be created or listed.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Arc<Self>> {
        let (store, ledgers) = Store::open(dir)?;
        let mut table = Table::default();
        for ledger in ledgers {
            table.restore(ledger);
        }
        Ok(Arc::new(Self {
            store,
            table: Mutex::new(table),
            changes: watch::Sender::new(0),
        }))
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a receiver that changes when [`Self::take_due`] may return more events.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn notify(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Adds the ledger of a new execution, in memory. [`Subscription::write`] puts it on disk.
    ///
    /// # Errors
    /// There are too many ledgers, of all principals or of this one. With `may_exceed`, the bounds
    /// do not apply; a policy's continuation uses that, because nobody could repeat it.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        id: ExecutionId,
        principal: Option<&str>,
        webhook: &Webhook,
        may_exceed: bool,
    ) -> std::result::Result<Subscription, TooManyLedgers> {
        let ledger = Ledger::new(id, principal, webhook);
        self.table().add(ledger, may_exceed)?;
        Ok(Subscription {
            webhooks: Arc::clone(self),
            id: Some(id),
        })
    }

    /// Returns whether an execution has a ledger.
    pub(crate) fn has(&self, id: ExecutionId) -> bool {
        self.table().ledger(id).is_some()
    }

    /// Returns what became of an execution's events so far. `None` without a ledger: then the
    /// status on disk is up to date.
    pub(crate) fn status(&self, id: ExecutionId) -> Option<WebhookStatus> {
        self.table().ledger(id).map(Ledger::status)
    }

    /// Returns the number of events that wait for their delivery or its result.
    pub(crate) fn pending(&self) -> usize {
        self.table().pending()
    }

    /// Returns the executions whose ledgers still wait for their end.
    pub(crate) fn open_executions(&self) -> Vec<ExecutionId> {
        self.table().open_executions()
    }

    /// Adds the event `stalled` of an execution that has stalled, if the client asked for it. A
    /// failed write is logged. Blocks on the disk.
    pub(crate) fn stalled(&self, status: &Status, now: Timestamp) {
        self.change(status.execution_id, |ledger| ledger.stall(status, now));
    }

    /// Adds the event `ended` of an execution whose terminal status is on disk, if the client asked
    /// for it. A repeated call has no effect. A failed write is logged, and the next start repeats
    /// it. Blocks on the disk.
    pub(crate) fn ended(&self, status: &Status, now: Timestamp) {
        self.change(status.execution_id, |ledger| ledger.end(status, now));
    }

    /// Notes that an execution is gone, so that no further event follows. Events that exist are
    /// still delivered. Blocks on the disk.
    pub(crate) fn gone(&self, id: ExecutionId) {
        self.change(id, Ledger::close);
    }

    /// Changes a ledger in memory and on disk. A write that fails is logged: the queue in memory is
    /// right, and a start recovers what it can.
    fn change(&self, id: ExecutionId, change: impl FnOnce(&mut Ledger)) {
        let Some(lock) = self.table().write_lock(id) else {
            return;
        };
        // One writer of a file at a time, so that an older version never replaces a newer one.
        let _writing = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let encoded = {
            let mut table = self.table();
            let Some(ledger) = table.ledger_mut(id) else {
                return;
            };
            change(ledger);
            ledger.encode()
        };
        self.notify();
        if let Err(error) = self.store.write(id, &encoded) {
            tracing::error!(
                execution = %id,
                %error,
                "could not write the webhook events of an execution; a restart may send some again"
            );
        }
    }

    /// Returns the events that are due at `now` and within the bounds of deliveries, oldest first.
    pub(crate) fn take_due(self: &Arc<Self>, now: Timestamp) -> Due {
        let (events, next) = self.table().take_due(now);
        let flight = |event| Flight {
            webhooks: Arc::clone(self),
            event,
        };
        Due {
            flights: events.into_iter().map(flight).collect(),
            next,
        }
    }

    /// Returns the final state of a ledger whose execution has ended and whose events are all
    /// settled. The caller adds it to the terminal status, then calls [`Self::remove`].
    pub(crate) fn complete(&self, id: ExecutionId) -> Option<WebhookStatus> {
        let table = self.table();
        let ledger = table.ledger(id).filter(|ledger| ledger.is_complete());
        ledger.map(Ledger::status)
    }

    /// Returns the executions of all ledgers for which [`Self::complete`] has a result.
    pub(crate) fn completed(&self) -> Vec<ExecutionId> {
        self.table().completed()
    }

    /// Removes a ledger. A file that cannot be removed is logged; the next start removes it. Blocks
    /// on the disk.
    pub(crate) fn remove(&self, id: ExecutionId) {
        let Some(lock) = self.table().write_lock(id) else {
            return;
        };
        let _writing = lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.table().remove(id);
        if let Err(error) = self.store.remove(id) {
            tracing::warn!(
                execution = %id,
                %error,
                "could not remove the settled webhook events of an execution; the next start does"
            );
        }
    }
}

impl Subscription {
    /// Writes the ledger. It is on disk when this returns. Blocks on the disk.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub(crate) fn write(&self) -> io::Result<()> {
        let Some(id) = self.id else { return Ok(()) };
        let encoded = self.webhooks.table().ledger(id).map(Ledger::encode);
        encoded.map_or(Ok(()), |encoded| self.webhooks.store.write(id, &encoded))
    }

    /// Keeps the ledger, because the execution was accepted.
    pub(crate) fn keep(mut self) {
        self.id = None;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.webhooks.remove(id);
        }
    }
}

impl Flight {
    /// Returns the execution of the event.
    pub(crate) fn execution(&self) -> ExecutionId {
        self.event.execution
    }

    /// Returns the number of this try: 1 for the first.
    pub(crate) fn attempt(&self) -> u32 {
        self.event.tries + 1
    }

    /// Returns the order for the courier.
    pub(crate) fn delivery(&self) -> Delivery {
        self.event.delivery.clone()
    }

    /// Writes the result of the delivery to the ledger, and frees the place of the delivery. `None`
    /// is a delivery that nobody could carry out: it does not count as a try. Returns the result,
    /// or `None` if the event stays as it was. Blocks on the disk.
    pub(crate) fn settle(self, delivered: Option<&Delivered>, now: Timestamp) -> Option<Settled> {
        let result = match delivered {
            Some(Delivered::Accepted) => Result::Accepted,
            Some(Delivered::Failed { .. }) => Result::Failed(retry::delay(self.attempt())),
            Some(Delivered::Refused { .. }) => Result::Refused,
            None => Result::NotTried,
        };
        let (event, kind) = (&self.event.delivery.id, self.event.kind);
        if result == Result::NotTried && !self.webhooks.table().is_late(&self.event, now) {
            // Nothing changes, so nothing is written.
            return None;
        }
        let mut outcome = None;
        self.webhooks.change(self.event.execution, |ledger| {
            outcome = ledger.settle(event, result, now);
        });
        outcome.map(|outcome| Settled {
            event: kind,
            outcome,
        })
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.webhooks.table().land(&self.event);
        self.webhooks.notify();
    }
}

#[cfg(test)]
mod tests;
