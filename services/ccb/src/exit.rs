//! The exit codes of `ccb`. 64 to 77 are those of sysexits.h; 124 and 130 are those of timeout(1)
//! and of shells.

use client::Error;
use protocol::rpc::code;
use protocol::{State, Status};
use std::process::ExitCode;

/// An exit code of `ccb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

pub(crate) const OK: Exit = Exit(0);
pub(crate) const FAILED: Exit = Exit(1);
/// `EX_USAGE`: the command line or the request is wrong.
pub(crate) const USAGE: Exit = Exit(64);
/// `EX_UNAVAILABLE`: the bridge or claude-api cannot be reached, refuses the connection, or has no
/// room.
pub(crate) const UNAVAILABLE: Exit = Exit(69);
/// `EX_SOFTWARE`: an error in this program or on this machine.
pub(crate) const INTERNAL: Exit = Exit(70);
/// `EX_TEMPFAIL`: the execution was interrupted; a new one may succeed.
pub(crate) const INTERRUPTED: Exit = Exit(75);
/// `EX_PROTOCOL`: the bridge broke the protocol, or the output is incomplete.
pub(crate) const PROTOCOL: Exit = Exit(76);
/// `EX_NOPERM`: the operator does not allow the request.
pub(crate) const NOT_ALLOWED: Exit = Exit(77);
/// The execution timed out; the code that timeout(1) uses.
pub(crate) const TIMED_OUT: Exit = Exit(124);
/// The execution was cancelled; the code of a shell after Ctrl-C.
pub(crate) const CANCELLED: Exit = Exit(130);

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

/// Returns the exit code for the state of an execution. A failed one has the CLI's exit code, if
/// that is known and not 0; a live one has 0.
pub(crate) fn of_status(status: &Status) -> Exit {
    match status.state {
        State::Completed => OK,
        State::Failed => match status.exit_code.and_then(|code| u8::try_from(code).ok()) {
            None | Some(0) => FAILED,
            Some(code) => Exit(code),
        },
        State::TimedOut => TIMED_OUT,
        State::Cancelled => CANCELLED,
        State::Interrupted => INTERRUPTED,
        State::Queued | State::Running | State::Paused => OK,
    }
}

/// Returns the exit code for an ended execution whose output was streamed. `whole` says that no
/// requested byte is missing; otherwise even a completed execution is not a success.
pub(crate) fn of_end(status: &Status, whole: bool) -> Exit {
    match of_status(status) {
        OK if !whole => PROTOCOL,
        exit => exit,
    }
}

/// Returns the exit code for a request that failed.
pub(crate) fn of_error(error: &Error) -> Exit {
    match error {
        Error::Address(_) | Error::TooLarge { .. } => USAGE,
        Error::Unreachable { .. }
        | Error::Refused { .. }
        | Error::GaveUp { .. }
        | Error::NoAnswer(_) => UNAVAILABLE,
        Error::Rpc(e) => match e.code {
            code::INVALID_PARAMS | code::INVALID_REQUEST => USAGE,
            code::TOO_MANY_SESSIONS | code::QUEUE_FULL | code::UNAVAILABLE => UNAVAILABLE,
            code::NOT_ALLOWED | code::NOT_AUTHORISED => NOT_ALLOWED,
            _ => FAILED,
        },
        Error::Protocol(_) | Error::Output(_) => PROTOCOL,
        Error::Closed => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(state: State, code: Option<i32>) -> u8 {
        let mut status = Status::queued(
            protocol::ExecutionId::random(),
            jiff::Timestamp::UNIX_EPOCH,
            "w".into(),
        );
        status.state = state;
        status.exit_code = code;
        of_status(&status).0
    }

    #[test]
    fn incomplete_output_is_not_a_success() {
        let mut status = Status::queued(
            protocol::ExecutionId::random(),
            jiff::Timestamp::UNIX_EPOCH,
            "w".into(),
        );
        status.state = State::Completed;
        assert_eq!(of_end(&status, false), PROTOCOL);
        assert_eq!(of_end(&status, true), OK);
        status.state = State::Cancelled;
        assert_eq!(of_end(&status, false), CANCELLED);
    }

    #[test]
    fn each_terminal_state_has_its_exit_code() {
        assert_eq!(exit(State::Completed, Some(0)), 0);
        assert_eq!(exit(State::Completed, None), 0);
        assert_eq!(exit(State::Failed, Some(3)), 3);
        assert_eq!(exit(State::Failed, Some(0)), 1);
        assert_eq!(exit(State::Failed, None), 1);
        assert_eq!(exit(State::Failed, Some(-1)), 1);
        assert_eq!(exit(State::Failed, Some(256)), 1);
        assert_eq!(exit(State::TimedOut, Some(143)), 124);
        assert_eq!(exit(State::Cancelled, Some(0)), 130);
        assert_eq!(exit(State::Interrupted, None), 75);
    }
}
