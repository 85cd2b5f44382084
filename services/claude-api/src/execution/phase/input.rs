//! The inputs of a run's phases, and the orders that follow from them.

use crate::execution::verdict::{EndedBy, Exit};
use crate::execution::wish::EndWish;

/// The reason why claude-api ends the process tree of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A client's cancel.
    Cancel,
    /// The service is stopping.
    Stop,
    /// A time limit.
    TimeLimit(TimeLimit),
}

/// A time limit of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeLimit {
    /// The idle timeout.
    Idle,
    /// The client's deadline.
    Deadline,
    /// The linger grace: the CLI did not exit in time after its last result.
    Linger,
}

impl From<Cause> for EndedBy {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Cancel => Self::Cancel,
            Cause::Stop => Self::Stop,
            Cause::TimeLimit(TimeLimit::Idle) => Self::Idle,
            Cause::TimeLimit(TimeLimit::Deadline) => Self::Deadline,
            Cause::TimeLimit(TimeLimit::Linger) => Self::Linger,
        }
    }
}

/// An event of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// The newest wish to end the run, if there is one. No order follows, because
    /// [`Wishes`](crate::execution::wish::Wishes) sends and resends the command.
    Wished(Option<EndWish>),
    /// A time limit has passed.
    TimeLimitPassed(TimeLimit),
    /// The CLI was started.
    Spawned,
    /// The CLI could not be started, for this reason. This is the runner's last report.
    SpawnFailed(String),
    /// The runner has sent TERM to the tree.
    TermSent,
    /// The CLI was reaped.
    Exited(Exit),
    /// The runner is still killing the processes that the CLI left.
    StillSweeping,
    /// No process is left, except for those that no signal can end. This is the runner's last
    /// report.
    Done(Exit),
    /// The runner died without a last report.
    RunnerDied,
    /// Time has passed, so a runner that does not report may have to be killed.
    Tick,
}

/// An action that the owner must take because of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Ends the tree with TERM, and with KILL after the grace.
    Terminate,
    /// Kills the runner, which does not answer.
    KillRunner,
}
