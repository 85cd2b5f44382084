//! The states of an execution, and the reasons of its end.
//!
//! ```text
//! queued -> running <-> paused
//! queued | running | paused -> completed | failed | cancelled | timed_out | interrupted
//!                              (terminal: set once)
//! ```

use serde::{Deserialize, Serialize};

/// A stage in the life of an execution. A state that is terminal never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The execution is accepted and on disk; it waits, and no process exists yet.
    Queued,
    /// The CLI runs, or is about to be started.
    Running,
    /// All processes of the execution are stopped, and its timeouts with them.
    Paused,
    /// The CLI's last result is a success, and all its output was read.
    Completed,
    /// The execution ended on its own without succeeding.
    Failed,
    /// A client cancelled the execution before it ended in another way.
    Cancelled,
    /// The execution made no progress for the idle timeout, or reached the client's deadline.
    TimedOut,
    /// The process that watches the CLI died, or claude-api was stopped or killed while the
    /// execution ran.
    Interrupted,
}

impl State {
    /// Every state: first those of a live execution, then the terminal ones.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Paused,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::TimedOut,
        Self::Interrupted,
    ];

    /// Returns whether this state is terminal: the execution has ended, and its state never
    /// changes.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Paused)
    }

    /// Returns the name as HTTP and status objects write it, for example `timed_out`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Interrupted => "interrupted",
        }
    }

    /// Returns the name as WebSocket status updates write it, for example `TIMED_OUT`.
    #[must_use]
    pub fn as_upper_case(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::TimedOut => "TIMED_OUT",
            Self::Interrupted => "INTERRUPTED",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// Why an execution ended in its state. A state with only one possible cause has no reason.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the name as a status object writes it, for example `idle_timeout`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// completed: the CLI did not exit after its successful result, so claude-api ended it.
    Lingered = "lingered";
    /// failed: the CLI could not be started.
    SpawnFailed = "spawn_failed";
    /// failed: the operator's hook, which must succeed before a run, failed; no CLI was started.
    HookRefused = "hook_refused";
    /// failed: the credential is missing or was refused.
    AuthFailed = "auth_failed";
    /// failed: the model's API refused with HTTP 429, and the CLI gave up retrying.
    UsageLimit = "usage_limit";
    /// failed: the prompt is too long for the model.
    PromptTooLong = "prompt_too_long";
    /// failed: a signal that claude-api did not send ended the CLI.
    KilledBySignal = "killed_by_signal";
    /// failed: the CLI reached the `maxTurns` of the body.
    MaxTurns = "max_turns";
    /// failed: the CLI reached the `maxBudgetUsd` of the body.
    MaxBudget = "max_budget";
    /// failed: the CLI's result has `is_error`, the subtype of an error or an HTTP status.
    CliError = "cli_error";
    /// failed: the CLI's exit code was not 0.
    NonzeroExit = "nonzero_exit";
    /// failed: the CLI exited with code 0, but wrote no result.
    NoResult = "no_result";
    /// timed_out: the execution made no progress for the idle timeout.
    IdleTimeout = "idle_timeout";
    /// timed_out: the execution ran longer than the client's `deadlineSeconds`.
    Deadline = "deadline";
    /// interrupted: the runner, the process that starts and watches the CLI, died.
    RunnerDied = "runner_died";
    /// interrupted: the service was stopped or killed while the execution ran.
    ServiceStopped = "service_stopped";
    /// interrupted: claude-api cannot read the record of the execution, or, as only the bridge
    /// reports, does not know an id that it had accepted.
    Lost = "lost";
    /// The bridge refused an `execute` that was sent without a request id; there is no execution.
    Rejected = "rejected";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_with_serde() {
        for state in State::ALL {
            let json = serde_json::to_value(state).unwrap();
            assert_eq!(json, state.as_str());
            assert_eq!(state.as_upper_case().to_lowercase(), state.as_str());
        }
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
