//! The open output and follow streams of a live execution, and the cancel for when there is none
//! (`POST .../cancel?ifUnviewedForMs=N`).
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
//! A stream that was open before the cancel was scheduled only delays it: claude-api cannot tell
//! whether the leaving viewer is about to close it. A new stream clears the cancel, unless it
//! belongs to the viewer that left: its request may have been on its way when its session ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// The name of a stream's reader, from the request header `viewer`: a bridge sends its session's
/// id.
pub(crate) type Viewer = Arc<str>;

/// A cancel for when no stream has been open for `after`.
#[derive(Debug, Clone)]
struct UnviewedCancel {
    after: Duration,
    viewer: Option<Viewer>,
    /// When the cancel was scheduled; the time without a viewer starts here or at the last close.
    at: Instant,
    number: u64,
}

#[derive(Debug, Clone)]
struct State {
    /// Streams that are open.
    open: usize,
    /// When the last stream closed.
    closed: Instant,
    cancel: Option<UnviewedCancel>,
    /// Scheduled cancels so far; each one gets its number from this count.
    scheduled: u64,
}

/// The streams of one execution.
///
/// - Taken when: a stream opens; released when the stream is dropped. Connections bound the
///   streams, and one task waits for the latest scheduled cancel: the task of an earlier one ends
///   when it is replaced.
/// - Who waits behind whom: a stream that clears a cancel waits for the removal of its note on
///   disk, and that wait takes no thread. Otherwise nobody waits.
/// - The other direction: nothing is sent.
#[derive(Debug)]
pub(crate) struct Views {
    state: watch::Sender<State>,
    /// The note on disk; `None` where it is not known. Held during each write, by the writing
    /// thread, so that the last write matches the state. Waiting for it takes no thread: repeated
    /// calls of one client would take all of them.
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

/// An open stream, until dropped.
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
    /// Counts a stream that opens. It clears a scheduled cancel, also on disk, unless its own
    /// viewer left that cancel.
    pub(crate) async fn open(
        self: &Arc<Self>,
        entry: &spool::Entry,
        viewer: Option<&str>,
    ) -> Viewing {
        let mut ended = false;
        self.state.send_modify(|state| {
            state.open += 1;
            ended = state
                .cancel
                .take_if(|cancel| cancel.viewer.is_none() || cancel.viewer.as_deref() != viewer)
                .is_some();
        });
        let viewing = Viewing(Arc::clone(self));
        if ended && let Err(error) = self.record(entry).await {
            tracing::warn!(execution = %entry.id(), %error, "could not remove the note of a cancel");
        }
        viewing
    }

    /// The streams that are open now.
    pub(crate) fn open_streams(&self) -> usize {
        self.state.borrow().open
    }

    /// Schedules a cancel for when no stream has been open for `after`, in place of an earlier one.
    /// Returns its number for [`Self::due`].
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

    /// Writes the scheduled cancel to disk, or removes its note when there is none.
    ///
    /// # Errors
    /// The disk's.
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
            entry.note_unviewed(ms)?;
            *noted = Some(ms);
            Ok(())
        })
        .await
    }

    /// Waits until this cancel is due, and takes it. False when a stream cleared it or a later one
    /// replaced it.
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
                () = count => if self.take(number) {
                    return true;
                },
            }
        }
    }

    /// Takes the cancel if it is still due.
    fn take(&self, number: u64) -> bool {
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
