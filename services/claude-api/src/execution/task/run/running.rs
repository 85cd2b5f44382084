//! What the loop of a running execution holds.

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

/// A running execution. Its steps are in the files beside this one.
pub(super) struct Running<'a> {
    pub(super) owner: &'a mut Owner,
    pub(super) machine: Machine,
    pub(super) output: Output,
    pub(super) stdout: Stdout,
    pub(super) stderr: Stderr,
    pub(super) control: runner::Control,
    pub(super) events: Events,
    /// Ends when stdin is closed.
    pub(super) prompt: AbortOnDropHandle<()>,
    pub(super) wish: watch::Receiver<Wish>,
    /// Why the runner died, as far as it is known.
    pub(super) runner_failure: Option<String>,
    pub(super) unkillable: Vec<Unkillable>,
    pub(super) last_shown: Instant,
    /// It is recorded that the model was asked: whoever continues it must know.
    pub(super) asked: bool,
    /// A look at the tree's CPU time, and when it was taken. It takes long where there are many processes: controls do not wait.
    pub(super) sample: Option<Work<Sample>>,
    /// A write of the status that is under way. There is one at a time, and no step waits for it:
    /// the newest status follows it.
    pub(super) recording: Option<Work<std::io::Result<()>>>,
    /// The status is to be written once the write under way is done.
    pub(super) status_due: bool,
    /// The note that the conversation has begun is to be written after it, too.
    pub(super) begun_due: bool,
    /// What of the execution was counted.
    pub(super) counted: Counted,
}

/// What is counted once for each execution, and was.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) first_byte: bool,
    pub(super) first_text: bool,
}
