//! The owner of an execution: the data of the one task that runs it, and the functions by which
//! this task writes the status to disk and publishes it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use protocol::{Body, Status};
use spool::blocking::Work;
use tokio::sync::watch;

use super::client_control::ClientControl;
use super::input::Gate;
use super::live::Published;
use super::questions::Questions;
use super::wish::Wishes;
use crate::credentials::Held;
use crate::engine::Engine;
use crate::registry::record::{Accepted, CliProcess, Record};
use crate::sandbox::Folders;
use crate::times::Times;

/// The data of the one task that runs an execution. No other task writes the execution's status.
pub(crate) struct Owner {
    /// The resources that all executions share.
    pub(crate) engine: Arc<Engine>,
    /// The request of the client, with the defaults that were applied. The prompt is removed from
    /// its body, because it is on disk.
    pub(crate) accepted: Accepted,
    /// The files of the execution in the spool: its request, status, output and events.
    pub(crate) entry: spool::Entry,
    /// The sender of the status. HTTP requests and streams receive it.
    pub(crate) publish: watch::Sender<Published>,
    /// The pause, resume, cancel and stop commands so far, merged into one value.
    pub(crate) wishes: Arc<Wishes>,
    /// The process id and the start time of the CLI. `None` until it runs.
    pub(crate) cli: Option<CliProcess>,
    /// The clock for timestamps in the status, which never go back.
    pub(crate) times: Times,
    /// The length of the prompt in bytes. The prompt and the other long texts of the body are only
    /// on disk, because those of a thousand queued executions would fill the memory.
    pub(crate) prompt_bytes: usize,
    /// The grant of the CLI. `None` before the start, after the end, and if the CLI gets the
    /// credential of this service's environment.
    pub(crate) held: Option<Held>,
    /// The credential of this service's environment with which the CLI was started. `None` before
    /// the start, and with a grant.
    pub(crate) credential: Option<crate::cli::Credential>,
    /// The queue for input to the CLI's stdin. `None` if nothing follows the prompt.
    pub(crate) input: Option<Arc<Gate>>,
    /// The control protocol with the client. `None` unless the client answers the CLI's prompts.
    pub(crate) client: Option<Arc<ClientControl>>,
    /// The questions of the CLI. `None` if the execution does not ask.
    pub(crate) questions: Option<Arc<Questions>>,
    /// The length in bytes of the CLI's transcript before the start. Every answer makes it longer,
    /// so an unchanged length at the end means that the transcript was not written.
    pub(crate) transcript_bytes: u64,
    /// The guard of the temporary folders of the execution's sandbox. `None` before the start and
    /// without a sandbox.
    pub(crate) folders: Option<Folders>,
    /// The time of the first byte of output. `None` before it.
    pub(crate) first_output: Option<Timestamp>,
    /// The runner of the execution's process tree. `None` if none can exist. After a panic of the
    /// task, the service uses it to end the processes.
    pub(crate) runner: Option<runner::CommandSender>,
}

/// Removes the texts of a body that are needed at the start only.
fn drop_texts(body: &mut Body) {
    for text in [&mut body.system_prompt, &mut body.append_system_prompt] {
        *text = None;
    }
    for object in [
        &mut body.json_schema,
        &mut body.agents,
        &mut body.settings,
        &mut body.mcp_servers,
    ] {
        *object = None;
    }
}

impl Owner {
    /// Creates the data for an execution that was just accepted, or that was found on disk at the
    /// start of the service. `publish` holds its status. The prompt is dropped from memory.
    pub(crate) fn new(
        engine: Arc<Engine>,
        mut accepted: Accepted,
        entry: spool::Entry,
        publish: watch::Sender<Published>,
        wishes: Arc<Wishes>,
        input: Option<Arc<Gate>>,
        questions: Option<Arc<Questions>>,
    ) -> Self {
        let times = Times::following(&publish.borrow().status);
        let prompt_bytes = std::mem::take(&mut accepted.body.prompt).len();
        drop_texts(&mut accepted.body);
        Self {
            engine,
            accepted,
            entry,
            publish,
            wishes,
            cli: None,
            times,
            prompt_bytes,
            held: None,
            credential: None,
            client: input.as_ref().and_then(|gate| gate.client()),
            input,
            questions,
            transcript_bytes: 0,
            folders: None,
            first_output: None,
            runner: None,
        }
    }

    /// Writes a status that is not terminal to the spool ([`crate::execution::ending`] makes the
    /// terminal ones). With `durable`, the write is flushed to the disk and survives a power cut.
    ///
    /// # Errors
    /// The write failed. The spool still has the previous status.
    pub(crate) async fn record(&self, status: &Status, durable: bool) -> std::io::Result<()> {
        let limit = self.engine.status_bytes();
        let json = Record::encode(status, self.cli.as_ref(), limit);
        let entry = self.entry.clone();
        let write = move || entry.write_status(&json, durable);
        spool::blocking::run_io(write).await
    }

    /// Starts to write to the spool on a blocking thread: a status that is not terminal, and with
    /// `begun` the note that the conversation has begun. `None` writes no status. The caller may
    /// await the returned work. The data survives a kill of the service, but a power cut may lose
    /// it.
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

    /// Publishes a status to HTTP requests and streams. `before` is the running time up to `since`.
    /// `since` is when the execution last began to run or to continue; `None` while it does not
    /// run.
    pub(crate) fn show(&self, status: &Status, before: Duration, since: Option<Instant>) {
        self.publish.send_replace(Published {
            status: Arc::new(status.clone()),
            before,
            since,
        });
    }
}
