//! The carrier of deliveries: the control connection to `credentials`, which signs and sends.

use futures::future::BoxFuture;
use grants::{Delivered, Delivery};

/// Carries out deliveries, one try for each call.
pub(crate) trait Courier: Send + Sync + 'static {
    /// Sends an event once, and returns the result. `None` if nobody could try, or if the result
    /// was lost, because there is no connection to `credentials`: the event is then sent again with
    /// the same id. Dropping the future forgets the result.
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Option<Delivered>>;
}

/// The courier of a service without `credentials`: every event waits.
#[derive(Debug)]
pub(crate) struct NoCourier;

impl Courier for NoCourier {
    fn deliver(&self, _: Delivery) -> BoxFuture<'_, Option<Delivered>> {
        Box::pin(std::future::ready(None))
    }
}
