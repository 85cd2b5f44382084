//! The phases of a run, and the effect of each event in each phase. A run lasts from the start of
//! its runner (the helper process that starts and signals the CLI) until none of its processes is
//! left. This module does no I/O; the caller passes the time.
//!
//! ```text
//!  Starting ──Spawned──▶ Running
//!     │                     │
//!     ├── a wish to end, or a time limit ──▶ Ending ──TERM was sent──▶ Terminated
//!     │                     │                  │                            │
//!     │                   Exited             Exited                      Exited
//!     │                     ▼                  ▼                            ▼
//!     │                  Sweeping           Sweeping                     Sweeping
//!     │               ended by itself    ended by itself,             ended by the
//!     │                                  unless cancelled                 cause
//!     │                     │                  │                            │
//!     └── SpawnFailed ──▶ Finished ◀──── Done, or the runner died ──────────┘
//! ```
//!
//! - A client's cancel becomes the cause of the end in every phase, and no other cause replaces it.
//!   The reason is that a cancel that was accepted before the terminal state decides that state.
//!   The service's stop and the time limits replace no other cause.
//! - A CLI that was reaped before SIGTERM was sent ended on its own. Only a cancel overrides that.
//! - The death of a runner in `Starting` or `Running` is itself the cause of the end. In `Ending`
//!   and `Terminated` the cause stays; in `Sweeping` the end of the CLI is already known.
//! - A pause is not a phase, because a process tree that is being ended may also be suspended. A
//!   pause stops the clock of the execution ([`super::progress`]).

mod input;

use std::time::{Duration, Instant};

pub(crate) use input::{Cause, Input, Order, TimeLimit};

use super::verdict::{EndedBy, Exit};
use super::wish::EndWish;

/// How long a runner may take to kill and reap the process tree after the time between SIGTERM and
/// SIGKILL. Then claude-api kills the runner. After the CLI's exit, and after each report of a long
/// sweep, the runner has twice this time.
const RUNNER_GRACE: Duration = Duration::from_secs(4);
/// How long a runner may take to answer the command to end the process tree. A runner answers every
/// command immediately. If it was suspended by a signal, it cannot answer, and claude-api kills it.
const RUNNER_ANSWER: Duration = Duration::from_millis(500);

/// How far the run of an execution is, from the start of its runner to the end of its last process.
/// `kill_runner_at` is when claude-api kills a runner that does not report; `None` once the kill
/// was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The runner was started and is starting the CLI.
    Starting,
    /// The CLI runs, and nothing has asked it to end.
    Running,
    /// The runner was ordered to end the process tree, and has not confirmed it yet.
    Ending {
        /// The reason why the process tree is ended.
        cause: Cause,
        /// When a runner that does not answer is killed.
        kill_runner_at: Option<Instant>,
    },
    /// SIGTERM was sent to the process tree. SIGKILL follows after the kill grace. The runner does
    /// not answer a second command to end the tree.
    Terminated {
        /// The reason why the process tree is ended.
        cause: Cause,
        /// When a runner that does not report the CLI's exit is killed.
        kill_runner_at: Option<Instant>,
    },
    /// The CLI has exited and was reaped, and the runner is killing the processes that it left.
    Sweeping {
        /// The event that ended the CLI.
        ended_by: EndedBy,
        /// The exit code or the signal of the CLI.
        exit: Exit,
        /// When a runner that does not report is killed.
        kill_runner_at: Option<Instant>,
    },
    /// The run is over, because the runner has made its last report or has died.
    Finished(RunEnd),
}

/// The end of a run, from which the verdict is made: what ended it, and how the CLI exited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunEnd {
    /// The event that ended the run, such as a cancel or a time limit.
    pub(crate) ended_by: EndedBy,
    /// The exit code or the signal of the CLI, if it is known.
    pub(crate) exit: Exit,
}

impl Phase {
    /// Returns the phase after an event of the run, and the order that the caller must carry out
    /// (`None` if there is nothing to do). An event that does not fit the phase changes nothing.
    /// `kill_grace` is the time between SIGTERM and SIGKILL.
    pub(crate) fn step(
        self,
        input: Input,
        now: Instant,
        kill_grace: Duration,
    ) -> (Self, Option<Order>) {
        match input {
            Input::Wished(Some(EndWish::Cancel)) => (self.cancelled(now), None),
            Input::Wished(Some(EndWish::Stop)) => (self.ending(Cause::Stop, now), None),
            Input::Wished(None) => (self, None),
            Input::TimeLimitPassed(limit) if self.is_underway() => {
                let ending = self.ending(Cause::TimeLimit(limit), now);
                (ending, Some(Order::Terminate))
            }
            Input::TimeLimitPassed(_) => (self, None),
            Input::Spawned => match self {
                Self::Starting => (Self::Running, None),
                other => (other, None),
            },
            Input::TermSent => (self.term_sent(now + kill_grace + RUNNER_GRACE), None),
            Input::Exited(exit) => (self.exited(exit, now + 2 * RUNNER_GRACE), None),
            Input::StillSweeping => (self.killing_runner_at(Some(now + 2 * RUNNER_GRACE)), None),
            Input::SpawnFailed(message) => (Self::Finished(self.spawn_failed(message)), None),
            Input::Done(exit) => (Self::Finished(self.done(exit)), None),
            Input::RunnerDied => (Self::Finished(self.runner_died()), None),
            Input::Tick if self.kill_runner_at().is_some_and(|at| now >= at) => {
                (self.killing_runner_at(None), Some(Order::KillRunner))
            }
            Input::Tick => (self, None),
        }
    }

