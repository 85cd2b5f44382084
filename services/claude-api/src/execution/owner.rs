//! The owner of an execution: what its one writer holds, and how it records and shows the status.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::Status;
use spool::blocking::Work;
use tokio::sync::watch;

use super::input::Gate;
use super::live::Published;
use super::wish::Wishes;
use crate::engine::Engine;
use crate::registry::record::{Accepted, CliProcess, Record};
use crate::sandbox::Folders;
use crate::times::Times;

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
    /// The owner of an execution that was just accepted or found on disk; its status is in `publish`.
    pub(crate) fn new(
        engine: Arc<Engine>,
        mut accepted: Accepted,
        entry: spool::Entry,
        publish: watch::Sender<Published>,
        wishes: Arc<Wishes>,
        input: Option<Arc<Gate>>,
    ) -> Self {
        let times = Times::following(&publish.borrow().status);
        let prompt_bytes = std::mem::take(&mut accepted.body.prompt).len();
        Self {
            engine,
            accepted,
            entry,
            publish,
            wishes,
            cli: None,
            times,
            prompt_bytes,
            credential: None,
            input,
            transcript_bytes: 0,
            folders: None,
            runner: None,
        }
    }

    /// Writes the status to the spool. Not terminal: see [`crate::execution::ending`].
    ///
    /// # Errors
    /// The disk's; the status before stands then.
    pub(crate) async fn record(&self, status: &Status, durable: bool) -> std::io::Result<()> {
        let limit = self.engine.status_bytes();
        let json = Record::encode(status, self.cli.as_ref(), limit);
        let entry = self.entry.clone();
        let write = move || entry.write_status(&json, durable);
        spool::blocking::run_io(write).await
    }

    /// Starts writing the status, and that the conversation has begun, without waiting. The next
    /// start reads both after a kill of the service; the terminal status is written durably.
    pub(crate) fn begin_record(
        &self,
        status: Option<&Status>,
        begun: bool,
    ) -> Work<std::io::Result<()>> {
        let limit = self.engine.status_bytes();
        let json = status.map(|status| Record::encode(status, self.cli.as_ref(), limit));
        let entry = self.entry.clone();
        let conversations = self.engine.conversations.clone();
        let conversation = begun.then(|| self.accepted.conversation.clone());
        Work::begin(move || {
            if let Some(conversation) = conversation {
                conversations.mark_begun(&conversation);
            }
            json.map_or(Ok(()), |json| entry.write_status(&json, false))
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
