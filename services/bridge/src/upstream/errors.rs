//! The reasons for which a request to claude-api can fail, and the JSON-RPC errors that clients
//! receive for them (docs/protocol.md, "Error codes").

use std::time::Duration;

use protocol::rpc::{RpcError, code};
use protocol::{Problem, ProblemType};
use serde_json::Value;

/// The reason why one HTTP request to claude-api failed. It decides whether the request is retried,
/// and which JSON-RPC error the client receives.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// claude-api refused the request and gave this reason. The second value is the pause that the
    /// `Retry-After` header asks for; `None` if it is missing or malformed.
    #[error("{}: {}", .0.kind.as_str(), printable(&.0.detail))]
    Refused(Box<Problem>, Option<Duration>),
    /// An HTTP error came without a problem object (docs/protocol.md, "Problem types"), so another
    /// program sent it, such as a proxy. The values are its HTTP status and the pause that its
    /// `Retry-After` header asks for; `None` if it is missing or malformed.
    #[error("an answer with status {0} did not come from claude-api")]
    Foreign(u16, Option<Duration>),
    /// No TCP connection could be opened, so the request was certainly not sent. The text is the
    /// cause, for the log.
    #[error("no connection to claude-api: {}", printable(.0))]
    Connect(String),
    /// The connection broke, the answer was late or the answer was malformed. claude-api may have
    /// carried out the request. The text is the cause, for the log.
    #[error("the connection to claude-api failed: {}", printable(.0))]
    Broken(String),
}

/// Returns a text from outside with its control characters and Unicode line ends escaped. The text
/// then cannot break a log line or send commands to a terminal.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        // U+2028 and U+2029 end lines as well.
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
    }
    printable
}

impl Failure {
    /// Returns the text for the log. It has no detail of claude-api, which may repeat a text of the
    /// client, such as a token at a wrong place.
    #[must_use]
    pub fn logged(&self) -> String {
        match self {
            Self::Refused(problem, _) => problem.kind.as_str().to_owned(),
            other => other.to_string(),
        }
    }

    /// Returns the pause that the answer asked for in its `Retry-After` header. `None` if it asked
    /// for none, or if there was no answer.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(_, retry_after) | Self::Foreign(_, retry_after) => *retry_after,
            Self::Connect(_) | Self::Broken(_) => None,
        }
    }

    /// Returns true if the same request may succeed later, so the bridge retries it. That is so for
    /// a failed connection, for the HTTP statuses 502 to 504 of a proxy, and if claude-api is
    /// starting, stopping or overloaded.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused(problem, _) => {
                use ProblemType::{InboundFull, NotReady, Stopping, TooManyStreams};
                matches!(
                    problem.kind,
                    Stopping | NotReady | InboundFull | TooManyStreams
                )
            }
            Self::Foreign(status, _) => matches!(status, 502..=504),
            Self::Connect(_) | Self::Broken(_) => true,
        }
    }

    /// Returns true if claude-api may have carried out the request although its answer did not say
    /// so. False if it certainly has not.
    #[must_use]
    pub fn may_have_acted(&self) -> bool {
        match self {
            Self::Refused(problem, _) => problem.kind == ProblemType::Internal,
            Self::Foreign(..) | Self::Broken(_) => true,
            Self::Connect(_) => false,
        }
    }

    /// Returns true if claude-api does not have the execution, because it never had it or has
    /// deleted it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let kinds = [ProblemType::NotFound, ProblemType::Deleted];
        kinds.iter().any(|kind| self.problem(*kind).is_some())
    }

    /// Returns true if a cancel must be retried after this failure. False after a refusal that
    /// retries cannot change, for example because the execution is unknown or the token is no
    /// longer valid. A full queue or a full disk is not final, because claude-api may record the
    /// burned id later.
    #[must_use]
    pub fn leaves_cancel_owed(&self) -> bool {
        use ProblemType as P;
        match self {
            Self::Refused(problem, _) => !matches!(
                problem.kind,
                P::NotFound
                    | P::Deleted
                    | P::InvalidId
                    | P::InvalidQuery
                    | P::NotAllowed
                    | P::Unauthorized
                    | P::Forbidden
                    | P::TooManyAttempts
            ),
            Self::Foreign(..) | Self::Connect(_) | Self::Broken(_) => true,
        }
    }

    /// Returns claude-api's problem object if claude-api refused the request with a problem of this
    /// type. `None` for every other failure.
    #[must_use]
    pub fn problem(&self, kind: ProblemType) -> Option<&Problem> {
        match self {
            Self::Refused(problem, _) if problem.kind == kind => Some(problem),
            _ => None,
        }
    }

    /// Returns the JSON-RPC error that the client receives. If claude-api gave no reason, it is
    /// -32005 (`UNAVAILABLE`) without the technical cause, which is only for the log.
    #[must_use]
    pub fn to_rpc(&self) -> RpcError {
        match self {
            Self::Refused(problem, retry_after) => refusal(problem, *retry_after),
            Self::Foreign(..) | Self::Connect(_) | Self::Broken(_) => RpcError::new(
                code::UNAVAILABLE,
                "claude_api_unreachable",
                "claude-api cannot be reached; try again later",
            ),
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        let text = chain(&error);
        if error.is_connect() {
            Self::Connect(text)
        } else {
            Self::Broken(text)
        }
    }
}

/// Returns the text of an error followed by the texts of its causes, because reqwest's own text
/// says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Returns the `data.reason` of the JSON-RPC error for a problem of this type, such as
/// `queue_full`.
fn reason(kind: ProblemType) -> String {
    kind.as_str().replace('-', "_")
}

