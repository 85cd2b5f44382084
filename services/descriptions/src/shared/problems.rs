//! The problem types, each with its meaning and its members (docs/protocol.md, "Problem types").

use protocol::question::{ClosedBy, Decision};
use protocol::{ProblemType, State};
use serde_json::{Map, Value};

use crate::names::word;
use crate::schema::{Object, count, described, exactly, list, or_null, reference, text, time};

/// The problem types that claude-api never answers: one is reserved, and one belongs to the bridge.
pub const ELSEWHERE: [ProblemType; 2] =
    [ProblemType::NotImplemented, ProblemType::TooManyMcpSessions];

/// Returns the name of the schema of a problem type, for example `NotFoundProblem`.
#[must_use]
pub fn schema_name(kind: ProblemType) -> String {
    format!("{kind:?}Problem")
}

/// Returns the schemas of all problem types that claude-api answers, by name.
pub(crate) fn schemas() -> Map<String, Value> {
    let kinds = ProblemType::ALL.iter();
    kinds
        .filter(|kind| !ELSEWHERE.contains(kind))
        .map(|kind| (schema_name(*kind), problem(*kind)))
        .collect()
}

/// Returns the schema of the problems of one type.
fn problem(kind: ProblemType) -> Value {
    let object = Object::new(&sentence(meaning(kind)))
        .field("type", exactly(kind.as_str()))
        .field("status", exactly(kind.status()))
        .field("detail", text("What was wrong and what to do, for people."));
    let members = members(kind).iter();
    members
        .fold(object, |object, member| match member {
            Member::Always(name) => object.field(name, member_schema(name)),
            Member::Sometimes(name) => object.optional(name, member_schema(name)),
        })
        .build()
}

/// Returns a phrase as a sentence.
pub(crate) fn sentence(phrase: &str) -> String {
    let mut chars = phrase.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), chars.as_str())
}

/// A further member of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    /// Every problem of the type has it.
    Always(&'static str),
    /// Some problems of the type have it.
    Sometimes(&'static str),
}

/// Returns the further members of a problem type.
fn members(kind: ProblemType) -> &'static [Member] {
    use Member::{Always, Sometimes};
    use ProblemType as P;
    match kind {
        P::InvalidBody
        | P::NotAllowed
        | P::ControlRequestNotAllowed
        | P::AgentFieldNotAllowed
        | P::TooLarge
        | P::InboundFull => &[Sometimes("accepted")],
        P::InputHole | P::InputFull => &[Always("accepted")],
        P::OffsetNotKept => &[Always("keptFrom"), Always("length")],
        P::OffsetBeyondEnd => &[Always("length")],
        P::QueueFull => &[Sometimes("length")],
        P::WrongState => &[
            Sometimes("state"),
            Sometimes("continuedBy"),
            Sometimes("accepted"),
            Sometimes("closedBy"),
            Sometimes("decision"),
            Sometimes("principal"),
        ],
        P::BudgetSpent => &[Always("resetsAt")],
        P::TooManyAttempts => &[Always("retryAfterSeconds")],
        P::TooManyConnections => &[Sometimes("limit")],
        P::NotReady => &[Sometimes("reasons")],
        P::InvalidId
        | P::InvalidQuery
        | P::InvalidForwardedFor
        | P::Unauthorized
        | P::FromBox
        | P::Forbidden
        | P::SettingNotAllowed
        | P::ForeignHost
        | P::ForeignOrigin
        | P::NotFound
        | P::UnknownPath
        | P::UnknownConversation
        | P::MethodNotAllowed
        | P::IdInUse
        | P::OtherWorkspace
        | P::Deleted
        | P::CancelledBeforeAccepted
        | P::UpgradeRequired
        | P::Internal
        | P::NotImplemented
        | P::TooManyStreams
        | P::TooManyMcpSessions
        | P::Stopping
        | P::BoxReachesService
        | P::SpoolUnwritable => &[],
    }
}

