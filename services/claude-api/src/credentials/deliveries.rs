//! The webhooks that `credentials` sends: which of them have no result yet, and the results.

use std::collections::HashSet;

use grants::{Delivered, Delivery, LINE_BYTES, Order, to_line};
use tokio::sync::mpsc;

/// The maximum number of webhooks without a result. It bounds the memory for their payloads.
const IN_FLIGHT: usize = 64;
/// The maximum number of results that their reader has not read. A result beyond it is lost, and
/// its webhook is sent again.
const UNREAD: usize = 4 * IN_FLIGHT;

/// The reason why a webhook was not given to `credentials`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotSent {
    /// `credentials` is not connected. A later attempt may succeed.
    #[error("the service credentials is not connected")]
    NotConnected,
    /// Too many webhooks have no result yet. A later attempt may succeed.
    #[error("{IN_FLIGHT} webhooks are being sent; wait until one has a result")]
    Busy,
    /// The webhook is longer than a line of the connection. No later attempt can succeed.
    #[error("the webhook is longer than {LINE_BYTES} bytes")]
    TooLong,
}

/// The result of one attempt to send a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeliveryOutcome {
    /// The id of the event.
    pub(crate) id: String,
    /// The result. After the loss of the connection this is `Failed`, although the receiver may
    /// have accepted the webhook. If so, a second outcome may follow on the next connection.
    pub(crate) outcome: Delivered,
}

/// The results of webhooks, in the order of their arrival.
#[derive(Debug)]
pub(crate) struct DeliveryOutcomes {
    receiver: mpsc::Receiver<DeliveryOutcome>,
}

impl DeliveryOutcomes {
    /// Waits for the next result. `None` when the service ends. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<DeliveryOutcome> {
        self.receiver.recv().await
    }
}

/// The webhooks that were given to `credentials`, and the channel of their results.
#[derive(Debug)]
pub(super) struct Deliveries {
    /// The ids of the events without a result on the present connection.
    in_flight: HashSet<String>,
    outcomes: mpsc::Sender<DeliveryOutcome>,
    /// The reader's end, until the reader takes it.
    unclaimed: Option<mpsc::Receiver<DeliveryOutcome>>,
}

impl Default for Deliveries {
    fn default() -> Self {
        let (outcomes, receiver) = mpsc::channel(UNREAD);
        Self {
            in_flight: HashSet::new(),
            outcomes,
            unclaimed: Some(receiver),
        }
    }
}

impl Deliveries {
    /// Returns the order for a webhook, which counts as in flight from now on.
    ///
    /// # Errors
    /// Too many webhooks are in flight, or this one is too long.
    pub(super) fn begin(&mut self, delivery: Delivery) -> Result<Order, NotSent> {
        if self.in_flight.len() >= IN_FLIGHT {
            return Err(NotSent::Busy);
        }
        let id = delivery.id.clone();
        let order = Order::Deliver(delivery);
        if to_line(&order).len() > LINE_BYTES {
            return Err(NotSent::TooLong);
        }
        self.in_flight.insert(id);
        Ok(order)
    }

    /// Passes a result on to the reader. The webhook may be of an earlier connection.
    pub(super) fn end(&mut self, id: String, outcome: Delivered) {
        self.in_flight.remove(&id);
        if self
            .outcomes
            .try_send(DeliveryOutcome { id, outcome })
            .is_err()
        {
            tracing::warn!("dropped the result of a webhook that nobody read; it is sent again");
        }
    }

    /// Ends all webhooks in flight as failed, because their connection has ended.
    pub(super) fn lose(&mut self) {
        for id in std::mem::take(&mut self.in_flight) {
            let reason = "the connection to the service credentials was lost".to_owned();
            self.end(id, Delivered::Failed { reason });
        }
    }

    /// Returns the reader's end; `None` if it was taken before.
    pub(super) fn take_outcomes(&mut self) -> Option<DeliveryOutcomes> {
        let receiver = self.unclaimed.take()?;
        Some(DeliveryOutcomes { receiver })
    }
}
