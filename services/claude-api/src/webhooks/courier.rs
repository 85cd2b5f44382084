//! The carrier of deliveries: the control connection to `credentials`, which signs and sends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use grants::{Delivered, Delivery};
use tokio::sync::oneshot;

use crate::credentials::{Credentials, DeliveryOutcome, NotSent};

/// Carries out deliveries, one try for each call.
pub(crate) trait Courier: Send + Sync + 'static {
    /// Sends an event once, and returns the result. `None` if nobody could try, because there is no
    /// connection to `credentials`. Dropping the future forgets the result: the event is then sent
    /// again, with the same id.
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Option<Delivered>>;
}

/// What became of an order that was given to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handover {
    /// The order is on its way, and a result follows.
    Given,
    /// The order cannot be given now.
    NotNow,
    /// The order can never be given, because it is too long.
    Never,
}

/// The function that gives an order to the connection. It does not wait.
type Give = Box<dyn Fn(Delivery) -> Handover + Send + Sync>;

/// A courier that gives orders to a connection, and gets the results apart from them.
pub(crate) struct Post {
    give: Give,
    results: Results,
}

/// The results that are awaited, by the ids of their events. At most one delivery of an event is in
/// progress, so an id is enough.
#[derive(Clone, Default)]
pub(crate) struct Results {
    // Held for one lookup or change; no await happens inside.
    awaited: Arc<Mutex<HashMap<String, oneshot::Sender<Delivered>>>>,
}

/// Removes an awaited result at the end of its delivery, also if that is dropped.
struct Awaiting<'a> {
    results: &'a Results,
    id: String,
}

impl Post {
    /// Creates the courier of a connection. The reader of the connection calls
    /// [`Results::arrived`].
    pub(crate) fn new(
        give: impl Fn(Delivery) -> Handover + Send + Sync + 'static,
        results: Results,
    ) -> Self {
        Self {
            give: Box::new(give),
            results,
        }
    }

    /// Creates the courier that gives its orders to `credentials`. A task passes on the results,
    /// until the service ends.
    pub(crate) fn of_credentials(credentials: &Credentials) -> Self {
        let results = Results::default();
        if let Some(mut outcomes) = credentials.delivery_outcomes() {
            let results = results.clone();
            tokio::spawn(async move {
                while let Some(DeliveryOutcome { id, outcome }) = outcomes.next().await {
                    results.arrived(&id, outcome);
                }
            });
        }
        let credentials = credentials.clone();
        let give = move |delivery| match credentials.deliver(delivery) {
            Ok(()) => Handover::Given,
            Err(NotSent::NotConnected | NotSent::Busy) => Handover::NotNow,
            Err(NotSent::TooLong) => Handover::Never,
        };
        Self::new(give, results)
    }

    /// Creates the courier of a service that has no connection to `credentials`: every event waits.
    pub(crate) fn without_connection() -> Self {
        Self::new(|_| Handover::NotNow, Results::default())
    }
}

impl Courier for Post {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Option<Delivered>> {
        async move {
            let id = delivery.id.clone();
            let (sender, result) = oneshot::channel();
            // Before the order is given, so that no result is earlier.
            self.results.lock().insert(id.clone(), sender);
            let awaiting = Awaiting {
                results: &self.results,
                id,
            };
            let delivered = match (self.give)(delivery) {
                Handover::Given => result.await.ok(),
                Handover::NotNow => None,
                Handover::Never => Some(Delivered::Refused {
                    reason: "the webhook is too long for the connection to credentials".to_owned(),
                }),
            };
            drop(awaiting);
            delivered
        }
        .boxed()
    }
}

impl Results {
    /// Passes on the result of a delivery. A result that nobody awaits, for example of an earlier
    /// connection, is dropped.
    pub(crate) fn arrived(&self, id: &str, delivered: Delivered) {
        if let Some(awaited) = self.lock().remove(id) {
            let _ = awaited.send(delivered);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Delivered>>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.results.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(id: &str) -> Delivery {
        Delivery {
            id: id.to_owned(),
            principal: None,
            url: "https://a/".to_owned(),
            payload: serde_json::Value::Null,
        }
    }

    #[tokio::test]
    async fn each_delivery_gets_its_own_result() {
        let results = Results::default();
        let post = Post::new(|_| Handover::Given, results.clone());
        let [mut one, mut two] = ["one", "two"].map(|id| post.deliver(delivery(id)));
        assert!(futures::poll!(&mut one).is_pending());
        assert!(futures::poll!(&mut two).is_pending());
        let failed = Delivered::Failed { reason: "x".into() };
        results.arrived("two", failed.clone());
        results.arrived("three", Delivered::Accepted);
        assert!(futures::poll!(&mut one).is_pending());
        assert_eq!(two.await, Some(failed));
        results.arrived("one", Delivered::Accepted);
        assert_eq!(one.await, Some(Delivered::Accepted));
        assert!(results.lock().is_empty());
    }

    #[tokio::test]
    async fn a_result_may_arrive_before_the_order_returns() {
        let results = Results::default();
        let reader = results.clone();
        let give = move |delivery: Delivery| {
            reader.arrived(&delivery.id, Delivered::Accepted);
            Handover::Given
        };
        let post = Post::new(give, results);
        assert_eq!(
            post.deliver(delivery("one")).await,
            Some(Delivered::Accepted)
        );
    }

    #[tokio::test]
    async fn an_order_that_is_not_given_has_no_result_and_one_that_is_too_long_is_refused() {
        assert_eq!(
            Post::without_connection().deliver(delivery("one")).await,
            None
        );
        let post = Post::new(|_| Handover::Never, Results::default());
        let delivered = post.deliver(delivery("one")).await;
        assert!(
            matches!(delivered, Some(Delivered::Refused { .. })),
            "{delivered:?}"
        );
    }

    #[tokio::test]
    async fn a_dropped_delivery_is_no_longer_awaited() {
        let results = Results::default();
        let post = Post::new(|_| Handover::Given, results.clone());
        let mut one = post.deliver(delivery("one"));
        assert!(futures::poll!(&mut one).is_pending());
        assert_eq!(results.lock().len(), 1);
        drop(one);
        assert!(results.lock().is_empty());
    }
}