    /// Returns whether the CLI is being started or runs, and nothing has asked it to end. Time
    /// limits apply only then.
    pub(crate) fn is_underway(&self) -> bool {
        matches!(self, Self::Starting | Self::Running)
    }

    /// Returns whether the run is over, because the runner has made its last report or has died.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self, Self::Finished(_))
    }

    /// Returns when the runner must be killed unless it reports before. `None` while no report is
    /// due, and once the kill was ordered.
    pub(crate) fn kill_runner_at(&self) -> Option<Instant> {
        match self {
            Self::Ending { kill_runner_at, .. }
            | Self::Terminated { kill_runner_at, .. }
            | Self::Sweeping { kill_runner_at, .. } => *kill_runner_at,
            Self::Starting | Self::Running | Self::Finished(_) => None,
        }
    }

    /// Returns the same phase with another time at which a silent runner is killed. Phases in which
    /// no report is due stay unchanged.
    fn killing_runner_at(mut self, time: Option<Instant>) -> Self {
        match &mut self {
            Self::Ending { kill_runner_at, .. }
            | Self::Terminated { kill_runner_at, .. }
            | Self::Sweeping { kill_runner_at, .. } => *kill_runner_at = time,
            Self::Starting | Self::Running | Self::Finished(_) => {}
        }
        self
    }

    /// Returns the end of the run. A run that is not finished counts as if its runner had died.
    pub(crate) fn into_end(self) -> RunEnd {
        match self {
            Self::Finished(end) => end,
            other => other.runner_died(),
        }
    }

    /// Makes a client's cancel the cause of the end, in every phase. Begins to end a run that is
    /// underway.
    fn cancelled(self, now: Instant) -> Self {
        match self {
            Self::Terminated { kill_runner_at, .. } => Self::Terminated {
                cause: Cause::Cancel,
                kill_runner_at,
            },
            Self::Sweeping {
                exit,
                kill_runner_at,
                ..
            } => Self::Sweeping {
                ended_by: EndedBy::Cancel,
                exit,
                kill_runner_at,
            },
            Self::Finished(end) => Self::Finished(RunEnd {
                ended_by: EndedBy::Cancel,
                ..end
            }),
            // The owner repeats the same wish after every step.
            Self::Ending {
                cause: Cause::Cancel,
                ..
            } => self,
            Self::Starting | Self::Running | Self::Ending { .. } => Self::Ending {
                cause: Cause::Cancel,
                kill_runner_at: Some(now + RUNNER_ANSWER),
            },
        }
    }

    /// Begins to end the run because of the service's stop or a time limit. Has no effect if the
    /// run is already being ended.
    fn ending(self, cause: Cause, now: Instant) -> Self {
        if !self.is_underway() {
            return self;
        }
        Self::Ending {
            cause,
            kill_runner_at: Some(now + RUNNER_ANSWER),
        }
    }

    /// Records that SIGTERM was sent to the process tree.
    fn term_sent(self, kill_runner_at: Instant) -> Self {
        match self {
            Self::Ending { cause, .. } | Self::Terminated { cause, .. } => Self::Terminated {
                cause,
                kill_runner_at: Some(kill_runner_at),
            },
            // TERM is sent only for a cause, which is noted before the report of TERM.
            Self::Starting | Self::Running | Self::Sweeping { .. } | Self::Finished(_) => self,
        }
    }

    /// Records that the CLI exited and was reaped. The cause of the end is known from now on; only
    /// a cancel can still replace it.
    fn exited(self, exit: Exit, kill_runner_at: Instant) -> Self {
        let ended_by = match self {
            Self::Sweeping { .. } | Self::Finished(_) => return self,
            ref other => other.ended_by_at_exit(),
        };
        Self::Sweeping {
            ended_by,
            exit,
            kill_runner_at: Some(kill_runner_at),
        }
    }

    /// Returns the end of a run whose CLI could not be started.
    fn spawn_failed(self, message: String) -> RunEnd {
        let ended_by = self.ended_by_at_exit();
        let exit = self.done(Exit::NotStarted(message)).exit;
        RunEnd { ended_by, exit }
    }

    /// Returns the end of a run whose runner has made its last report. A CLI that no signal can end
    /// is never reaped; the run then has the cause for which the CLI should have been ended.
    fn done(self, exit: Exit) -> RunEnd {
        match self {
            Self::Finished(end) => end,
            Self::Sweeping { ended_by, exit, .. } => RunEnd { ended_by, exit },
            Self::Ending { cause, .. } | Self::Terminated { cause, .. } => RunEnd {
                ended_by: cause.into(),
                exit,
            },
            Self::Starting | Self::Running => RunEnd {
                ended_by: EndedBy::Itself,
                exit,
            },
        }
    }

    /// Returns the end of a run whose runner died. The death is the cause only if nothing else has
    /// asked the CLI to end.
    fn runner_died(self) -> RunEnd {
        match self {
            Self::Starting | Self::Running => RunEnd {
                ended_by: EndedBy::RunnerDeath,
                exit: Exit::Unknown,
            },
            other => other.done(Exit::Unknown),
        }
    }

    /// Returns the cause of the end if the CLI exits in this phase. Before SIGTERM was sent, the
    /// CLI ended on its own, unless a client has cancelled.
    fn ended_by_at_exit(&self) -> EndedBy {
        match self {
            Self::Starting | Self::Running => EndedBy::Itself,
            Self::Ending {
                cause: Cause::Cancel,
                ..
            } => EndedBy::Cancel,
            Self::Ending { .. } => EndedBy::Itself,
            Self::Terminated { cause, .. } => (*cause).into(),
            Self::Sweeping { ended_by, .. } | Self::Finished(RunEnd { ended_by, .. }) => *ended_by,
        }
    }
}

#[cfg(test)]
mod tests;
