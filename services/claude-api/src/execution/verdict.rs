//! The verdict on an execution: a pure function that decides its terminal state and reason from the
//! facts of its end (docs/protocol.md, "Ends").
//!
//! The service may be stopped between the CLI's last result and its exit. docs/protocol.md has two
//! rows for a stop: `completed` with `lingered` after a success, and `interrupted` with
//! `service_stopped` otherwise. The row `failed` does not apply, because it is about a CLI that
//! ended on its own, and the exit code that this CLI would have had is unknown. The decision:
//!
//! - The CLI was reaped before claude-api sent SIGTERM: it ended on its own, and its exit code
//!   counts. The stop changes nothing (`execution::phase`).
//! - SIGTERM was sent first, the last result is a success, and the client asked nothing more:
//!   `completed`, `lingered`, without an exit code. The answer is whole. As `interrupted` it could
//!   be continued, and the prompt would be answered twice.
//! - SIGTERM was sent first, and the answer is not whole or is an error: `interrupted`.
//!
//! So a CLI that would have exited with code 3 after a successful result is `completed` when a stop
//! ends it in between.

use protocol::{ErrorInfo, Reason, State};
use renderer::Outcome;

/// The event that ended an execution. Together with the CLI's exit and result, it decides the
/// terminal state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// The CLI exited on its own, or could not be started.
    Itself,
    /// A client cancelled it.
    Cancel,
    /// The idle timeout passed: there was no progress for too long.
    Idle,
    /// The client's deadline passed.
    Deadline,
    /// The linger grace passed: the CLI did not exit in time after its last result.
    Linger,
    /// The service shut down.
    Stop,
    /// The runner, the process that started the CLI, died.
    RunnerDeath,
    /// The required before hook, a program of the operator, failed.
    Hook,
}

/// How the CLI ended, as its runner learned it from the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// The CLI was never started. The text is the reason.
    NotStarted(String),
    /// The CLI exited with this exit code, on its own or after a signal that it handled.
    Code(i32),
    /// The CLI was ended by the signal with this number.
    Signal(i32),
    /// The CLI was never reaped, because its runner died, or because no signal can end it.
    Unknown,
}

impl Exit {
    /// Converts a runner's report, which has an exit code, the number of a signal, or neither
    /// (`Unknown`).
    #[must_use]
    pub fn reaped(code: Option<i32>, signal: Option<i32>) -> Self {
        match (code, signal) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }

    /// Returns the exit code of the CLI. `None` if it was not started, was ended by a signal, or
    /// was never reaped.
    fn code(&self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(*code),
            Self::NotStarted(_) | Self::Signal(_) | Self::Unknown => None,
        }
    }
}

/// The facts at the end of an execution, from which [`verdict`] decides its terminal state.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The event that ended the execution.
    pub ended_by: EndedBy,
    /// How the CLI ended.
    pub exit: &'a Exit,
    /// The last result that the CLI reported. `None` if it reported none.
    pub outcome: Option<&'a Outcome>,
    /// Whether the last result answers everything: stdin was closed at the start, and no other turn
    /// of the conversation has begun since that result.
    pub answered: bool,
    /// Whether `credentials` refuses further requests, because the budget of the execution or of
    /// its principal is used up.
    pub budget_spent: bool,
    /// The last bytes of stderr, for the text of the error. May be empty.
    pub stderr: &'a str,
}

/// The fields of a terminal status that the facts decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The terminal state.
    pub state: State,
    /// The reason for the state. `None` for a plain success and for a cancel.
    pub reason: Option<Reason>,
    /// The exit code in the status. `None` if it is unknown or says nothing about the CLI. It is
    /// never 0 for an unknown code.
    pub exit_code: Option<i32>,
    /// The error with its code and text. `None` unless the state is `failed` because of the CLI.
    pub error: Option<ErrorInfo>,
}

