//! A handle to a live execution for all but its owner: its status, and a way to send controls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ExecutionId, State, Status};
use tokio::sync::{Mutex, watch};

use super::control::Control;
use super::input::Gate;
use super::views::Views;
use super::wish::{Answer, Wishes};
use crate::times::millis;

/// How long the answer to a control waits for the first signal. Answers are due within 100 ms
/// (docs/protocol.md, "Controls").
pub(crate) const SIGNAL_WAIT: Duration = Duration::from_millis(80);

/// The published status of an execution. Its readers fill in the counters that change with every
/// byte ([`Live::fill`]).
#[derive(Debug, Clone)]
pub struct Published {
    /// The status without current counters.
    pub status: Arc<Status>,
    /// The running time up to `since`.
    pub before: Duration,
    /// The start of the present stretch of running; `None` while the execution waits, is paused or
    /// has ended.
    pub since: Option<Instant>,
}

/// A handle to a live execution (accepted and not ended): its status, its files, and the way to
/// send controls. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    /// The id of the execution.
    pub id: ExecutionId,
    /// The files of the execution.
    pub entry: spool::Entry,
    /// The status. The channel closes without a terminal state only if the owner died.
    pub status: watch::Receiver<Published>,
    /// The controls so far, merged into one value.
    pub(crate) wishes: Arc<Wishes>,
    /// Whether a client's cancel is on disk. The writing thread holds the lock during the write, so
    /// repeated cancels wait for one write and occupy no threads.
    pub(crate) is_cancel_noted: Arc<Mutex<bool>>,
    /// The open streams of the execution.
    pub(crate) views: Arc<Views>,
    /// The way to stdin, if the execution accepts input.
    pub(crate) input: Option<Arc<Gate>>,
}

impl Live {
    /// Sends a control and waits until it may be answered. The control counts from the call on,
    /// even when the caller stops waiting.
    ///
    /// # Errors
    /// The state that does not allow the control: only a queued execution refuses one, a pause.
    pub async fn control(&self, control: Control) -> Result<(), State> {
        let answer = self.wishes.ask(control)?;
        self.answered(answer).await;
        Ok(())
    }

    /// Waits until a control may be answered: at most 80 ms for the first signal, or for the record
    /// of the terminal status.
    pub(crate) async fn answered(&self, answer: Answer) {
        match answer {
            Answer::Now => {}
            Answer::Signal(revision) => {
                let _ =
                    tokio::time::timeout(SIGNAL_WAIT, self.wishes.wait_until_acted(revision)).await;
            }
            Answer::End { .. } => {
                // After a panic of the owner, the service records the end.
                let _ = self.ended().await;
            }
        }
    }

    /// Returns the current status with its counters. The caller adds the position in the queue.
    #[must_use]
    pub fn snapshot(&self) -> Status {
        let published = self.status.borrow().clone();
        self.fill(&published, Instant::now())
    }

    /// Returns a published status with its counters at `now`: the running time, and the length of
    /// the output.
    #[must_use]
    pub fn fill(&self, published: &Published, now: Instant) -> Status {
        let mut status = Status::clone(&published.status);
        if !status.state.is_terminal() && status.started_at.is_some() {
            // Counters that are not in memory keep the value that was published last.
            if let Some(marks) = self.entry.cached_marks() {
                status.output_bytes = marks.len;
                status.kept_from = marks.kept_from;
            }
            let running = published.before
                + published
                    .since
                    .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
            status.duration_ms = Some(millis(running));
        }
        status
    }

    /// Waits for the terminal state, and returns the terminal status.
    ///
    /// # Errors
    /// The owner died without a terminal state.
    pub async fn ended(&self) -> Result<Status, watch::error::RecvError> {
        let mut receiver = self.status.clone();
        let published = receiver
            .wait_for(|p| p.status.state.is_terminal())
            .await?
            .clone();
        Ok(Status::clone(&published.status))
    }
}
