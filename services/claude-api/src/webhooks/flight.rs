//! Deliveries in progress.

use std::sync::Arc;

use grants::{Delivered, Delivery};
use jiff::Timestamp;
use protocol::ExecutionId;
use protocol::webhook::{WebhookEvent, WebhookOutcome};

use super::ledger::AttemptResult;
use super::queue::Webhooks;
use super::retry::delay;
use super::table::DueEvent;

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

impl Due {
    /// Takes the events that are due at `now` and within the bounds of deliveries, oldest first.
    pub(crate) fn take(webhooks: &Arc<Webhooks>, now: Timestamp) -> Self {
        let (events, next) = webhooks.take_due(now);
        let flight = |event| Flight {
            webhooks: Arc::clone(webhooks),
            event,
        };
        Self {
            flights: events.into_iter().map(flight).collect(),
            next,
        }
    }
}

impl Flight {
    /// Returns the execution of the event.
    pub(crate) fn execution(&self) -> ExecutionId {
        self.event.execution
    }

    /// Returns the number of this attempt: 1 for the first.
    pub(crate) fn attempt(&self) -> u32 {
        self.event.tries + 1
    }

    /// Returns the order for the courier.
    pub(crate) fn delivery(&self) -> Delivery {
        self.event.delivery.clone()
    }

    /// Writes the result of the delivery to the ledger, and frees the place of the delivery. `None`
    /// means that no attempt was made. Returns the result, or `None` if the event did not change.
    /// Blocks on the disk.
    pub(crate) fn settle(self, delivered: Option<&Delivered>, now: Timestamp) -> Option<Settled> {
        let result = match delivered {
            Some(Delivered::Accepted) => AttemptResult::Accepted,
            Some(Delivered::Failed { .. }) => AttemptResult::Failed(delay(self.attempt())),
            Some(Delivered::Refused { .. }) => AttemptResult::Refused,
            None => AttemptResult::NotMade,
        };
        let outcome = self.webhooks.settle(&self.event, result, now)?;
        Some(Settled {
            event: self.event.kind,
            outcome,
        })
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.webhooks.land(&self.event);
    }
}