/// Decides the terminal state, the reason, the exit code and the error of an execution from the
/// facts of its end (docs/protocol.md, "Ends").
#[must_use]
pub fn verdict(facts: &Facts<'_>) -> Verdict {
    let ended = |state, reason, exit_code| Verdict {
        state,
        reason,
        exit_code,
        error: None,
    };
    let success = facts.outcome.is_some_and(|o| !o.is_error);
    let code = facts.exit.code();
    match facts.ended_by {
        EndedBy::Cancel => ended(State::Cancelled, None, code),
        EndedBy::Idle => ended(State::TimedOut, Some(Reason::IdleTimeout), code),
        EndedBy::Deadline => ended(State::TimedOut, Some(Reason::Deadline), code),
        // The module's documentation explains the rule for a stop after a successful result.
        EndedBy::Stop if success && facts.answered => {
            ended(State::Completed, Some(Reason::Lingered), None)
        }
        EndedBy::Stop => ended(State::Interrupted, Some(Reason::ServiceStopped), None),
        EndedBy::RunnerDeath => ended(State::Interrupted, Some(Reason::RunnerDied), None),
        EndedBy::Hook => ended(State::Failed, Some(Reason::HookRefused), None),
        EndedBy::Linger if success => ended(State::Completed, Some(Reason::Lingered), None),
        EndedBy::Itself if success && code == Some(0) => ended(State::Completed, None, Some(0)),
        EndedBy::Itself | EndedBy::Linger => {
            let reason = failure_reason(facts);
            // The exit code of a CLI that claude-api ended says nothing about the CLI.
            let code = code.filter(|_| facts.ended_by != EndedBy::Linger);
            Verdict {
                error: Some(explain(reason, facts)),
                ..ended(State::Failed, Some(reason), code)
            }
        }
    }
}

/// Returns the reason of a failed execution. If several apply, this is the first in the order of
/// docs/protocol.md, "Reasons".
fn failure_reason(facts: &Facts<'_>) -> Reason {
    if let Exit::NotStarted(_) = facts.exit {
        return Reason::SpawnFailed;
    }
    if let Some(outcome) = facts.outcome.filter(|o| o.is_error) {
        if is_auth(outcome) {
            return Reason::AuthFailed;
        }
        if outcome.api_error_status == Some(429) {
            return Reason::UsageLimit;
        }
        if is_too_long(outcome) {
            return Reason::PromptTooLong;
        }
        // The API itself also answers 402, to an account that cannot be billed.
        if outcome.api_error_status == Some(402) && facts.budget_spent {
            return Reason::MaxBudget;
        }
    }
    let killed = matches!(facts.exit, Exit::Signal(_)) && facts.ended_by != EndedBy::Linger;
    match facts.outcome {
        _ if killed => Reason::KilledBySignal,
        Some(outcome) if outcome.is_error && is_max_turns(outcome) => Reason::MaxTurns,
        Some(outcome) if outcome.is_error && is_max_budget(outcome) => Reason::MaxBudget,
        Some(outcome) if outcome.is_error => Reason::CliError,
        _ if facts.exit.code().is_some_and(|code| code != 0) => Reason::NonzeroExit,
        Some(_) => Reason::NonzeroExit,
        None => Reason::NoResult,
    }
}

/// Returns whether the CLI failed because the model refused the credential (401 Unauthorized or 403
/// Forbidden), or because there is none. Without a credential the CLI makes no request and so has
/// no HTTP status. Only the kind of the error shows it then.
fn is_auth(outcome: &Outcome) -> bool {
    matches!(outcome.api_error_status, Some(401 | 403))
        || outcome.error_kind.as_deref() == Some("authentication_failed")
}

/// Returns whether the CLI failed because the prompt was too long. The model may refuse it (400 Bad
/// Request), or a proxy in front of the model (413 Content Too Large). The CLI may also refuse it
/// itself, and then makes no request.
fn is_too_long(outcome: &Outcome) -> bool {
    let reason = outcome.terminal_reason.as_deref();
    matches!(reason, Some("prompt_too_long" | "blocking_limit"))
        || outcome.api_error_status == Some(413)
}

