//! The events of a run that change its phase, and the orders that follow from them.

use crate::execution::verdict::{EndedBy, Exit};
use crate::execution::wish::EndWish;

/// The reason why claude-api ends the process tree of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A client cancelled the execution.
    Cancel,
    /// The service is shutting down.
    Stop,
    /// A time limit of the execution has passed.
    TimeLimit(TimeLimit),
}

/// A time limit after which claude-api ends an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeLimit {
    /// The idle timeout: the execution made no progress for too long.
    Idle,
    /// The client's deadline: the execution ran for too long, pauses not counted.
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

/// An event that may change the phase of a run: a report of the runner, a command of a client, or
/// time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// The newest request to end the run; `None` if there is none. No order follows, because
    /// [`Wishes`](crate::execution::wish::Wishes) sends and resends the command to the runner.
    Wished(Option<EndWish>),
    /// A time limit of the execution has passed.
    TimeLimitPassed(TimeLimit),
    /// The runner has started the CLI.
    Spawned,
    /// The runner could not start the CLI. The text is the reason. This is the runner's last
    /// report.
    SpawnFailed(String),
    /// The runner has sent SIGTERM to the process tree.
    TermSent,
    /// The CLI has exited and was reaped.
    Exited(Exit),
    /// The runner is still killing the processes that the CLI left. It sends this during a long
    /// sweep.
    StillSweeping,
    /// The process tree is gone, except for processes that no signal can end. This is the runner's
    /// last report.
    Done(Exit),
    /// The runner's socket was closed without a last report.
    RunnerDied,
    /// Time has passed. If a report of the runner is overdue, the runner must be killed.
    Tick,
}

/// An action that the execution's task must carry out after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// End the process tree with SIGTERM, and with SIGKILL after the grace.
    Terminate,
    /// Kill the runner with SIGKILL, because it did not report in time.
    KillRunner,
}
