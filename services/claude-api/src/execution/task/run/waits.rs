//! Helpers by which the loop of a running execution waits for optional work and times.

use std::time::{Duration, Instant};

use spool::blocking::Work;
use tokio::sync::watch;

/// A measurement of the CPU time of a process tree: when it was taken, and the time used until
/// then.
pub(super) type Sample = (Instant, Duration);

/// Waits for work on a blocking thread. Returns its result, or `None` if it panicked. Waits forever
/// if there is no work. Cancel safe.
pub(super) async fn finished<T: Send + 'static>(work: &mut Option<Work<T>>) -> Option<T> {
    match work {
        Some(work) => work.answer().await.ok(),
        None => std::future::pending().await,
    }
}

/// Waits for the next change of a value, and returns the new one. Waits forever if there is no
/// value, or no further change. Cancel safe.
pub(super) async fn changed<T: Copy>(value: &mut Option<watch::Receiver<T>>) -> T {
    if let Some(receiver) = value
        && receiver.changed().await.is_ok()
    {
        return *receiver.borrow_and_update();
    }
    // Without a sender, each call would return at once.
    *value = None;
    std::future::pending().await
}

/// Sleeps until `at`; sleeps forever if it is `None`. Cancel safe.
pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
