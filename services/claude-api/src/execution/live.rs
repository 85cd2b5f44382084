//! What everybody but its owner sees of a live execution: its status by `watch`, and a way to send it controls.

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

/// The published status. Counters that change with every byte are filled in by whoever reads it.
#[derive(Debug, Clone)]
pub struct Published {
    /// Everything but the counters.
    pub status: Arc<Status>,
    /// Running time before `since`.
    pub before: Duration,
    /// Since when it runs; none while it waits, is paused or has ended.
    pub since: Option<Instant>,
}

/// A live execution. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    /// Its id.
    pub id: ExecutionId,
    /// Its files.
    pub entry: spool::Entry,
    /// Its status; closed without a terminal state only if its owner died.
    pub status: watch::Receiver<Published>,
    pub(crate) wishes: Arc<Wishes>,
    /// Whether a client's cancel is on disk. Held during the write, by the writing thread: repeated
    /// cancels wait for one write, and take no threads.
    pub(crate) cancel_noted: Arc<Mutex<bool>>,
    /// The open streams of the execution.
    pub(crate) views: Arc<Views>,
    /// The way to its stdin, if it was created for that.
    pub(crate) input: Option<Arc<Gate>>,
}

impl Live {
    /// Sends a control and waits for what its answer waits for. The control counts from the call
    /// on, also when the wait is given up.
    ///
    /// # Errors
    /// The state that does not allow it (only a queued execution's pause).
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
                let _ = tokio::time::timeout(SIGNAL_WAIT, self.wishes.acted(revision)).await;
            }
            Answer::End { .. } => {
                // After a panic of the owner, the service records the end.
                let _ = self.ended().await;
            }
        }
    }

    /// The status now, counters included; the queue's position is the caller's to add.
    #[must_use]
    pub fn snapshot(&self) -> Status {
        let published = self.status.borrow().clone();
        self.fill(&published, Instant::now())
    }

    /// A published status with the counters of this moment.
    #[must_use]
    pub fn fill(&self, published: &Published, now: Instant) -> Status {
        let mut status = Status::clone(&published.status);
        if !status.state.is_terminal() && status.started_at.is_some() {
            // What is not known without the disk keeps the value published last.
            if let Some(marks) = self.entry.known_marks() {
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

    /// Waits for the terminal state.
    ///
    /// # Errors
    /// Its owner died without one.
    pub async fn ended(&self) -> Result<Status, watch::error::RecvError> {
        let mut receiver = self.status.clone();
        let published = receiver
            .wait_for(|p| p.status.state.is_terminal())
            .await?
            .clone();
        Ok(Status::clone(&published.status))
    }
}
