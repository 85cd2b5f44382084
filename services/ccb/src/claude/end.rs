//! The exit code of `ccb-claude`, and the sentence that explains it.

use client::Error;
use protocol::rpc::code;
use protocol::{Reason, State, Status};

/// The exit code for an error of this program or of the service.
pub(super) const FAILED: u8 = 1;

/// The number that shells and the Claude CLI add to a signal's number for an exit code.
const SIGNAL_BASE: u8 = 128;

/// Returns the exit code for an ended execution, and a sentence for stderr if the CLI's own exit
/// code does not explain the end.
///
/// The code is that of the CLI. Without one it is 0 after a success, 128 and the signal's number
/// after a signal that ended the CLI, and 1 otherwise.
pub(super) fn of_status(status: &Status) -> (u8, Option<String>) {
    let own = status.exit_code.and_then(|code| u8::try_from(code).ok());
    let exit = match (own, status.state) {
        (Some(code), _) => code,
        (None, State::Completed) => 0,
        (None, _) => signal(status).map_or(FAILED, |signal| SIGNAL_BASE | signal),
    };
    let explained = match status.state {
        State::Completed => true,
        State::Failed => own.is_some(),
        _ => false,
    };
    (exit, (!explained).then(|| sentence(status)))
}

fn sentence(status: &Status) -> String {
    let reason = status.reason.map_or(status.state.as_str(), Reason::as_str);
    let message = match &status.error {
        Some(error) => &error.message,
        None => match status.state {
            State::Cancelled => "another client cancelled the execution",
            State::TimedOut => "the service ended the execution",
            _ => "the execution was ended before it was complete",
        },
    };
    let advice = match (status.state, &status.conversation) {
        (State::Interrupted, Some(conversation)) => {
            format!("; when the service is back, resume the session {conversation}")
        }
        _ => String::new(),
    };
    format!("{reason}: {message}{advice}")
}

/// Returns the number of the signal that ended the CLI. The status has it only in the message of
/// `killed_by_signal`, which is "signal N ended the CLI".
fn signal(status: &Status) -> Option<u8> {
    if status.reason != Some(Reason::KilledBySignal) {
        return None;
    }
    let message = &status.error.as_ref()?.message;
    let number = message.strip_prefix("signal ")?.split(' ').next()?;
    number.parse().ok().filter(|n| (1..SIGNAL_BASE).contains(n))
}

/// Returns the sentence for an error of the connection or of the run, with advice.
pub(super) fn of_error(error: &Error) -> String {
    let advice = match error {
        Error::Unreachable { .. } => "; start the bridge, or give its address with CCB_URL",
        Error::Unauthorized { .. } => {
            "; give the token with CCB_TOKEN_FILE or CCB_TOKEN, or save it as \
             ~/.config/cc-bridge/token"
        }
        Error::Rpc(e) if e.code == code::ID_IN_USE => {
            "; the id of --session-id is in use: omit it, or give a new UUID"
        }
        _ => "",
    };
    format!("{error}{advice}")
}

#[cfg(test)]
mod tests {
    use protocol::{ErrorInfo, ExecutionId};

    use super::*;

    fn end(state: State, reason: Option<Reason>, code: Option<i32>, error: &str) -> (u8, String) {
        let created = jiff::Timestamp::UNIX_EPOCH;
        let mut status = Status::queued(ExecutionId::random(), created, "w".into());
        status.state = state;
        status.reason = reason;
        status.exit_code = code;
        status.error = (!error.is_empty()).then(|| ErrorInfo {
            code: "x".into(),
            message: error.into(),
        });
        let (code, sentence) = of_status(&status);
        (code, sentence.unwrap_or_default())
    }

    #[test]
    fn the_exit_code_is_that_of_the_cli() {
        let none = String::new();
        assert_eq!(end(State::Completed, None, Some(0), ""), (0, none.clone()));
        let failed = end(State::Failed, Some(Reason::NonzeroExit), Some(3), "m");
        assert_eq!(failed, (3, none.clone()));
        let result = end(State::Failed, Some(Reason::CliError), Some(0), "m");
        assert_eq!(result, (0, none.clone()));
        let lingered = end(State::Completed, Some(Reason::Lingered), None, "");
        assert_eq!(lingered, (0, none));
    }

    #[test]
    fn without_an_exit_code_a_sentence_explains_the_end() {
        let spawn = end(State::Failed, Some(Reason::SpawnFailed), None, "no CLI");
        assert_eq!(spawn, (1, "spawn_failed: no CLI".to_owned()));
        let (code, text) = end(State::Cancelled, None, None, "");
        assert!(code == 1 && text.starts_with("cancelled: "), "{text}");
        let (code, text) = end(State::TimedOut, Some(Reason::IdleTimeout), Some(143), "");
        assert!(code == 143 && text.starts_with("idle_timeout: "), "{text}");
        let (code, text) = end(State::Interrupted, Some(Reason::Lost), Some(-1), "");
        assert!(code == 1 && text.starts_with("lost: "), "{text}");
    }

    #[test]
    fn a_signal_becomes_128_and_its_number() {
        let killed = |message| end(State::Failed, Some(Reason::KilledBySignal), None, message).0;
        assert_eq!(killed("signal 9 ended the CLI"), 137);
        for other in [
            "signal 0 ended the CLI",
            "signal 300 ended",
            "something else",
            "",
        ] {
            assert_eq!(killed(other), 1, "{other}");
        }
        let other = end(
            State::Failed,
            Some(Reason::NoResult),
            None,
            "signal 9 ended the CLI",
        );
        assert_eq!(other.0, 1);
    }
}
