//! The exit codes of `ccb`. Codes from 64 to 77 have the meaning of sysexits.h, 124 is the code of
//! timeout(1), and 130 is the code of shells after Ctrl-C.

use client::Error;
use protocol::rpc::code;
use protocol::{State, Status};
use std::process::ExitCode;

/// An exit code of the process `ccb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

pub(crate) const OK: Exit = Exit(0);
pub(crate) const FAILED: Exit = Exit(1);
/// The command line or the request is wrong (`EX_USAGE` of sysexits.h).
pub(crate) const USAGE: Exit = Exit(64);
/// The bridge or claude-api cannot be reached, refuses the connection, or has no free capacity
/// (`EX_UNAVAILABLE` of sysexits.h).
pub(crate) const UNAVAILABLE: Exit = Exit(69);
/// An error in this program or on this machine (`EX_SOFTWARE` of sysexits.h).
pub(crate) const INTERNAL: Exit = Exit(70);
/// The execution was interrupted, and a new one may succeed (`EX_TEMPFAIL` of sysexits.h).
pub(crate) const INTERRUPTED: Exit = Exit(75);
/// The bridge sent an invalid message, or the output is incomplete (`EX_PROTOCOL` of sysexits.h).
pub(crate) const PROTOCOL: Exit = Exit(76);
/// The token is missing or wrong, or the operator does not allow the request (`EX_NOPERM` of
/// sysexits.h).
pub(crate) const NOT_ALLOWED: Exit = Exit(77);
/// The execution timed out. timeout(1) uses the same code.
pub(crate) const TIMED_OUT: Exit = Exit(124);
/// The execution was cancelled. Shells use the same code after Ctrl-C (128 + SIGINT).
pub(crate) const CANCELLED: Exit = Exit(130);

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

/// Returns the exit code of `ccb` for the state of an execution. A failed execution has the exit
/// code of its CLI, or 1 if that is unknown or 0. An execution that has not ended has 0.
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

/// Returns the exit code of `ccb` for an ended execution whose output was streamed. If `whole` is
/// false, output is missing, and even a completed execution has the code 76 instead of 0.
pub(crate) fn of_end(status: &Status, whole: bool) -> Exit {
    match of_status(status) {
        OK if !whole => PROTOCOL,
        exit => exit,
    }
}

/// Returns the exit code of `ccb` for a request or connection that failed with this error.
pub(crate) fn of_error(error: &Error) -> Exit {
    match error {
        Error::Address(_) | Error::TooLarge { .. } => USAGE,
        Error::Unreachable { .. }
        | Error::Refused { .. }
        | Error::Busy { .. }
        | Error::Tls { .. }
        | Error::GaveUp { .. }
        | Error::NoAnswer(_) => UNAVAILABLE,
        Error::Unauthorized { .. } | Error::Forbidden { .. } => NOT_ALLOWED,
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
