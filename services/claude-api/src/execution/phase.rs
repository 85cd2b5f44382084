//! The phases of a run, from the start of its runner until none of its processes is left, and what
//! each input does in each phase. Nothing here does I/O, and the time comes from outside.
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
//!     └── SpawnFailed ──▶ Gone ◀──────── Done, or the runner died ──────────┘
//! ```
//!
//! - A client's cancel becomes the cause in every phase, and no other cause replaces it: a cancel
//!   that was accepted before the terminal state decides that state. The service's stop and the time
//!   limits replace no other cause.
//! - A CLI that was reaped before TERM was sent ended by itself. Only a cancel overrides that.
//! - A runner that dies in `Starting` or `Running` is itself the end. In `Ending` and `Terminated`
//!   the cause stays; in `Sweeping` it is known already how the CLI ended.
//! - A pause is no phase: a tree that was told to end may stand still. The clock of the execution
//!   ([`super::timers`]) stands with it.

mod input;

use std::time::{Duration, Instant};

pub(crate) use input::{Cause, Input, Order, TimeLimit};

use super::verdict::{EndedBy, Exit};
use super::wish::EndWish;

/// How long after the kill grace the runner may take for its sweep before it is killed itself.
/// After the CLI's exit, and after each report of a long sweep, it has twice this time.
const RUNNER_GRACE: Duration = Duration::from_secs(4);
/// The time limit for the answer to TERM. A runner answers every command at once; one that was
/// stopped does not, and is killed.
const RUNNER_ANSWER: Duration = Duration::from_millis(500);

/// The phase of a run. `kill_runner_at` is when the runner is killed unless it reports first;
/// `None` once that was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The runner is starting the CLI.
    Starting,
    /// The CLI runs.
    Running,
    /// The runner was told to end the tree, and has not answered.
    Ending {
        cause: Cause,
        kill_runner_at: Option<Instant>,
    },
    /// TERM was sent. The runner answers no second command to end the tree.
    Terminated {
        cause: Cause,
        kill_runner_at: Option<Instant>,
    },
    /// The CLI was reaped, and what it left is being killed.
    Sweeping {
        ended_by: EndedBy,
        exit: Exit,
        kill_runner_at: Option<Instant>,
    },
    /// None of the processes is left.
    Gone(Gone),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) ended_by: EndedBy,
    pub(crate) exit: Exit,
}

impl Phase {
    /// The phase after `input`, and what is to be done. `kill_grace` is the time between TERM and
    /// KILL.
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
            Input::SpawnFailed(why) => (Self::Gone(self.spawn_failed(why)), None),
            Input::Done(exit) => (Self::Gone(self.done(exit)), None),
            Input::RunnerDied => (Self::Gone(self.runner_died()), None),
            Input::Tick if self.kill_runner_at().is_some_and(|at| now >= at) => {
                (self.killing_runner_at(None), Some(Order::KillRunner))
            }
            Input::Tick => (self, None),
        }
    }

    /// Whether nothing has ended the CLI yet. Time limits count only in these phases.
    pub(crate) fn is_underway(&self) -> bool {
        matches!(self, Self::Starting | Self::Running)
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }

    /// When the runner is killed unless it reports first.
    pub(crate) fn kill_runner_at(&self) -> Option<Instant> {
        match self {
            Self::Ending { kill_runner_at, .. }
            | Self::Terminated { kill_runner_at, .. }
            | Self::Sweeping { kill_runner_at, .. } => *kill_runner_at,
            Self::Starting | Self::Running | Self::Gone(_) => None,
        }
    }

    /// The same phase with another time for the runner; none in a phase that has no such time.
    fn killing_runner_at(mut self, time: Option<Instant>) -> Self {
        match &mut self {
            Self::Ending { kill_runner_at, .. }
            | Self::Terminated { kill_runner_at, .. }
            | Self::Sweeping { kill_runner_at, .. } => *kill_runner_at = time,
            Self::Starting | Self::Running | Self::Gone(_) => {}
        }
        self
    }

    /// How the run ended. A run with a process left counts as one whose runner died.
    pub(crate) fn gone(self) -> Gone {
        match self {
            Self::Gone(gone) => gone,
            other => other.runner_died(),
        }
    }

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
            Self::Gone(gone) => Self::Gone(Gone {
                ended_by: EndedBy::Cancel,
                ..gone
            }),
            // The same wish is seen after every step.
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

    /// A cause that replaces no other one.
    fn ending(self, cause: Cause, now: Instant) -> Self {
        if !self.is_underway() {
            return self;
        }
        Self::Ending {
            cause,
            kill_runner_at: Some(now + RUNNER_ANSWER),
        }
    }

    fn term_sent(self, kill_runner_at: Instant) -> Self {
        match self {
            Self::Ending { cause, .. } | Self::Terminated { cause, .. } => Self::Terminated {
                cause,
                kill_runner_at: Some(kill_runner_at),
            },
            // TERM is sent for a cause, and the cause is noted before this.
            Self::Starting | Self::Running | Self::Sweeping { .. } | Self::Gone(_) => self,
        }
    }

    fn exited(self, exit: Exit, kill_runner_at: Instant) -> Self {
        let ended_by = match self {
            Self::Sweeping { .. } | Self::Gone(_) => return self,
            ref other => other.ended_by_at_exit(),
        };
        Self::Sweeping {
            ended_by,
            exit,
            kill_runner_at: Some(kill_runner_at),
        }
    }

    fn spawn_failed(self, why: String) -> Gone {
        let ended_by = self.ended_by_at_exit();
        let exit = self.done(Exit::NotStarted(why)).exit;
        Gone { ended_by, exit }
    }

    /// A CLI that no signal ends is never reaped: then the cause stays.
    fn done(self, exit: Exit) -> Gone {
        match self {
            Self::Gone(gone) => gone,
            Self::Sweeping { ended_by, exit, .. } => Gone { ended_by, exit },
            Self::Ending { cause, .. } | Self::Terminated { cause, .. } => Gone {
                ended_by: cause.into(),
                exit,
            },
            Self::Starting | Self::Running => Gone {
                ended_by: EndedBy::Itself,
                exit,
            },
        }
    }

    fn runner_died(self) -> Gone {
        match self {
            Self::Starting | Self::Running => Gone {
                ended_by: EndedBy::RunnerDeath,
                exit: Exit::Unknown,
            },
            other => other.done(Exit::Unknown),
        }
    }

    /// What ended a CLI that is found to have ended now.
    fn ended_by_at_exit(&self) -> EndedBy {
        match self {
            Self::Starting | Self::Running => EndedBy::Itself,
            Self::Ending {
                cause: Cause::Cancel,
                ..
            } => EndedBy::Cancel,
            Self::Ending { .. } => EndedBy::Itself,
            Self::Terminated { cause, .. } => (*cause).into(),
            Self::Sweeping { ended_by, .. } | Self::Gone(Gone { ended_by, .. }) => *ended_by,
        }
    }
}

#[cfg(test)]
mod tests;
