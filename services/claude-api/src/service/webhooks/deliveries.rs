//! The task that delivers the events of webhooks.

use std::sync::Arc;
use std::time::Duration;

use grants::Delivered;
use jiff::Timestamp;
use protocol::webhook::WebhookOutcome;
use tokio_util::task::TaskTracker;

use crate::service::Service;
use crate::webhooks::{Courier, Due, Flight};

/// The maximum time between two checks of the queue. The wall clock may be set meanwhile, so a
/// longer sleep could miss an event.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// The pause after a delivery that was not attempted, because `credentials` is not connected. The
/// delivery keeps its place meanwhile.
const AWAY_PAUSE: Duration = Duration::from_secs(2);
/// The maximum wait for the result of a delivery. `credentials` needs 10 s at most; a later result
/// is lost.
const RESULT_WAIT: Duration = Duration::from_secs(30);
/// The maximum wait of a stop for the results of deliveries in progress. If a result is not known
/// by then, the next start sends the event again, with the same id.
const LAST_RESULTS: Duration = Duration::from_secs(1);

/// The source of the present time.
pub(super) type Clock = fn() -> Timestamp;

/// The task that delivers the events of webhooks, and the deliveries that it has started.
#[derive(Clone)]
pub(super) struct Deliveries {
    pub(super) service: Arc<Service>,
    courier: Arc<dyn Courier>,
    pub(super) clock: Clock,
    pub(super) tasks: TaskTracker,
}

impl Deliveries {
    /// Creates the task.
    pub(super) fn new(service: Arc<Service>, courier: Arc<dyn Courier>, clock: Clock) -> Self {
        Self {
            service,
            courier,
            clock,
            tasks: TaskTracker::new(),
        }
    }

    /// Delivers events until the service stops.
    pub(super) async fn run(self) {
        let mut changes = self.service.engine.webhooks.changes();
        loop {
            changes.borrow_and_update();
            let next = self.start_due();
            let until_next = next.map(|next| next.duration_since((self.clock)()));
            let wait = until_next.and_then(|wait| Duration::try_from(wait).ok());
            tokio::select! {
                biased;
                () = self.service.stopping() => break,
                _ = changes.changed() => {}
                () = tokio::time::sleep(wait.unwrap_or(LOOK_INTERVAL).min(LOOK_INTERVAL)) => {}
            }
        }
        self.tasks.close();
        let _ = tokio::time::timeout(LAST_RESULTS, self.tasks.wait()).await;
    }

    /// Starts the deliveries that are due, and returns when the next one is.
    pub(super) fn start_due(&self) -> Option<Timestamp> {
        let Due { flights, next } = Due::take(&self.service.engine.webhooks, (self.clock)());
        for flight in flights {
            self.tasks.spawn(self.clone().deliver(flight));
        }
        next
    }

    /// Delivers one event, and records the result.
    async fn deliver(self, flight: Flight) {
        let (id, attempt) = (flight.execution(), flight.attempt());
        let delivery = flight.delivery();
        let event = delivery.id.clone();
        let result = tokio::time::timeout(RESULT_WAIT, self.courier.deliver(delivery)).await;
        let delivered = result.ok().flatten();
        if delivered.is_none() {
            tokio::select! {
                () = self.service.stopping() => return,
                () = tokio::time::sleep(AWAY_PAUSE) => {}
            }
        }
        let (service, clock) = (Arc::clone(&self.service), self.clock);
        let reason = match &delivered {
            Some(Delivered::Failed { reason } | Delivered::Refused { reason }) => reason.clone(),
            Some(Delivered::Accepted) => String::new(),
            None => "credentials is not connected".to_owned(),
        };
        let settled = spool::blocking::run(move || {
            let settled = flight.settle(delivered.as_ref(), clock());
            service.complete_webhook(id);
            settled
        });
        let Ok(Some(settled)) = settled.await else {
            return;
        };
        let metrics = &self.service.engine.metrics;
        metrics.webhook(settled.event, settled.outcome);
        match settled.outcome {
            WebhookOutcome::Accepted => {
                tracing::info!(execution = %id, event, attempt, "delivered a webhook");
            }
            WebhookOutcome::Failed => tracing::info!(
                execution = %id, event, attempt, reason,
                "could not deliver a webhook; retrying later"
            ),
            WebhookOutcome::Refused | WebhookOutcome::Expired => tracing::warn!(
                execution = %id, event, attempt, reason,
                "gave up a webhook; it was not delivered"
            ),
        }
    }
}
