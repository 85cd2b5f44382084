//! What the loop of a running execution waits for beside its pipes.

use std::time::{Duration, Instant};

use spool::blocking::Work;

/// The CPU time that a tree had used, and when it was looked at.
pub(super) type Sample = (Instant, Duration);

/// Waits for the result of work on a blocking thread; `None` when the work panicked. Pends forever
/// without work. Cancel safe.
pub(super) async fn finished<T: Send + 'static>(work: &mut Option<Work<T>>) -> Option<T> {
    match work {
        Some(work) => work.answer().await.ok(),
        None => std::future::pending().await,
    }
}

pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
