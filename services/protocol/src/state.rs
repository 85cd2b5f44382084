//! The life of an execution.
//!
//! ```text
//! queued -> running <-> paused
//! queued | running | paused -> completed | failed | cancelled | timed_out | interrupted   (terminal, set once)
//! ```

use serde::{Deserialize, Serialize};

/// Where an execution is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Durably accepted; no process exists yet.
    Queued,
    /// A process exists, or is about to.
    Running,
    /// Its whole process tree is stopped and its timers stand.
    Paused,
    /// The CLI's last result is a success and all output was drained.
    Completed,
    /// It ended by itself, but not so.
    Failed,
    /// A client's cancel was accepted before another end.
    Cancelled,
    /// The idle timeout or the client's deadline ended it.
    TimedOut,
    /// Its runner died, or the service was stopped or killed under it.
    Interrupted,
}

impl State {
    /// Whether this state is final.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Paused)
    }

    /// As the HTTP side writes it: `timed_out`.
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

    /// As the WebSocket side writes it: `TIMED_OUT`.
    #[must_use]
    pub fn as_capitals(self) -> &'static str {
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

/// Why an execution is in its state, where there is something to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// completed: the CLI lingered after its result and was ended by us.
    Lingered,
    /// failed: the CLI could not be started.
    SpawnFailed,
    /// failed: the operator's required hook before the execution failed; no CLI was started.
    HookRefused,
    /// failed: the credential is missing or was refused.
    AuthFailed,
    /// failed: a final 429.
    UsageLimit,
    /// failed: too long for the model.
    PromptTooLong,
    /// failed: a signal that we did not send ended the CLI.
    KilledBySignal,
    /// failed: the CLI reached the `maxTurns` of the body.
    MaxTurns,
    /// failed: the CLI reached the `maxBudgetUsd` of the body.
    MaxBudget,
    /// failed: the CLI's result says so, by `is_error`, an error's subtype or an HTTP status.
    CliError,
    /// failed: the CLI's exit code was not 0.
    NonzeroExit,
    /// failed: exit code 0 without a result.
    NoResult,
    /// timed_out: no progress.
    IdleTimeout,
    /// timed_out: the deadline that the client set.
    Deadline,
    /// interrupted: its runner died.
    RunnerDied,
    /// interrupted: the service was stopped or killed under it.
    ServiceStopped,
    /// interrupted, told by the bridge: claude-api no longer knows the accepted id.
    Lost,
    /// FAILED without executionId, told by the bridge: an execute without an id was refused.
    Rejected,
}

impl Reason {
    /// The reason as a status writes it: `idle_timeout`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lingered => "lingered",
            Self::SpawnFailed => "spawn_failed",
            Self::HookRefused => "hook_refused",
            Self::AuthFailed => "auth_failed",
            Self::UsageLimit => "usage_limit",
            Self::PromptTooLong => "prompt_too_long",
            Self::KilledBySignal => "killed_by_signal",
            Self::MaxTurns => "max_turns",
            Self::MaxBudget => "max_budget",
            Self::CliError => "cli_error",
            Self::NonzeroExit => "nonzero_exit",
            Self::NoResult => "no_result",
            Self::IdleTimeout => "idle_timeout",
            Self::Deadline => "deadline",
            Self::RunnerDied => "runner_died",
            Self::ServiceStopped => "service_stopped",
            Self::Lost => "lost",
            Self::Rejected => "rejected",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_with_serde() {
        for state in [
            State::Queued,
            State::Running,
            State::Paused,
            State::Completed,
            State::Failed,
            State::Cancelled,
            State::TimedOut,
            State::Interrupted,
        ] {
            let json = serde_json::to_value(state).unwrap();
            assert_eq!(json, state.as_str());
            assert_eq!(state.as_capitals().to_lowercase(), state.as_str());
        }
        for reason in [
            Reason::Lingered,
            Reason::SpawnFailed,
            Reason::AuthFailed,
            Reason::UsageLimit,
            Reason::PromptTooLong,
            Reason::KilledBySignal,
            Reason::MaxTurns,
            Reason::MaxBudget,
            Reason::CliError,
            Reason::NonzeroExit,
            Reason::NoResult,
            Reason::IdleTimeout,
            Reason::Deadline,
            Reason::RunnerDied,
            Reason::ServiceStopped,
            Reason::Lost,
            Reason::Rejected,
        ] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
