//! The open streams of a live execution, over which clients read its output and its status updates.
//! Also the cancel that takes effect when no stream has been open for a while (`POST
//! .../cancel?ifUnviewedForMs=N`).
//!
//! ```text
//!                        a new stream
//!         ┌────────────────────────────────────────┐
//!         ▼    schedule          no stream is open │
//!       none ─────────▶ scheduled ───────────────▶ counting ── N ms ──▶ due: an ordinary cancel
//!                          ▲     a stream of the     │
//!                          └──── leaving viewer ─────┘
//! ```
//!
//! A stream that was open before the cancel was scheduled only delays the cancel, because
//! claude-api cannot tell whether the leaving client is about to close that stream. A new stream
//! clears the cancel, unless it belongs to the client that left: its request may have been on its
//! way when that client's session ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// The name of the client that reads a stream, from the request header `viewer`. A bridge sends the
/// id of its session.
pub(crate) type Viewer = Arc<str>;

/// A scheduled cancel, which takes effect when no stream of the execution has been open for
/// `after`.
#[derive(Debug, Clone)]
struct UnviewedCancel {
    /// The time without an open stream after which the execution is cancelled.
    after: Duration,
    /// The client that left and scheduled the cancel. Its own streams do not clear the cancel.
    /// `None` if it is unknown; every new stream then clears the cancel.
    viewer: Option<Viewer>,
    /// When the cancel was scheduled. The time without a stream starts then, or when the last
    /// stream closes if that is later.
    at: Instant,
    /// The number of the cancel. A later cancel has a higher one.
    number: u64,
}

/// The number of open streams of an execution, and its scheduled cancel.
#[derive(Debug, Clone)]
struct State {
    /// The number of open streams of the execution. A scheduled cancel waits while it is above 0.
    open: usize,
    /// When the last stream closed. The creation of the execution's handle before that.
    closed: Instant,
    /// The cancel that is scheduled. `None` if there is none.
    cancel: Option<UnviewedCancel>,
    /// The number of cancels scheduled so far. Each cancel gets its number from this count.
    scheduled: u64,
}

/// The open streams of one execution (its output and its status updates), and the cancel that takes
/// effect when none has been open for a while.
///
/// - A stream is counted from its opening until it is dropped. The limit of connections bounds the
///   number of streams. One task waits for the latest scheduled cancel: the task of an earlier
///   cancel ends when that cancel is replaced.
/// - A stream that clears a cancel waits until the cancel's note is removed from disk. That wait
///   occupies no thread. No other caller waits.
#[derive(Debug)]
pub(crate) struct Views {
    state: watch::Sender<State>,
    /// The delay in milliseconds of the scheduled cancel that is noted on disk: outer `None` while
    /// unknown, inner `None` without a note. The writing thread holds the lock during each write,
    /// so the last write matches the state. The wait for the lock is asynchronous: otherwise
    /// repeated calls of one client would occupy all threads.
    noted: Arc<Mutex<Option<Option<u64>>>>,
}

impl Default for Views {
    fn default() -> Self {
        let state = State {
            open: 0,
            closed: Instant::now(),
            cancel: None,
            scheduled: 0,
        };
        Self {
            state: watch::channel(state).0,
            noted: Arc::default(),
        }
    }
}

/// The guard of an open stream of an execution. The stream counts as open until the guard is
/// dropped.
#[derive(Debug)]
pub(crate) struct Viewing(Arc<Views>);

impl Drop for Viewing {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| {
            state.open -= 1;
            state.closed = Instant::now();
        });
    }
}

impl Views {
    /// Counts a stream that opens, and returns its guard. The stream clears a scheduled cancel,
    /// also on disk, unless `viewer` is the client that scheduled it. A failed write to the disk is
    /// only logged.
    pub(crate) async fn open(
        self: &Arc<Self>,
        entry: &spool::Entry,
        viewer: Option<&str>,
    ) -> Viewing {
        let mut cleared = false;
        self.state.send_modify(|state| {
            state.open += 1;
            cleared = state
                .cancel
                .take_if(|cancel| cancel.viewer.is_none() || cancel.viewer.as_deref() != viewer)
                .is_some();
        });
        let viewing = Viewing(Arc::clone(self));
        if cleared && let Err(error) = self.record(entry).await {
            let execution = entry.id();
            tracing::warn!(
                %execution,
                %error,
                "could not remove the note of a scheduled cancel from the spool; a restart of \
                 claude-api may schedule the cancel again"
            );
        }
        viewing
    }

    /// Returns the number of open streams of the execution (of its output and its status updates).
    pub(crate) fn open_streams(&self) -> usize {
        self.state.borrow().open
    }

    /// Schedules a cancel that takes effect when no stream has been open for `after`. It replaces
    /// an earlier one. `viewer` is the client that leaves. Returns the number of the cancel, for
    /// [`Self::due`].
    pub(crate) fn schedule(&self, after: Duration, viewer: Option<Viewer>) -> u64 {
        let mut number = 0;
        self.state.send_modify(|state| {
            state.scheduled += 1;
            number = state.scheduled;
            state.cancel = Some(UnviewedCancel {
                after,
                viewer,
                at: Instant::now(),
                number,
            });
        });
        number
    }

    /// Writes the delay of the scheduled cancel to disk, so that a restart of the service schedules
    /// it again. Removes the note if no cancel is scheduled. Returns immediately if the disk is up
    /// to date.
    ///
    /// # Errors
    /// The write failed, so the note on disk may be the old one.
    pub(crate) async fn record(self: &Arc<Self>, entry: &spool::Entry) -> std::io::Result<()> {
        let mut noted = Arc::clone(&self.noted).lock_owned().await;
        let cancel = self.state.borrow().cancel.clone();
        let ms = cancel.map(|cancel| crate::times::millis(cancel.after));
        if *noted == Some(ms) {
            return Ok(());
        }
        let entry = entry.clone();
        spool::blocking::run_io(move || {
            *noted = None;
            entry.set_unviewed_cancel(ms)?;
            *noted = Some(ms);
            Ok(())
        })
        .await
    }

    /// Waits until this cancel takes effect, removes it, and returns true. Returns false when a
    /// stream cleared the cancel or a later one replaced it.
    pub(crate) async fn due(&self, number: u64) -> bool {
        let mut changed = self.state.subscribe();
        loop {
            let at = {
                let state = changed.borrow_and_update();
                let Some(cancel) = state
                    .cancel
                    .as_ref()
                    .filter(|cancel| cancel.number == number)
                else {
                    return false;
                };
                (state.open == 0).then(|| cancel.at.max(state.closed) + cancel.after)
            };
            let count = async {
                match at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // The sender is `self`.
                _ = changed.changed() => {}
                () = count => if self.take_due(number) {
                    return true;
                },
            }
        }
    }

    /// Removes the cancel with this number if it is due now. Returns whether it was.
    fn take_due(&self, number: u64) -> bool {
        let now = Instant::now();
        self.state.send_if_modified(|state| {
            let (open, closed) = (state.open, state.closed);
            let due = |cancel: &mut UnviewedCancel| {
                cancel.number == number && open == 0 && cancel.at.max(closed) + cancel.after <= now
            };
            state.cancel.take_if(due).is_some()
        })
    }
}

#[cfg(test)]
mod tests;
