//! Error answers over HTTP, as documents of the type `application/problem+json` (RFC 9457).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The media type of an error answer, for the header `Content-Type` (RFC 9457, section 3).
pub const CONTENT_TYPE: &str = "application/problem+json";

macro_rules! problem_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal;)*) => {
        /// The kind of an error over HTTP, which is the member `type` of the error document and
        /// decides the HTTP status. A name keeps its meaning in later versions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ProblemType {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl ProblemType {
            /// Every kind of error over HTTP, in the order of their HTTP statuses.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the name of the kind as the member `type` has it, for example `not-found`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Returns the HTTP status code of error answers of this kind, for example 404.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

problem_types! {
    /// The id in the path is not a UUID.
    InvalidId = "invalid-id", 400;
    /// The body of the execution is not valid JSON, or breaks a rule of docs/protocol.md, "Body".
    InvalidBody = "invalid-body", 400;
    /// A parameter in the query string of the URL is unknown or has a wrong value.
    InvalidQuery = "invalid-query", 400;
    /// A trusted proxy sent no usable header `X-Forwarded-For`, so the client is not known.
    InvalidForwardedFor = "invalid-forwarded-for", 400;
    /// The service needs a token, and the request has none, or one that is wrong, expired or
    /// removed.
    Unauthorized = "unauthorized", 401;
    /// The request came from a process inside claude-api's own container, so from one that the
    /// model started. Such processes may not control executions.
    FromBox = "from-the-box", 401;
    /// The operator does not allow this request, for example its permission mode or one of its
    /// environment variables.
    NotAllowed = "not-allowed", 403;
    /// The operator does not allow control requests of this subtype, or the client asks for more
    /// with it than the operator allows.
    ControlRequestNotAllowed = "control-request-not-allowed", 403;
    /// The definition of a sub-agent has a field other than those that are allowed.
    AgentFieldNotAllowed = "agent-field-not-allowed", 403;
    /// The settings for the CLI have a member other than those that are allowed.
    SettingNotAllowed = "setting-not-allowed", 403;
    /// The role of the token does not permit this request, or the token is limited to other
    /// workspaces.
    Forbidden = "forbidden", 403;
    /// The principal has spent its budget of this day. `resetsAt` has the time of the next one.
    BudgetSpent = "budget-spent", 403;
    /// The request's header `Host` is neither a local name nor on the operator's list.
    ForeignHost = "foreign-host", 403;
    /// The request was sent by a web page whose `Origin` is not on the operator's list.
    ForeignOrigin = "foreign-origin", 403;
    /// claude-api knows no execution with this id.
    NotFound = "not-found", 404;
    /// The service has no resource at this path.
    UnknownPath = "unknown-path", 404;
    /// The body continues a conversation that claude-api does not know.
    UnknownConversation = "unknown-conversation", 404;
    /// The resource at this path does not accept the HTTP method.
    MethodNotAllowed = "method-not-allowed", 405;
    /// An execution with this id exists already and has a different body, so the request is not a
    /// repetition.
    IdInUse = "id-in-use", 409;
    /// The body continues a conversation that belongs to another workspace.
    OtherWorkspace = "other-workspace", 409;
    /// The state of the execution does not allow the request, for example input after its end.
    WrongState = "wrong-state", 409;
    /// The offset of the input is after the end of the accepted input, so bytes in between would be
    /// missing.
    InputHole = "input-hole", 409;
    /// A client or the retention deleted the execution within the last 30 days.
    Deleted = "deleted", 410;
    /// The execution was cancelled before its request arrived. The id cannot be used for an hour.
    CancelledBeforeAccepted = "cancelled-before-accepted", 410;
    /// The requested output is no longer kept. `keptFrom` has the offset of the oldest byte that
    /// is.
    OffsetNotKept = "offset-not-kept", 410;
    /// The prompt or the request body is larger than its limit.
    TooLarge = "too-large", 413;
    /// The requested offset is after the present end of the output, or of the CLI's stdout.
    OffsetBeyondEnd = "offset-beyond-end", 416;
    /// A stream was requested over HTTP/1.0, which cannot distinguish a complete stream from a
    /// broken connection.
    UpgradeRequired = "upgrade-required", 426;
    /// This client has sent too many wrong tokens in the last minute.
    TooManyAttempts = "too-many-attempts", 429;
    /// This client has too many open connections.
    TooManyConnections = "too-many-connections", 429;
    /// The service has a fault. Its log has the details.
    Internal = "internal", 500;
    /// The protocol has this request, but this version of the service does not support it.
    NotImplemented = "not-implemented", 501;
    /// The queue of executions, or the part of it for this lane, is full. The execution was not
    /// accepted, and the request may be retried.
    QueueFull = "queue-full", 503;
    /// The CLI has not read enough of its earlier input. No byte of this request was accepted, and
    /// it may be retried.
    InputFull = "input-full", 503;
    /// The bodies of other requests use all the memory for incoming requests. This request had no
    /// effect and may be retried.
    InboundFull = "inbound-full", 503;
    /// The service has too many open output streams. The request may be retried.
    TooManyStreams = "too-many-streams", 503;
    /// All MCP sessions that the bridge allows are in use. The request may be retried.
    TooManyMcpSessions = "too-many-mcp-sessions", 503;
    /// The service is stopping and accepts no new request.
    Stopping = "stopping", 503;
    /// Processes that the model started can reach claude-api through its published port, which
    /// would let them control executions. Until that is corrected, claude-api serves only the
    /// health endpoints.
    BoxReachesService = "box-reaches-service", 503;
    /// The service is not ready to run prompts. The member `reasons` lists the causes and remedies.
    NotReady = "not-ready", 503;
    /// claude-api cannot store the execution on disk (HTTP 507, Insufficient Storage), so it was
    /// not accepted.
    SpoolUnwritable = "spool-unwritable", 507;
}

/// The body of every error answer over HTTP (RFC 9457), with a stable name for programs and a text
/// for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// The stable name of the error, for programs.
    #[serde(rename = "type")]
    pub kind: ProblemType,
    /// The HTTP status code of the answer.
    pub status: u16,
    /// What was wrong and what to do, for people.
    pub detail: String,
    /// Further members for programs, which depend on the type, for example `keptFrom`, `length` or
    /// `state`.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Problem {
    /// Creates an error document of this type, with the HTTP status of the type and no further
    /// members.
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self {
            kind,
            status: kind.status(),
            detail: detail.into(),
            extra: Map::new(),
        }
    }

    /// Adds a further member to the error document, or replaces the one of this name, and returns
    /// the document.
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
    fn a_written_problem_is_read_as_the_same_problem() {
        let problem = Problem::new(ProblemType::OffsetNotKept, "gone").with("keptFrom", 7);
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "offset-not-kept", "status": 410, "detail": "gone", "keptFrom": 7
            })
        );
        assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
    }
}
