//! The states of an execution, and the reasons why it ended.
//!
//! ```text
//! queued -> running <-> paused
//! queued | running | paused -> completed | failed | cancelled | timed_out | interrupted
//!                              (terminal: set once)
//! ```

use serde::{Deserialize, Serialize};

/// The state of an execution, from its acceptance to its end. A terminal state never changes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The execution is accepted and stored on disk, and waits for its turn. It has no process yet.
    Queued,
    /// The CLI runs, or is about to be started.
    Running,
    /// All processes of the execution are suspended (SIGSTOP), and its timeouts do not advance.
    Paused,
    /// The CLI reported success in its last result, and all its output was read.
    Completed,
    /// The execution ended by itself without success. The [`Reason`] says why.
    Failed,
    /// A client cancelled the execution before it reached another terminal state.
    Cancelled,
    /// The execution was ended, because it made no progress for the idle timeout or ran longer than
    /// the client's deadline.
    TimedOut,
    /// The runner, which is the process that watches the CLI, died, or claude-api was stopped or
    /// killed, while the execution ran.
    Interrupted,
}

impl State {
    /// Every state. The three states of a live execution come first, then the five terminal ones.
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

    /// Returns whether this state is terminal, which means that the execution has ended and its
    /// state never changes again.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Paused)
    }

    /// Returns the name of the state in lower case, as HTTP and status objects have it, for example
    /// `timed_out`.
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

    /// Returns the name of the state in capitals, as WebSocket status updates have it, for example
    /// `TIMED_OUT`.
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
        /// The reason why an execution ended in its state, such as `idle_timeout` for `timed_out`.
        /// A state with only one possible cause has no reason.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Reason {
            /// Every reason, in the order of the states that have them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the name of the reason as a status object has it, for example
            /// `idle_timeout`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// The state is completed. The CLI did not exit after its successful result, so claude-api
    /// ended it.
    Lingered = "lingered";
    /// The state is failed. The CLI could not be started.
    SpawnFailed = "spawn_failed";
    /// The state is failed. The operator's hook, a program that must succeed before each run,
    /// failed. The CLI was not started.
    HookRefused = "hook_refused";
    /// The state is failed. The credential for the model's API is missing or was refused.
    AuthFailed = "auth_failed";
    /// The state is failed. The model's API refused with HTTP 429 (Too Many Requests), and the CLI
    /// gave up retrying.
    UsageLimit = "usage_limit";
    /// The state is failed. The prompt is too long for the model.
    PromptTooLong = "prompt_too_long";
    /// The state is failed. The CLI was killed by a signal that claude-api had not sent, for
    /// example by the kernel's out-of-memory killer.
    KilledBySignal = "killed_by_signal";
    /// The state is failed. The CLI reached the number of model turns in the body's `maxTurns`.
    MaxTurns = "max_turns";
    /// The state is failed. The CLI reached the cost in US dollars in the body's `maxBudgetUsd`.
    MaxBudget = "max_budget";
    /// The state is failed. The CLI's result reports an error: it has `is_error`, a subtype for an
    /// error, or an HTTP status.
    CliError = "cli_error";
    /// The state is failed. The CLI exited with another code than 0.
    NonzeroExit = "nonzero_exit";
    /// The state is failed. The CLI exited with code 0, but wrote no result.
    NoResult = "no_result";
    /// The state is timed_out. The execution made no progress for the idle timeout.
    IdleTimeout = "idle_timeout";
    /// The state is timed_out. The execution ran longer than the body's `deadlineSeconds`.
    Deadline = "deadline";
    /// The state is interrupted. The runner, which is the process that starts and watches the CLI,
    /// died.
    RunnerDied = "runner_died";
    /// The state is interrupted. claude-api was stopped or killed while the execution ran.
    ServiceStopped = "service_stopped";
    /// The state is interrupted. claude-api cannot read its record of the execution. The bridge
    /// also reports this reason when claude-api no longer knows an id that it had accepted.
    Lost = "lost";
    /// The bridge refused an `execute` that was sent without a request id. No execution exists, so
    /// no status object has this reason.
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
