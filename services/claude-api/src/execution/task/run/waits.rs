//! Waits of the loop of a running execution, other than for its pipes.

use std::time::{Duration, Instant};

use spool::blocking::Work;

/// The time of a sample, and the CPU time that the tree had used then.
pub(super) type Sample = (Instant, Duration);

/// Waits for the result of work on a blocking thread; `None` when the work panicked. Pends forever
/// without work. Cancel safe.
pub(super) async fn finished<T: Send + 'static>(work: &mut Option<Work<T>>) -> Option<T> {
    match work {
        Some(work) => work.answer().await.ok(),
        None => std::future::pending().await,
    }
}

/// Sleeps until `at`; forever if it is `None`. Cancel safe.
pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
