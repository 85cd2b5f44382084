//! The state of the loop of a running execution.

use std::time::Instant;

use runner::{Events, Stderr, Stdout, Unkillable};
use spool::blocking::Work;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::super::output::Output;
use super::waits::Sample;
use crate::execution::machine::Machine;
use crate::execution::owner::Owner;
use crate::execution::wish::Wish;

/// The state of the loop that follows one execution, from the start of its runner until no process
/// is left. The other files of this folder implement the loop's steps.
pub(super) struct Running<'a> {
    pub(super) owner: &'a mut Owner,
    pub(super) machine: Machine,
    pub(super) output: Output,
    pub(super) stdout: Stdout,
    pub(super) stderr: Stderr,
    pub(super) control: runner::Control,
    pub(super) events: Events,
    /// The task that writes stdin. It ends when stdin is closed.
    pub(super) prompt: AbortOnDropHandle<()>,
    pub(super) wish: watch::Receiver<Wish>,
    /// The reason for the runner's death, as far as it is known.
    pub(super) runner_failure: Option<String>,
    /// The processes that outlived SIGKILL.
    pub(super) unkillable: Vec<Unkillable>,
    /// When the status was last published and marked for writing.
    pub(super) last_shown: Instant,
    /// Whether the recorded status shows that the model was asked. A continuation depends on it.
    pub(super) asked: bool,
    /// A sample of the tree's CPU time that is under way. It takes long with many processes, so no
    /// step waits for it.
    pub(super) sample: Option<Work<Sample>>,
    /// A write of the status that is under way. There is one at a time, and no step waits for it.
    /// The newest status is written after it.
    pub(super) recording: Option<Work<std::io::Result<()>>>,
    /// Whether the status is to be written once the write under way is done.
    pub(super) status_due: bool,
    /// Whether the next write also notes that the conversation has begun.
    pub(super) begun_due: bool,
    /// The counts that are already in the metrics.
    pub(super) counted: Counted,
}

/// Events that `/metrics` counts only once for each execution, and whether they were counted.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) first_byte: bool,
    pub(super) first_text: bool,
}
