//! What everybody but its owner sees of a live execution: its status by `watch`, and a way to send it controls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ExecutionId, State, Status};
use tokio::sync::{mpsc, oneshot, watch};

use super::input::Gate;
use super::views::Views;

/// How long the answer to a control waits for the first signal: answers come within 100 ms (contract, section 2).
pub(crate) const SIGNAL_WAIT: Duration = Duration::from_millis(80);

/// What a client, or the service's stop, wants of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Stop its process tree.
    Pause,
    /// Let it go on.
    Resume,
    /// End it.
    Cancel,
    /// End it because the service is stopping.
    Stop,
}

/// A control and where its answer goes: sent once the first signal was.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) control: Control,
    pub(crate) answer: oneshot::Sender<Result<(), State>>,
}

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
    pub(crate) requests: mpsc::Sender<Request>,
    /// Its open streams.
    pub(crate) views: Arc<Views>,
    /// The way to its stdin, if it was created for that.
    pub(crate) input: Option<Arc<Gate>>,
}

impl Live {
    /// Sends a control and waits until the first signal was sent, at most 80 ms.
    ///
    /// # Errors
    /// The state that does not allow it (only a queued execution's pause).
    pub async fn control(&self, control: Control) -> Result<(), State> {
        let (answer, answered) = oneshot::channel();
        let request = Request { control, answer };
        let sent = async {
            if self.requests.send(request).await.is_err() {
                // Its owner is gone: it is terminal, and any control of a terminal one is fine.
                return Ok(());
            }
            // No answer: it ended meanwhile.
            answered.await.unwrap_or(Ok(()))
        };
        tokio::time::timeout(SIGNAL_WAIT, sent)
            .await
            .unwrap_or(Ok(()))
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
            // What cannot be read now keeps the value published last.
            if let Ok(marks) = self.entry.marks() {
                let marks = *marks.borrow();
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

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