/// Turns a refusal of claude-api into the JSON-RPC error for the client. Members of the problem
/// object are copied into `data`. The pause from `Retry-After`, if any, becomes
/// `retryAfterSeconds`.
fn refusal(problem: &Problem, retry_after: Option<Duration>) -> RpcError {
    use ProblemType as P;
    let code = match problem.kind {
        P::InvalidId
        | P::InvalidBody
        | P::InvalidQuery
        | P::TooLarge
        | P::OtherWorkspace
        | P::InputHole
        | P::OffsetBeyondEnd => code::INVALID_PARAMS,
        P::NotAllowed
        | P::ControlRequestNotAllowed
        | P::AgentFieldNotAllowed
        | P::SettingNotAllowed
        | P::Forbidden
        | P::BudgetSpent => code::NOT_ALLOWED,
        P::Unauthorized => code::NOT_AUTHORISED,
        P::NotFound | P::UnknownConversation => code::NO_SUCH_EXECUTION,
        P::IdInUse | P::Deleted | P::CancelledBeforeAccepted => code::ID_IN_USE,
        P::WrongState => code::WRONG_STATE,
        P::OffsetNotKept => code::OFFSET_NOT_KEPT,
        P::QueueFull => code::QUEUE_FULL,
        P::Stopping
        | P::NotReady
        | P::InputFull
        | P::InboundFull
        | P::TooManyStreams
        | P::TooManyMcpSessions
        | P::TooManyAttempts
        | P::TooManyConnections
        | P::BoxReachesService
        | P::SpoolUnwritable => code::UNAVAILABLE,
        // The bridge's request was wrong, or claude-api is broken. No client can fix that.
        P::FromBox
        | P::InvalidForwardedFor
        | P::ForeignHost
        | P::ForeignOrigin
        | P::UnknownPath
        | P::MethodNotAllowed
        | P::UpgradeRequired
        | P::Internal
        | P::NotImplemented => code::INTERNAL_ERROR,
    };
    let mut error = RpcError::new(code, &reason(problem.kind), problem.detail.clone());
    for (name, value) in &problem.extra {
        if name != "reason" {
            error.data[name.as_str()] = value.clone();
        }
    }
    if let Some(pause) = retry_after {
        error.data["retryAfterSeconds"] = Value::from(pause.as_secs());
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: ProblemType) -> Failure {
        Failure::Refused(Box::new(Problem::new(kind, "x").with("keptFrom", 7)), None)
    }

    #[test]
    fn the_log_has_no_detail_of_claude_api() {
        assert_eq!(refused(ProblemType::NotAllowed).logged(), "not-allowed");
        assert_eq!(
            Failure::Foreign(502, None).logged(),
            Failure::Foreign(502, None).to_string()
        );
    }

    #[test]
    fn each_problem_has_its_error_code() {
        for (kind, code, reason) in [
            (ProblemType::QueueFull, -32004, "queue_full"),
            (ProblemType::SpoolUnwritable, -32005, "spool_unwritable"),
            (ProblemType::OffsetNotKept, -32007, "offset_not_kept"),
            (ProblemType::OffsetBeyondEnd, -32602, "offset_beyond_end"),
            (ProblemType::WrongState, -32008, "wrong_state"),
            (ProblemType::IdInUse, -32009, "id_in_use"),
            (ProblemType::Deleted, -32009, "deleted"),
            (
                ProblemType::CancelledBeforeAccepted,
                -32009,
                "cancelled_before_accepted",
            ),
            (ProblemType::NotFound, -32003, "not_found"),
            (ProblemType::NotAllowed, -32002, "not_allowed"),
            (ProblemType::Forbidden, -32002, "forbidden"),
            (ProblemType::BudgetSpent, -32002, "budget_spent"),
            (ProblemType::Unauthorized, -32006, "unauthorized"),
            (ProblemType::TooManyAttempts, -32005, "too_many_attempts"),
            (ProblemType::InvalidBody, -32602, "invalid_body"),
        ] {
            let error = refused(kind).to_rpc();
            assert_eq!(error.code, code);
            assert_eq!(error.data["reason"], reason);
            assert_eq!(error.data["keptFrom"], 7);
        }
    }

    #[test]
    fn texts_of_failures_have_no_control_characters() {
        let odd = "a\u{1b}[31m\r\nb\u{9b}\u{2028}c\u{e9}";
        let problem = Problem::new(ProblemType::Stopping, odd);
        for failure in [
            Failure::Refused(Box::new(problem), None),
            Failure::Connect(odd.to_owned()),
            Failure::Broken(odd.to_owned()),
        ] {
            let text = failure.to_string();
            let end = r"a\u{1b}[31m\r\nb\u{9b}\u{2028}cé";
            assert!(text.ends_with(end), "{text}");
        }
    }

    #[test]
    fn a_cancel_without_a_valid_token_is_settled() {
        for kind in [
            ProblemType::Unauthorized,
            ProblemType::Forbidden,
            ProblemType::NotFound,
        ] {
            assert!(!refused(kind).leaves_cancel_owed(), "{kind:?}");
        }
        assert!(refused(ProblemType::QueueFull).leaves_cancel_owed());
    }

    #[test]
    fn only_transient_failures_are_retried() {
        assert!(refused(ProblemType::Stopping).is_transient());
        assert!(!refused(ProblemType::QueueFull).is_transient());
        assert!(!refused(ProblemType::SpoolUnwritable).is_transient());
        assert!(Failure::Foreign(502, None).is_transient());
        assert!(!Failure::Foreign(507, None).is_transient());
        assert!(!Failure::Foreign(500, None).is_transient());
        assert!(Failure::Broken(String::new()).may_have_acted());
        assert!(!Failure::Connect(String::new()).may_have_acted());
        assert!(!refused(ProblemType::Stopping).may_have_acted());
    }
}