/// Returns the schema of a further member of problems, and of errors over WebSocket.
pub(crate) fn member_schema(name: &str) -> Value {
    match name {
        "accepted" => count("The total of accepted bytes of input: the offset of the next call."),
        "keptFrom" => count("The offset of the oldest kept byte."),
        "length" => count("The present length in bytes; of a queue, its executions."),
        "state" => word::<State>("The state of the execution."),
        "continuedBy" => described(reference("ExecutionId"), "The execution that continues it."),
        "closedBy" => word::<ClosedBy>("The cause for which the question was closed before."),
        "decision" => or_null(word::<Decision>("The decision of that answer.")),
        "principal" => or_null(text("Who gave it.")),
        "resetsAt" => time("When the next budget begins."),
        "retryAfterSeconds" => count("The pause before the next attempt, in seconds."),
        "limit" => count("The limit that is reached."),
        "reasons" => list(reference("Obstacle"), "Why an execution would not start."),
        _ => Value::Bool(true),
    }
}

/// Returns the schema of a reason, or a warning, of a health page.
pub(super) fn obstacle() -> Value {
    Object::new("A reason why a service is not ready, or a missing protection.")
        .field("code", text("The stable name of the condition."))
        .field("message", text("The condition, for people."))
        .field(
            "remedy",
            text("The action that removes the condition, for people."),
        )
        .build()
}

/// Returns the meaning of a problem type, as docs/protocol.md has it.
#[must_use]
pub fn meaning(kind: ProblemType) -> &'static str {
    use ProblemType as P;
    match kind {
        P::InvalidId => "the id in the path or the query is not a UUID",
        P::InvalidBody => "the body is not as described, or did not arrive within 120 s",
        P::InvalidQuery => "a query parameter is wrong",
        P::InvalidForwardedFor => "a trusted proxy sent no usable `X-Forwarded-For`",
        P::Unauthorized => "the token is missing, wrong, removed or expired",
        P::FromBox => "the request came from the container of `claude-api`",
        P::Forbidden => {
            "the role of the token does not permit this, or the token may not use the \
             workspace or the budget"
        }
        P::BudgetSpent => "the principal has spent its budget of this day",
        P::NotAllowed => "the body asks for more than the operator allows",
        P::ControlRequestNotAllowed => {
            "the operator does not allow this control request, or what it asks for"
        }
        P::AgentFieldNotAllowed => "the definition of a sub-agent has a field that is not allowed",
        P::SettingNotAllowed => "`settings` has a member that is not allowed",
        P::ForeignHost => "the service does not answer to this `Host`",
        P::ForeignOrigin => "the `Origin` is foreign",
        P::NotFound => {
            "there is no such execution, or no such share; or it belongs to another principal"
        }
        P::UnknownPath => "there is no such path",
        P::UnknownConversation => "the conversation of the body is unknown",
        P::MethodNotAllowed => "the path does not take this method",
        P::IdInUse => "the id exists with another body, or belongs to another principal",
        P::OtherWorkspace => "the conversation belongs to another workspace",
        P::WrongState => {
            "the state of the execution does not allow this, it has too many shares, or \
             there is no token file"
        }
        P::InputHole => "the input begins after the accepted bytes",
        P::Deleted => {
            "the execution was deleted by a client, or by retention, within the last 30 days"
        }
        P::CancelledBeforeAccepted => {
            "the id was burned: a cancel arrived before the prompt was accepted. It does not \
             run; a new id would run it"
        }
        P::OffsetNotKept => "the offset is older than what is kept",
        P::TooLarge => "the prompt, a system prompt, the body or an input is too large",
        P::OffsetBeyondEnd => "the offset lies beyond the present end",
        P::UpgradeRequired => "a stream was requested over HTTP/1.0",
        P::TooManyAttempts => "this peer has sent too many wrong tokens",
        P::TooManyConnections => "this peer has too many open connections",
        P::Internal => "the service failed; its log says more",
        P::NotImplemented => "reserved; no call answers it",
        P::QueueFull => {
            "the queue, the principal's part of it, or the lane is full, or too many executions \
             have webhooks; nothing was recorded"
        }
        P::InputFull => "the CLI has not read enough of its input",
        P::InboundFull => "other bodies leave no memory for this one; it had no effect",
        P::TooManyStreams => "too many streams are open; nothing was recorded",
        P::TooManyMcpSessions => "all MCP sessions of the bridge are in use",
        P::Stopping => "the service is stopping",
        P::BoxReachesService => {
            "commands of the model reach the service through its published port, and there \
             is no token file"
        }
        P::NotReady => "an execution would not start",
        P::SpoolUnwritable => "the record cannot be written to the disk",
    }
}
