//! The owner of one execution: waits for its permit, starts the CLI, pumps its output into the spool, obeys controls and
//! timers, and ends it with a verdict. Its only writer.

mod output;
mod run;

pub(crate) use output::Lost;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use protocol::{State, Status};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::accepted::{Accepted, CliProcess, Record};
use super::ending::{self, Ended};
use super::input::Gate;
use super::live::Published;
use super::times::Times;
use super::verdict::EndedBy;
use super::wish::{EndWish, Wishes};
use crate::admission::Ticket;
use crate::engine::Engine;
use crate::sandbox::Folders;

/// How often one that waits for a time looks at the clock.
const CLOCK_LOOK: Duration = Duration::from_secs(30);

/// Everything that belongs to the owner.
pub(crate) struct Owner {
    pub(crate) engine: Arc<Engine>,
    pub(crate) accepted: Accepted,
    pub(crate) entry: spool::Entry,
    pub(crate) publish: watch::Sender<Published>,
    pub(crate) wishes: Arc<Wishes>,
    pub(crate) cli: Option<CliProcess>,
    /// The clock for the times in the status.
    pub(crate) times: Times,
    /// The prompt itself is on disk: a thousand queued ones must not fill the memory.
    pub(crate) prompt_bytes: usize,
    /// What the CLI was started with.
    pub(crate) credential: Option<crate::cli::Credential>,
    pub(crate) input: Option<Arc<Gate>>,
    /// The length of the CLI's transcript at the start, bytes: it grows with every answer.
    pub(crate) transcript_bytes: u64,
    /// Its folders in the sandbox, which stay while this is held.
    pub(crate) folders: Option<Folders>,
    /// The execution's runner, if one may exist: the cleanup after a panic needs it.
    pub(crate) runner: Option<runner::Control>,
}

impl Owner {
    /// Owns the execution from acceptance to its end, which the caller records. Never cancelled: dropping it would lose the
    /// end.
    pub(crate) async fn own(&mut self, ticket: &mut Ticket) -> Ended {
        // One that may run at its acceptance was accepted as running.
        let running = self.publish.borrow().status.state == State::Running;
        let permitted = running || self.wait(ticket).await;
        let mut status = Status::clone(&self.publish.borrow().status);
        status.not_before = None;
        if permitted {
            run::run(self, status, ticket).await
        } else {
            ending::unstarted(self, status, EndedBy::Cancel)
        }
    }

    /// Waits in the queue. False: cancelled there. A stop of the service leaves it queued for the next start.
    async fn wait(&mut self, ticket: &mut Ticket) -> bool {
        let mut not_before = self.publish.borrow().status.not_before;
        loop {
            tokio::select! {
                // A cancel that is there when the permit comes wins: no process then.
                biased;
                _ = self.wishes.end_above(Some(EndWish::Stop)) => return false,
                () = until(not_before) => {
                    not_before = None;
                    self.publish.send_modify(|published| {
                        Arc::make_mut(&mut published.status).not_before = None;
                    });
                    ticket.unpark();
                }
                () = ticket.permit() => return self.wishes.leave_queue(),
            }
        }
    }

    /// Writes the status to the spool. Not terminal: see [`ending`].
    ///
    /// # Errors
    /// The disk's; the status before stands then.
    pub(super) async fn record(&self, status: &Status, durable: bool) -> std::io::Result<()> {
        let limit = self.engine.status_bytes();
        let json = Record::encode(status, self.cli.as_ref(), limit);
        let entry = self.entry.clone();
        let write = move || entry.write_status(&json, durable, false);
        blocking(write).await
    }

    /// Starts writing the status, and that the conversation has begun, without waiting. The next
    /// start reads both after a kill of the service; the terminal status is written durably.
    pub(super) fn begin_record(
        &self,
        status: Option<&Status>,
        begun: bool,
    ) -> JoinHandle<std::io::Result<()>> {
        let limit = self.engine.status_bytes();
        let json = status.map(|status| Record::encode(status, self.cli.as_ref(), limit));
        let entry = self.entry.clone();
        let conversations = self.engine.conversations.clone();
        let conversation = begun.then(|| self.accepted.conversation.clone());
        tokio::task::spawn_blocking(move || {
            if let Some(conversation) = conversation {
                conversations.mark_begun(&conversation);
            }
            json.map_or(Ok(()), |json| entry.write_status(&json, false, false))
        })
    }

    /// Shows the status to everybody.
    pub(crate) fn show(&self, status: &Status, before: Duration, since: Option<Instant>) {
        self.publish.send_replace(Published {
            status: Arc::new(status.clone()),
            before,
            since,
        });
    }
}

/// Marks the status as running since `at`.
pub(crate) fn begin(status: &mut Status, at: Timestamp) {
    status.state = State::Running;
    status.started_at = Some(at);
    status.activity = Some(renderer::Activity::Starting.to_string());
    status.queue_position = None;
}

/// Until the wall clock shows this time; for ever without one. Cancel safe.
async fn until(time: Option<Timestamp>) {
    let Some(time) = time else {
        return std::future::pending().await;
    };
    loop {
        let left = time.duration_since(Timestamp::now());
        let Ok(left) = Duration::try_from(left) else {
            return;
        };
        if left.is_zero() {
            return;
        }
        // The wall clock may be set, and stands for the runtime while the machine sleeps.
        tokio::time::sleep(left.min(CLOCK_LOOK)).await;
    }
}

/// Runs disk work on a thread that may block.
///
/// # Errors
/// The work's, or that it panicked.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(std::io::Error::other)?
}

/// Now, as statuses write it: whole milliseconds.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
