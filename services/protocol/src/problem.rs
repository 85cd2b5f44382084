//! Errors of the HTTP side: `application/problem+json` (RFC 9457) with a stable `type`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The media type of a problem (RFC 9457, section 3).
pub const CONTENT_TYPE: &str = "application/problem+json";

macro_rules! problem_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal;)*) => {
        /// What went wrong, in the stable words of `type`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ProblemType {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl ProblemType {
            /// Every type.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The `type` member.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status code that goes with it.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

problem_types! {
    /// The id in the path is no UUID.
    InvalidId = "invalid-id", 400;
    /// The body is not as docs/protocol.md, "Body", describes it.
    InvalidBody = "invalid-body", 400;
    /// A query parameter is wrong.
    InvalidQuery = "invalid-query", 400;
    /// The request came from the container of claude-api: from what the model runs there.
    FromTheBox = "from-the-box", 401;
    /// More than the operator allows was asked for.
    NotAllowed = "not-allowed", 403;
    /// A `Host` that this service does not answer to.
    ForeignHost = "foreign-host", 403;
    /// A foreign `Origin`.
    ForeignOrigin = "foreign-origin", 403;
    /// No such execution.
    NotFound = "not-found", 404;
    /// No such path.
    UnknownPath = "unknown-path", 404;
    /// The conversation to go on in is unknown.
    UnknownConversation = "unknown-conversation", 404;
    /// The path does not take this method.
    MethodNotAllowed = "method-not-allowed", 405;
    /// The id exists with another body.
    IdInUse = "id-in-use", 409;
    /// The conversation belongs to another workspace.
    OtherWorkspace = "other-workspace", 409;
    /// The execution's state does not allow this.
    WrongState = "wrong-state", 409;
    /// Input that begins behind what was accepted.
    InputHole = "input-hole", 409;
    /// The execution was deleted.
    Deleted = "deleted", 410;
    /// The execution was cancelled before it was accepted; its id cannot be used any more.
    CancelledBeforeAccepted = "cancelled-before-accepted", 410;
    /// The offset is older than what is kept.
    OffsetNotKept = "offset-not-kept", 410;
    /// The prompt or the body is too large.
    TooLarge = "too-large", 413;
    /// The offset lies beyond the present end.
    OffsetBeyondEnd = "offset-beyond-end", 416;
    /// A stream was asked for over HTTP/1.0, which cannot tell a cut stream from a whole one.
    UpgradeRequired = "upgrade-required", 426;
    /// Something is broken here; the log knows more.
    Internal = "internal", 500;
    /// Not in this version.
    NotImplemented = "not-implemented", 501;
    /// The queue is full; nothing was recorded.
    QueueFull = "queue-full", 503;
    /// The CLI has not read enough of its input; nothing of the request was taken.
    InputFull = "input-full", 503;
    /// The bodies of other requests leave no memory for this one; it had no effect.
    InboundFull = "inbound-full", 503;
    /// Too many streams are open.
    TooManyStreams = "too-many-streams", 503;
    /// All MCP sessions of the bridge are in use.
    TooManyMcpSessions = "too-many-mcp-sessions", 503;
    /// The service is stopping.
    Stopping = "stopping", 503;
    /// The box can reach claude-api from outside; only the health pages are served.
    BoxReachesService = "box-reaches-service", 503;
    /// Not ready; the reasons and remedies are listed.
    NotReady = "not-ready", 503;
    /// The execution cannot be recorded.
    SpoolUnwritable = "spool-unwritable", 507;
}

/// One problem. `detail` says what was wrong and what to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// The stable name.
    #[serde(rename = "type")]
    pub kind: ProblemType,
    /// The HTTP status code.
    pub status: u16,
    /// What was wrong and what to do, for a person.
    pub detail: String,
    /// Numbers and names that go with it (`keptFrom`, `length`, `state`, ...).
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Problem {
    /// A problem of this type.
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self {
            kind,
            status: kind.status(),
            detail: detail.into(),
            extra: Map::new(),
        }
    }

    /// Adds one member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let problem = Problem::new(ProblemType::OffsetNotKept, "gone").with("keptFrom", 7);
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"type": "offset-not-kept", "status": 410, "detail": "gone", "keptFrom": 7})
        );
        assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
    }
}
