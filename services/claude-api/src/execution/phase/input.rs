//! What happens to a run, and what is to be done because of it.

use crate::execution::verdict::{EndedBy, Exit};
use crate::execution::wish::EndWish;

/// Why claude-api ends a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A client's cancel.
    Cancel,
    /// The service is stopping.
    Stop,
    /// A time limit.
    TimeLimit(TimeLimit),
}

/// The time limit that has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeLimit {
    /// The idle timeout.
    Idle,
    /// The client's deadline.
    Deadline,
    /// The linger grace after the last result.
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

/// What happens to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// The newest wish to end the run, if there is one. `Wishes` sends its command, also again, so no
    /// order follows.
    Wished(Option<EndWish>),
    /// A time limit has passed.
    TimeLimitPassed(TimeLimit),
    /// The CLI runs.
    Spawned,
    /// The CLI could not be started, and why. The runner's last report.
    SpawnFailed(String),
    /// The runner has sent TERM to the tree.
    TermSent,
    /// The CLI was reaped.
    Exited(Exit),
    /// The runner is still killing what the CLI left.
    StillSweeping,
    /// None of the processes is left, except for those that no signal ends. The runner's last
    /// report.
    Done(Exit),
    /// The runner died without a last report.
    RunnerDied,
    /// Time has passed.
    Tick,
}

/// What the owner has to do because of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// End the tree: TERM, then KILL after the grace.
    Terminate,
    /// Kill the runner, which does not answer.
    KillRunner,
}
