//! The states of an execution, and their reasons.
//!
//! ```text
//! queued -> running <-> paused
//! queued | running | paused -> completed | failed | cancelled | timed_out | interrupted
//!                              (terminal: set once)
//! ```

use serde::{Deserialize, Serialize};

/// The state of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Durably accepted; no process exists yet.
    Queued,
    /// A process exists, or is about to.
    Running,
    /// Its whole process tree and its timers are stopped.
    Paused,
    /// The CLI's last result is a success and all output was drained.
    Completed,
    /// It ended on its own without succeeding.
    Failed,
    /// A client's cancel was accepted before any other end.
    Cancelled,
    /// The idle timeout or the client's deadline ended it.
    TimedOut,
    /// Its runner died, or the service was stopped or killed while it ran.
    Interrupted,
}

impl State {
    /// Every state, in the order of an execution's life.
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

    /// Returns whether this state is final.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Paused)
    }

    /// Returns the name in HTTP messages: `timed_out`.
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

    /// Returns the name in WebSocket messages: `TIMED_OUT`.
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
        /// The reason of a state that has several causes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the name in a status: `idle_timeout`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// completed: claude-api ended the CLI, which lingered after its result.
    Lingered = "lingered";
    /// failed: the CLI could not be started.
    SpawnFailed = "spawn_failed";
    /// failed: the operator's required before hook failed; no CLI was started.
    HookRefused = "hook_refused";
    /// failed: the credential is missing or was refused.
    AuthFailed = "auth_failed";
    /// failed: a final 429.
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
    /// failed: exit code 0 without a result.
    NoResult = "no_result";
    /// timed_out: no progress.
    IdleTimeout = "idle_timeout";
    /// timed_out: the deadline that the client set.
    Deadline = "deadline";
    /// interrupted: its runner died.
    RunnerDied = "runner_died";
    /// interrupted: the service was stopped or killed while the execution ran.
    ServiceStopped = "service_stopped";
    /// interrupted: the record of the execution is damaged, or claude-api no longer knows the
    /// accepted id. Only the bridge reports the latter.
    Lost = "lost";
    /// FAILED without executionId: the bridge refused an execute without an id.
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
