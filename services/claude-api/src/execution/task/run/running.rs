//! The data of the loop that follows a running execution.

use std::time::Instant;

use runner::{Events, Stderr, Stdout, Unkillable};
use spool::blocking::Work;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::super::output::Output;
use super::waits::Sample;
use crate::credentials::Charges;
use crate::execution::machine::Machine;
use crate::execution::owner::Owner;
use crate::execution::wish::Wish;

/// The data of the loop that follows one execution, from the start of its runner until its process
/// tree is gone. The other files of this folder implement the steps of the loop.
pub(super) struct Running<'a> {
    /// The data of the execution's task: request, files, status publisher.
    pub(super) owner: &'a mut Owner,
    /// The state machine that decides when and why the run ends.
    pub(super) machine: Machine,
    /// The writer that renders the CLI's stdout into the spool.
    pub(super) output: Output,
    /// The pipe from the CLI's stdout.
    pub(super) stdout: Stdout,
    /// The pipe from the CLI's stderr.
    pub(super) stderr: Stderr,
    /// Sends commands to the runner of the process tree.
    pub(super) control: runner::CommandSender,
    /// Receives the runner's reports.
    pub(super) events: Events,
    /// The task that writes the prompt and later input to the CLI's stdin. It ends when stdin is
    /// closed.
    pub(super) prompt: AbortOnDropHandle<()>,
    /// Receives the newest merged command of clients and of the service's stop.
    pub(super) wish: watch::Receiver<Wish>,
    /// Receives the charges of the CLI's grant. `None` without one.
    pub(super) charges: Option<watch::Receiver<Charges>>,
    /// Wakes after each change of the questions, or of the requests that wait for the client.
    /// `None` if the execution has neither.
    pub(super) prompt_changes: Option<watch::Receiver<()>>,
    /// Whether the execution has left its permit to others, because it waits.
    pub(super) leaves_permit: bool,
    /// The number in the warning about left-out changes of the permissions.
    pub(super) dropped_updates: u64,
    /// The reason in words why the runner died. `None` while it is alive or the reason is unknown.
    pub(super) runner_failure: Option<String>,
    /// The processes of the tree that still exist after SIGKILL.
    pub(super) unkillable: Vec<Unkillable>,
    /// When the status was last marked for writing to the spool.
    pub(super) last_shown: Instant,
    /// The cost in the status that was last written to the spool because its cost had changed.
    pub(super) recorded_cost: Option<f64>,
    /// Whether a status that shows a request to the model was marked for writing. After a restart
    /// of the service, this decides how a continuation begins.
    pub(super) asked: bool,
    /// A measurement of the tree's CPU time that is under way. It takes long with many processes,
    /// so no step waits for it.
    pub(super) sample: Option<Work<Sample>>,
    /// A write of the status to the spool that is under way. Only one runs at a time, and no step
    /// waits for it. The newest status is written after it.
    pub(super) recording: Option<Work<std::io::Result<()>>>,
    /// Whether the status must be written once the current write has ended.
    pub(super) status_due: bool,
    /// Whether the next write also notes that the CLI has begun its conversation.
    pub(super) begun_due: bool,
    /// The once-only events that are already in `/metrics`.
    pub(super) counted: Counted,
}

/// Which events of an execution are already in `/metrics`, of those that are counted only once.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// Whether the time to the first byte of output was recorded.
    pub(super) first_byte: bool,
    /// Whether the time to the first text of the model was recorded.
    pub(super) first_text: bool,
}