/// Returns whether the CLI stopped because the client's limit of turns (`maxTurns`) was reached.
fn is_max_turns(outcome: &Outcome) -> bool {
    outcome.subtype == "error_max_turns" || outcome.terminal_reason.as_deref() == Some("max_turns")
}

/// Returns whether the CLI stopped because the client's budget (`maxBudgetUsd`) was spent.
fn is_max_budget(outcome: &Outcome) -> bool {
    outcome.subtype == "error_max_budget_usd"
        || outcome.terminal_reason.as_deref() == Some("budget_exhausted")
}

/// Returns the CLI's own description of a failed result: the subtype that names the error, then the
/// text or the error messages. `None` if the result has none of these.
fn failure_text(outcome: &Outcome) -> Option<String> {
    let errors = outcome.errors.iter().map(|text| text.trim());
    let errors: Vec<_> = errors.filter(|text| !text.is_empty()).collect();
    let text = outcome.text.as_deref().map(str::trim);
    let message = text
        .filter(|text| outcome.is_error && !text.is_empty())
        .map(str::to_owned)
        .or_else(|| (!errors.is_empty()).then(|| errors.join("; ")));
    // API errors have the subtype `success`.
    let subtype = outcome.subtype.as_str();
    let subtype = (outcome.is_error && !matches!(subtype, "" | "success")).then_some(subtype);
    match (subtype, message) {
        (Some(subtype), Some(message)) => Some(format!("{subtype}: {message}")),
        (Some(subtype), None) => Some(format!("the CLI reported {subtype} without a text")),
        (None, message) => message,
    }
}

/// Returns the error of a failed execution, with the reason as its code and a text for people. The
/// text has the CLI's own message or the last line of stderr, and the remedy where one is known.
fn explain(reason: Reason, facts: &Facts<'_>) -> ErrorInfo {
    let cli_message = facts.outcome.and_then(failure_text);
    let last_line = facts
        .stderr
        .lines()
        .rev()
        .find(|l| !l.trim().is_empty())
        .unwrap_or("nothing on stderr");
    let message = match reason {
        Reason::SpawnFailed => {
            let detail = match facts.exit {
                Exit::NotStarted(detail) => detail.as_str(),
                Exit::Code(_) | Exit::Signal(_) | Exit::Unknown => "",
            };
            format!("the CLI could not be started: {detail}")
        }
        // Without an HTTP status no request was made, so no credential was refused.
        Reason::AuthFailed if facts.outcome.is_some_and(|o| o.api_error_status.is_none()) => {
            format!(
                "there is no credential: {}; set ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN, \
             or log in with the CLI",
                cli_message.unwrap_or_default()
            )
        }
        Reason::AuthFailed => format!(
            "the credential was refused: {}; give a valid ANTHROPIC_API_KEY or \
             CLAUDE_CODE_OAUTH_TOKEN, or log in again",
            cli_message.unwrap_or_else(|| "the CLI gave no details".to_owned())
        ),
        Reason::KilledBySignal => {
            let signal = match facts.exit {
                Exit::Signal(signal) => *signal,
                Exit::NotStarted(_) | Exit::Code(_) | Exit::Unknown => 0,
            };
            format!("signal {signal} ended the CLI")
        }
        Reason::NoResult => "the CLI ended with code 0 but without a result".to_owned(),
        Reason::NonzeroExit => match (cli_message, facts.exit.code()) {
            (Some(cli_message), _) => cli_message,
            (None, Some(code)) => format!("the CLI ended with code {code}: {last_line}"),
            (None, None) => "the CLI had no exit code".to_owned(),
        },
        _ => cli_message.unwrap_or_else(|| "the CLI reported an error without a text".to_owned()),
    };
    let code = serde_json::to_value(reason)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned));
    ErrorInfo {
        code: code.unwrap_or_default(),
        message: message.chars().take(4000).collect(),
    }
}

#[cfg(test)]
mod tests;
