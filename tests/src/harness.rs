//! Starts the services as real processes on free ports, with their own directories, and checks what
//! they leave behind.
//!
//! ```text
//! let stack = Stack::start().await;          // claude-api with the stand-in, and a bridge
//! let mut client = stack.client().await;     // the strict WebSocket client
//! let (output, status) = client.run("@say hello").await;
//! stack.assert_nothing_left(&id).await;
//! stack.assert_quiet();                                   // no error-level log line
//! ```
//!
//! A service is ready when it has logged `listening` with the field `addr`; nothing sleeps. A
//! failing test prints the service's log. Dropping a service kills its process, by its id.

mod binaries;
mod bridges;
mod options;
pub mod processes;
mod service;
pub mod stack;
pub mod tokens;

pub use binaries::binary;
pub use bridges::BridgeCount;
pub use options::StackOptions;
pub use service::{Service, ServiceOptions};
pub use stack::Stack;
pub use tokens::Tokens;

use std::time::{Duration, Instant};

/// Waits until `found` returns a value, calling it every few milliseconds.
///
/// # Panics
/// If `found` returns none within `patience`.
pub async fn eventually<T>(
    what: &str,
    patience: Duration,
    mut found: impl FnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < end, "waited {patience:?} for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The time between two calls in [`until`]: a service, or a container, answers in milliseconds.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Waits until `found` returns a value, as [`eventually`] does, for an async `found`.
///
/// # Panics
/// If `found` returns none within `patience`.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    mut found: impl AsyncFnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(Instant::now() < end, "waited {patience:?} for {what}");
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Waits for a request to end this program: Ctrl-C, or SIGTERM.
///
/// # Panics
/// If there is no Tokio runtime, or the signals cannot be registered.
pub async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let [mut interrupt, mut terminate] = [SignalKind::interrupt(), SignalKind::terminate()]
        .map(|kind| signal(kind).expect("a signal can be waited for"));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
