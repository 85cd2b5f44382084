//! The consequences of the errors with which the service answers input (docs/protocol.md, "Error
//! reasons").

use client::Error;
use protocol::rpc::{RpcError, code};

/// The consequence of an error of the request `input`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The same request may succeed a moment later.
    Retry,
    /// The execution accepts no more input, or the run reports the same error.
    Closed,
    /// The service refused these lines. It may accept others.
    Refused,
    /// No further input can be sent.
    Failed,
}

/// Returns the consequence of an error. An unknown error, for example of a newer service, counts as
/// a refusal of the lines.
pub(super) fn outcome(error: &Error) -> Outcome {
    match error {
        Error::Rpc(error) => rpc_outcome(error),
        // Whether the service accepted the lines is unknown, so the same offset is sent again.
        Error::NoAnswer(_) => Outcome::Retry,
        // The run ends with the same error.
        Error::GaveUp { .. } | Error::Closed => Outcome::Closed,
        // Only these lines are too large.
        Error::TooLarge { .. } => Outcome::Refused,
        _ if error.is_transient() => Outcome::Retry,
        _ => Outcome::Failed,
    }
}

fn rpc_outcome(error: &RpcError) -> Outcome {
    match (error.code, error.reason()) {
        // Repeating does not help (docs/protocol.md, "Error codes").
        (code::UNAVAILABLE, "cancelled" | "box_reaches_service" | "too_many_attempts") => {
            Outcome::Failed
        }
        (code::UNAVAILABLE | code::QUEUE_FULL | code::TOO_MANY_SESSIONS, _) => Outcome::Retry,
        // A state before the end can also mean that the CLI is about to start or to end. The
        // refusal names the accepted bytes only after the end of the input.
        (code::WRONG_STATE, _) => match error.data["state"].as_str() {
            Some("queued" | "running" | "paused") if error.data["accepted"].is_null() => {
                Outcome::Retry
            }
            _ => Outcome::Closed,
        },
        (code::NO_SUCH_EXECUTION | code::ID_IN_USE, _) => Outcome::Closed,
        (code::NOT_AUTHORISED, _) | (code::INVALID_PARAMS, "input_hole") => Outcome::Failed,
        _ => Outcome::Refused,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_error_has_its_outcome() {
        let rpc = |code, reason| Error::Rpc(RpcError::new(code, reason, "m"));
        let state = |state: &str| {
            Error::Rpc(RpcError::new(code::WRONG_STATE, "wrong_state", "m").with("state", state))
        };
        for (error, expected) in [
            (rpc(code::UNAVAILABLE, "input_full"), Outcome::Retry),
            (
                rpc(code::UNAVAILABLE, "claude_api_unreachable"),
                Outcome::Retry,
            ),
            (
                rpc(code::UNAVAILABLE, "box_reaches_service"),
                Outcome::Failed,
            ),
            (rpc(code::QUEUE_FULL, "too_many_unanswered"), Outcome::Retry),
            (state("queued"), Outcome::Retry),
            (state("paused"), Outcome::Retry),
            (state("running"), Outcome::Retry),
            (
                Error::Rpc(
                    RpcError::new(code::WRONG_STATE, "wrong_state", "m")
                        .with("state", "running")
                        .with("accepted", 7),
                ),
                Outcome::Closed,
            ),
            (state("completed"), Outcome::Closed),
            (rpc(code::NO_SUCH_EXECUTION, "not_found"), Outcome::Closed),
            (rpc(code::INVALID_PARAMS, "invalid_body"), Outcome::Refused),
            (rpc(code::INVALID_PARAMS, "too_large"), Outcome::Refused),
            (rpc(code::INVALID_PARAMS, "input_hole"), Outcome::Failed),
            (
                rpc(code::NOT_ALLOWED, "control_request_not_allowed"),
                Outcome::Refused,
            ),
            (rpc(code::NOT_AUTHORISED, "unauthorized"), Outcome::Failed),
            (rpc(-1, "a_later_reason"), Outcome::Refused),
            (Error::NoAnswer(Duration::ZERO), Outcome::Retry),
            (Error::Closed, Outcome::Closed),
            (Error::TooLarge { bytes: 2, limit: 1 }, Outcome::Refused),
            (Error::Protocol("bad".into()), Outcome::Failed),
        ] {
            assert_eq!(outcome(&error), expected, "{error:?}");
        }
    }
}
