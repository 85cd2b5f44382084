//! The handle by which HTTP requests and other tasks use a live execution: they read its status and
//! send it commands. Only the execution's own task changes the status.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ExecutionId, State, Status};
use tokio::sync::{Mutex, watch};

use super::control::Control;
use super::input::Gate;
use super::questions::Questions;
use super::views::Views;
use super::wish::{AnswerAfter, Wishes};
use crate::times::millis;

/// How long the answer to a pause, resume, cancel or stop waits until the process tree has been
/// signalled. The client gets its answer within 100 ms (docs/protocol.md, "Controls").
pub(crate) const SIGNAL_WAIT: Duration = Duration::from_millis(80);

/// The status of an execution as its task last published it. The running time and the output's
/// length change with every byte, so readers fill them in ([`Live::fill`]).
#[derive(Debug, Clone)]
pub struct Published {
    /// The published status. Its running time and output length are not current.
    pub status: Arc<Status>,
    /// The time that the execution had run before `since`, without pauses.
    pub before: Duration,
    /// When the execution last began to run or to continue. `None` while it is queued or paused,
    /// and after its end.
    pub since: Option<Instant>,
}

/// A handle to an execution that was accepted and has not ended. It reads the status and the files,
/// and sends pause, resume, cancel and stop. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    /// The id of the execution, which clients use in the path of each request.
    pub id: ExecutionId,
    /// The files of the execution in the spool: its request, status, output and events.
    pub entry: spool::Entry,
    /// The receiver of status changes. The channel closes without a terminal state only if the
    /// execution's task has panicked.
    pub status: watch::Receiver<Published>,
    /// The pause, resume, cancel and stop commands so far, merged into one value.
    pub(crate) wishes: Arc<Wishes>,
    /// Whether a client's cancel is on disk, so that it survives a restart. The writing thread
    /// holds the lock during the write, so repeated cancels wait for one write and occupy no
    /// threads.
    pub(crate) is_cancel_noted: Arc<Mutex<bool>>,
    /// The open output streams of the execution, and the cancel that is due when none is open.
    pub(crate) views: Arc<Views>,
    /// The queue for input to the CLI's stdin. `None` if the execution takes only its prompt.
    pub(crate) input: Option<Arc<Gate>>,
    /// The questions of the CLI. `None` if the execution does not ask.
    pub(crate) questions: Option<Arc<Questions>>,
}

impl Live {
    /// Sends a pause, resume, cancel or stop to the execution, and waits until the client may be
    /// answered: at most 80 ms until the process tree has been signalled, or, for the end of a
    /// queued execution, until the terminal status is recorded. The command takes effect even if
    /// the caller stops waiting.
    ///
    /// # Errors
    /// The state that does not allow the command. Only a pause of a queued execution is refused.
    pub async fn control(&self, control: Control) -> Result<(), State> {
        let answer = self.wishes.apply(control)?;
        self.answered(answer).await;
        Ok(())
    }

    /// Waits until the client that sent a command may be answered: at most 80 ms until the process
    /// tree has been signalled, or, for the end of a queued execution, until the terminal status is
    /// recorded.
    pub(crate) async fn answered(&self, answer: AnswerAfter) {
        match answer {
            AnswerAfter::Nothing => {}
            AnswerAfter::Signal(revision) => {
                let _ =
                    tokio::time::timeout(SIGNAL_WAIT, self.wishes.wait_until_acted(revision)).await;
            }
            AnswerAfter::End { .. } => {
                // After a panic of the owner, the service records the end.
                let _ = self.ended().await;
            }
        }
    }

    /// Returns the current status with the current running time and output length. The caller adds
    /// the position in the queue.
    #[must_use]
    pub fn snapshot(&self) -> Status {
        let published = self.status.borrow().clone();
        self.fill(&published, Instant::now())
    }

    /// Returns a published status with the running time and the output length at `now`. The status
    /// of an execution that is queued or has ended is returned as published.
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

    /// Waits until the execution has a terminal state, and returns its terminal status.
    ///
    /// # Errors
    /// The execution's task has panicked without a terminal state.
    pub async fn ended(&self) -> Result<Status, watch::error::RecvError> {
        let mut receiver = self.status.clone();
        let published = receiver
            .wait_for(|p| p.status.state.is_terminal())
            .await?
            .clone();
        Ok(Status::clone(&published.status))
    }
}
