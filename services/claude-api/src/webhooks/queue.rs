//! The queue itself: the ledgers in memory and on disk.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use protocol::webhook::{WebhookOutcome, WebhookStatus};
use protocol::{ExecutionId, Status};
use tokio::sync::watch;

use super::ledger::{AttemptResult, Ledger};
use super::store::Store;
use super::table::{DueEvent, Table, TooManyLedgers};

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

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a receiver that changes when [`Self::take_due`] may return more events.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn notify(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Adds the ledger of a new execution, in memory.
    ///
    /// # Errors
    /// There are too many ledgers, of all principals or of this one, and not `may_exceed`.
    pub(super) fn add(&self, ledger: Ledger, may_exceed: bool) -> Result<(), TooManyLedgers> {
        self.table().add(ledger, may_exceed)
    }

    /// Writes the ledger of a new execution. It is on disk when this returns. Blocks on the disk.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub(super) fn write(&self, id: ExecutionId) -> io::Result<()> {
        let encoded = self.table().ledger(id).map(Ledger::encode);
        encoded.map_or(Ok(()), |encoded| self.store.write(id, &encoded))
    }

    /// Returns whether an execution has a ledger.
    pub(crate) fn has(&self, id: ExecutionId) -> bool {
        self.table().ledger(id).is_some()
    }

    /// Returns the results of an execution's events so far. `None` without a ledger: then the
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

    /// Adds the event `question` of an execution that has begun to wait for a person, if the client
    /// asked for it. A failed write is logged. Blocks on the disk.
    pub(crate) fn asking(&self, status: &Status, now: Timestamp) {
        self.change(status.execution_id, |ledger| ledger.ask(status, now));
    }

    /// Adds the event `ended` of an execution whose terminal status is on disk, if the client asked
    /// for it. A repeated call has no effect. A failed write is logged, and the next start repeats
    /// it. Blocks on the disk.
    pub(crate) fn ended(&self, status: &Status, now: Timestamp) {
        self.change(status.execution_id, |ledger| ledger.end(status, now));
    }

    /// Records that an execution is gone, so that no further event follows. Events that exist are
    /// still delivered. Blocks on the disk.
    pub(crate) fn gone(&self, id: ExecutionId) {
        self.change(id, Ledger::close);
    }

    /// Changes a ledger in memory and on disk. A write that fails is logged: the queue in memory
    /// stays correct, and a start recovers what the disk has.
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

    /// Takes the events that are due at `now` and within the bounds of deliveries, oldest first.
    /// Also returns when the next event is due. [`Self::land`] frees the place of each.
    pub(super) fn take_due(&self, now: Timestamp) -> (Vec<DueEvent>, Option<Timestamp>) {
        self.table().take_due(now)
    }

    /// Frees the place of a delivery.
    pub(super) fn land(&self, event: &DueEvent) {
        self.table().land(event);
        self.notify();
    }

    /// Writes the result of a delivery to the ledger, and returns the outcome for the event. `None`
    /// if it did not change. Blocks on the disk.
    pub(super) fn settle(
        &self,
        event: &DueEvent,
        result: AttemptResult,
        now: Timestamp,
    ) -> Option<WebhookOutcome> {
        if result == AttemptResult::NotMade && !self.table().is_late(event, now) {
            // Nothing changes, so nothing is written.
            return None;
        }
        let mut outcome = None;
        self.change(event.execution, |ledger| {
            outcome = ledger.settle(&event.delivery.id, result, now);
        });
        outcome
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
        self.notify();
        if let Err(error) = self.store.remove(id) {
            tracing::warn!(
                execution = %id,
                %error,
                "could not remove settled webhook events; the next start retries"
            );
        }
    }
}
