//! The open output and follow streams of a live execution, and the cancel for when there is none
//! (`POST .../cancel?ifUnviewedForMs=N`).
//!
//! ```text
//!                        a new stream
//!         ┌────────────────────────────────────────┐
//!         ▼      want            no stream is open │
//!  not wanted ─────────▶ wanted ─────────────────▶ counting ── N ms ──▶ due: an ordinary cancel
//!                          ▲     a stream of the     │
//!                          └──── leaving viewer ─────┘
//! ```
//!
//! A stream that was open before the wish only delays it: claude-api cannot tell the streams that the leaving viewer is
//! about to close from others. A new stream ends the wish, unless it is of the viewer that left: its request may have been
//! on its way when its session ended, and is read behind the wish.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::task::blocking;

/// Who opens streams: what a bridge sends in the header `viewer`.
pub(crate) type Viewer = Arc<str>;

#[derive(Debug, Clone)]
struct Wish {
    after: Duration,
    viewer: Option<Viewer>,
    /// The time that counts when no stream was open since.
    at: Instant,
    number: u64,
}

#[derive(Debug, Clone)]
struct State {
    /// Streams that are open.
    open: usize,
    /// When the last stream closed.
    closed: Instant,
    wish: Option<Wish>,
    /// Wishes so far.
    wishes: u64,
}

/// The streams of one execution.
///
/// A counter, taken when a stream opens and given back when it is dropped; what bounds the streams is their connections.
/// Nobody waits for it, only for the note of a wish on disk, and that wait takes no thread. One task counts for the latest wish; the
/// one of an earlier wish ends when a later one comes. In the other direction nothing is sent.
#[derive(Debug)]
pub(crate) struct Views {
    state: watch::Sender<State>,
    /// What the note on disk says; none where that is not known. Held over each write, by the thread
    /// that writes, so that the last note says what the state says. Who waits for it is no thread:
    /// one client's wishes would take all of them.
    noted: Arc<Mutex<Option<Option<u64>>>>,
}

impl Default for Views {
    fn default() -> Self {
        let state = State {
            open: 0,
            closed: Instant::now(),
            wish: None,
            wishes: 0,
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
    /// Counts a stream that opens. It ends the wish of any other viewer, also on disk.
    pub(crate) async fn open(
        self: &Arc<Self>,
        entry: &spool::Entry,
        viewer: Option<&str>,
    ) -> Viewing {
        let mut ended = false;
        self.state.send_modify(|state| {
            state.open += 1;
            ended = state
                .wish
                .take_if(|wish| wish.viewer.is_none() || wish.viewer.as_deref() != viewer)
                .is_some();
        });
        let viewing = Viewing(Arc::clone(self));
        if ended && let Err(error) = self.record(entry).await {
            tracing::warn!(execution = %entry.id(), %error, "could not remove the note of a cancel");
        }
        viewing
    }

    /// Takes up a wish: the execution is to be cancelled when no stream was open for so long. The latest wish stands.
    pub(crate) fn want(&self, after: Duration, viewer: Option<Viewer>) -> u64 {
        let mut number = 0;
        self.state.send_modify(|state| {
            state.wishes += 1;
            number = state.wishes;
            state.wish = Some(Wish {
                after,
                viewer,
                at: Instant::now(),
                number,
            });
        });
        number
    }

    /// Has the wish, or that there is none, on disk.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) async fn record(self: &Arc<Self>, entry: &spool::Entry) -> std::io::Result<()> {
        let mut noted = Arc::clone(&self.noted).lock_owned().await;
        let wish = self.state.borrow().wish.clone();
        let ms = wish.map(|wish| super::live::millis(wish.after));
        if *noted == Some(ms) {
            return Ok(());
        }
        let entry = entry.clone();
        blocking(move || {
            *noted = None;
            entry.note_unviewed(ms)?;
            *noted = Some(ms);
            Ok(())
        })
        .await
    }

    /// Waits until this wish is due and takes it: true. False when a stream or another wish ended it.
    pub(crate) async fn due(&self, number: u64) -> bool {
        let mut changed = self.state.subscribe();
        loop {
            let at = {
                let state = changed.borrow_and_update();
                let Some(wish) = state.wish.as_ref().filter(|wish| wish.number == number) else {
                    return false;
                };
                (state.open == 0).then(|| wish.at.max(state.closed) + wish.after)
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

    /// Takes the wish if it is still due.
    fn take(&self, number: u64) -> bool {
        let now = Instant::now();
        self.state.send_if_modified(|state| {
            let (open, closed) = (state.open, state.closed);
            let due = |wish: &mut Wish| {
                wish.number == number && open == 0 && wish.at.max(closed) + wish.after <= now
            };
            state.wish.take_if(due).is_some()
        })
    }
}

#[cfg(test)]
mod tests;
