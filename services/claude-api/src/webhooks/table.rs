//! All ledgers in memory, and the choice of the events that are delivered next. A pure value.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use grants::Delivery;
use jiff::{SignedDuration, Timestamp};
use protocol::ExecutionId;
use protocol::webhook::WebhookEvent;

use super::ledger::{Ledger, PendingEvent};
use super::places::Places;
use super::retry::LONGEST_WITH_JITTER;

/// The maximum number of ledgers. A ledger is usually about 1 KiB, and at most 15 KiB with the
/// maximum of metadata, so that all of them use at most 64 MiB.
pub(crate) const LEDGERS_MAX: usize = 4096;
/// The maximum number of ledgers of one principal, a quarter of all. Without tokens everybody is
/// one principal, which may have all.
const PRINCIPAL_LEDGERS_MAX: usize = LEDGERS_MAX / 4;

/// The error for an execution with a webhook when too many ledgers exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many executions with webhooks have not ended or wait for their receivers")]
pub(crate) struct TooManyLedgers;

/// All ledgers, and the deliveries in progress.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: HashMap<ExecutionId, Slot>,
    by_principal: HashMap<String, usize>,
    places: Places,
}

/// One ledger.
#[derive(Debug)]
struct Slot {
    ledger: Ledger,
    /// Host and port of the receiver.
    host: String,
    /// The lock of the ledger's file. It is held on blocking threads, while the file is written.
    write_lock: Arc<Mutex<()>>,
    /// The ids of the events that are being delivered.
    in_flight: HashSet<String>,
}

/// An event whose delivery is in progress.
#[derive(Debug)]
pub(super) struct DueEvent {
    /// The execution.
    pub(super) execution: ExecutionId,
    /// The kind of the event.
    pub(super) kind: WebhookEvent,
    /// The number of failed attempts so far.
    pub(super) tries: u32,
    /// The order for the courier.
    pub(super) delivery: Delivery,
    host: String,
}

impl Table {
    /// Adds the ledger of a new execution.
    pub(super) fn add(&mut self, ledger: Ledger, may_exceed: bool) -> Result<(), TooManyLedgers> {
        let of_principal = match &ledger.principal {
            Some(principal) => self.by_principal.get(principal).copied().unwrap_or(0),
            None => 0,
        };
        let is_full = self.slots.len() >= LEDGERS_MAX || of_principal >= PRINCIPAL_LEDGERS_MAX;
        if is_full && !may_exceed {
            return Err(TooManyLedgers);
        }
        self.restore(ledger);
        Ok(())
    }

    /// Adds a ledger that was read from the disk.
    pub(super) fn restore(&mut self, ledger: Ledger) {
        if let Some(principal) = &ledger.principal {
            *self.by_principal.entry(principal.clone()).or_default() += 1;
        }
        let slot = Slot {
            host: ledger.host(),
            write_lock: Arc::default(),
            in_flight: HashSet::new(),
            ledger,
        };
        self.slots.insert(slot.ledger.execution_id, slot);
    }

    /// Removes the ledger of an execution.
    pub(super) fn remove(&mut self, id: ExecutionId) {
        let Some(slot) = self.slots.remove(&id) else {
            return;
        };
        if let Some(principal) = &slot.ledger.principal
            && let Some(count) = self.by_principal.get_mut(principal)
        {
            *count -= 1;
            if *count == 0 {
                self.by_principal.remove(principal);
            }
        }
    }

    /// Returns the ledger of an execution.
    pub(super) fn ledger(&self, id: ExecutionId) -> Option<&Ledger> {
        self.slots.get(&id).map(|slot| &slot.ledger)
    }

    /// Returns the ledger of an execution, to change it.
    pub(super) fn ledger_mut(&mut self, id: ExecutionId) -> Option<&mut Ledger> {
        self.slots.get_mut(&id).map(|slot| &mut slot.ledger)
    }

    /// Returns the lock that a writer of the ledger's file holds.
    pub(super) fn write_lock(&self, id: ExecutionId) -> Option<Arc<Mutex<()>>> {
        self.slots.get(&id).map(|slot| Arc::clone(&slot.write_lock))
    }

    /// Returns the number of events that are not settled.
    pub(super) fn pending(&self) -> usize {
        let slots = self.slots.values();
        slots.map(|slot| slot.ledger.pending.len()).sum()
    }

    /// Returns the executions that have not ended, as far as the ledgers know.
    pub(super) fn open_executions(&self) -> Vec<ExecutionId> {
        self.executions(Ledger::is_open)
    }

    /// Returns the executions of the ledgers that have nothing left to do.
    pub(super) fn completed(&self) -> Vec<ExecutionId> {
        self.executions(Ledger::is_complete)
    }

    fn executions(&self, filter: impl Fn(&Ledger) -> bool) -> Vec<ExecutionId> {
        let slots = self.slots.iter();
        let chosen = slots.filter(|(_, slot)| filter(&slot.ledger));
        chosen.map(|(id, _)| *id).collect()
    }

    /// Takes places for the events that are due at `now`, the longest due first. Returns those that
    /// got one, and when the next event is due.
    pub(super) fn take_due(&mut self, now: Timestamp) -> (Vec<DueEvent>, Option<Timestamp>) {
        let mut due = Vec::new();
        let mut next = None::<Timestamp>;
        for (id, slot) in &self.slots {
            for event in &slot.ledger.pending {
                if slot.in_flight.contains(&event.id) {
                    continue;
                }
                if is_due(event, now) {
                    due.push((event.next_try, *id, event.id.clone()));
                } else {
                    next = Some(next.map_or(event.next_try, |next| next.min(event.next_try)));
                }
            }
        }
        due.sort_unstable();
        let due = due.into_iter();
        let started = due.filter_map(|(_, id, event)| self.start(id, &event));
        (started.collect(), next)
    }

    /// Takes a place for the delivery of an event, if there is one.
    fn start(&mut self, id: ExecutionId, event: &str) -> Option<DueEvent> {
        let slot = self.slots.get_mut(&id)?;
        let principal = &slot.ledger.principal;
        let event = slot.ledger.pending.iter().find(|other| other.id == event)?;
        if !self.places.start(principal, &slot.host) {
            return None;
        }
        slot.in_flight.insert(event.id.clone());
        Some(DueEvent {
            execution: id,
            kind: event.kind,
            tries: event.tries,
            host: slot.host.clone(),
            delivery: Delivery {
                id: event.id.clone(),
                principal: principal.clone(),
                url: slot.ledger.url().to_owned(),
                payload: event.payload.clone(),
            },
        })
    }

    /// Frees the place of a delivery.
    pub(super) fn land(&mut self, event: &DueEvent) {
        self.places.end(&event.delivery.principal, &event.host);
        if let Some(slot) = self.slots.get_mut(&event.execution) {
            slot.in_flight.remove(&event.delivery.id);
        }
    }

    /// Returns whether the lifetime of an event is over.
    pub(super) fn is_late(&self, event: &DueEvent, now: Timestamp) -> bool {
        let ledger = self.ledger(event.execution);
        let mut pending = ledger.into_iter().flat_map(|ledger| &ledger.pending);
        pending.any(|pending| pending.id == event.delivery.id && pending.is_late(now))
    }
}

/// Returns whether an event is due. A time later than any delay was written before the clock was
/// set back; such an event is due at once.
fn is_due(event: &PendingEvent, now: Timestamp) -> bool {
    let longest = SignedDuration::try_from(LONGEST_WITH_JITTER).unwrap_or(SignedDuration::MAX);
    event.next_try <= now || event.next_try.duration_since(now) > longest
}

#[cfg(test)]
mod tests;
