//! The owner of an execution: its one writer, which records and publishes the status.

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

/// The state of an execution that only its owner changes: the one task that runs the execution and
/// writes its status.
pub(crate) struct Owner {
    /// The resources that all executions share.
    pub(crate) engine: Arc<Engine>,
    /// The accepted request. The prompt is removed from its body, because the prompt is on disk.
    pub(crate) accepted: Accepted,
    /// The files of the execution.
    pub(crate) entry: spool::Entry,
    /// The sender of the status that everybody sees.
    pub(crate) publish: watch::Sender<Published>,
    /// The controls so far, merged into one value.
    pub(crate) wishes: Arc<Wishes>,
    /// The process of the CLI, once it runs.
    pub(crate) cli: Option<CliProcess>,
    /// The clock for the times in the status.
    pub(crate) times: Times,
    /// The length of the prompt in bytes. The prompt itself is only on disk: a thousand queued
    /// prompts must not fill the memory.
    pub(crate) prompt_bytes: usize,
    /// The credential with which the CLI was started.
    pub(crate) credential: Option<crate::cli::Credential>,
    /// The way to stdin, if the execution accepts input.
    pub(crate) input: Option<Arc<Gate>>,
    /// The length of the CLI's transcript at the start, bytes. Every answer makes it longer.
    pub(crate) transcript_bytes: u64,
    /// The sandbox folders of the execution, which are kept while this is held.
    pub(crate) folders: Option<Folders>,
    /// The execution's runner, if one may exist: the cleanup after a panic needs it.
    pub(crate) runner: Option<runner::Control>,
}

impl Owner {
    /// Creates the owner of an execution that was just accepted or was found on disk. `publish`
    /// holds its status.
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

    /// Writes a status to the spool that is not terminal ([`crate::execution::ending`] makes the
    /// terminal ones). With `durable`, the write survives a power cut.
    ///
    /// # Errors
    /// The write failed; the spool still has the previous status.
    pub(crate) async fn record(&self, status: &Status, durable: bool) -> std::io::Result<()> {
        let limit = self.engine.status_bytes();
        let json = Record::encode(status, self.cli.as_ref(), limit);
        let entry = self.entry.clone();
        let write = move || entry.write_status(&json, durable);
        spool::blocking::run_io(write).await
    }

    /// Starts to write a status that is not terminal, and with `begun` the note that the
    /// conversation has begun. The caller may await the returned work. The next start of the
    /// service reads both, also after a kill; a power cut may lose them.
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

    /// Publishes a status to all readers. `before` is the running time up to `since`, and `since`
    /// is the start of the present stretch of running; `None` while the execution does not run.
    pub(crate) fn show(&self, status: &Status, before: Duration, since: Option<Instant>) {
        self.publish.send_replace(Published {
            status: Arc::new(status.clone()),
            before,
            since,
        });
    }
}
