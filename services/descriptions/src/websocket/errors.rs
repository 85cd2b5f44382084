//! The JSON-RPC errors of the bridge (docs/protocol.md, "Error reasons").

use std::collections::BTreeMap;

use protocol::rpc::code;
use serde_json::{Value, json};

use crate::names::one_of;
use crate::schema::{Object, count, described, text};
use crate::shared::problems::member_schema;

/// A reason of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorReason {
    /// The code of JSON-RPC.
    pub code: i64,
    /// The stable name, the member `reason` of `data`.
    pub reason: &'static str,
    /// The case in which the bridge answers with it.
    pub meaning: &'static str,
}

/// Returns all reasons of errors.
#[must_use]
#[rustfmt::skip]
pub fn reasons() -> Vec<ErrorReason> {
    let reasons = [
        (code::PARSE_ERROR, "parse_error", "not JSON, or a lone surrogate; id null"),
        (code::INVALID_REQUEST, "invalid_request", "not a JSON-RPC 2.0 request"),
        (code::INVALID_REQUEST, "binary_frame", "a binary frame; id null"),
        (code::INVALID_REQUEST, "empty_batch", "a batch without a request; id null"),
        (code::INVALID_REQUEST, "batch_too_long", "a batch of more than `batch` requests; id null"),
        (code::METHOD_NOT_FOUND, "unknown_method", "no such method"),
        (
            code::INVALID_PARAMS,
            "invalid_params",
            "a parameter is missing, unknown or of a wrong type",
        ),
        (code::INVALID_PARAMS, "invalid_id", "an id is not a UUID"),
        (code::INVALID_PARAMS, "invalid_body", "a field of the body, or a line of input, is wrong"),
        (code::INVALID_PARAMS, "invalid_query", "a value is out of range"),
        (code::INVALID_PARAMS, "too_large", "a prompt, a system prompt or an input is too large"),
        (code::INVALID_PARAMS, "other_workspace", "the conversation belongs to another workspace"),
        (code::INVALID_PARAMS, "input_hole", "the input begins after the accepted bytes"),
        (code::INVALID_PARAMS, "offset_beyond_end", "the offset lies beyond the present end"),
        (code::INTERNAL_ERROR, "internal", "a service failed"),
        (
            code::INTERNAL_ERROR,
            "invalid_forwarded_for",
            "`claude-api` takes the bridge for a proxy",
        ),
        (
            code::INTERNAL_ERROR,
            "from_the_box",
            "`claude-api` mistakes the bridge for a command of the model",
        ),
        (
            code::INTERNAL_ERROR,
            "foreign_host",
            "`claude-api` does not answer to the name that the bridge uses",
        ),
        (code::INTERNAL_ERROR, "foreign_origin", "`claude-api` refuses the bridge's `Origin`"),
        (code::INTERNAL_ERROR, "unknown_path", "the bridge asked `claude-api` for an unknown path"),
        (code::INTERNAL_ERROR, "method_not_allowed", "the bridge used a wrong method"),
        (code::INTERNAL_ERROR, "upgrade_required", "the bridge reaches `claude-api` over HTTP/1.0"),
        (code::INTERNAL_ERROR, "not_implemented", "reserved"),
        (
            code::TOO_MANY_SESSIONS,
            "too_many_sessions",
            "there are too many sessions; id null, then close code 1013",
        ),
        (
            code::TOO_MANY_SESSIONS,
            "sessions_per_principal",
            "the principal has too many sessions; id null, then close code 1013",
        ),
        (code::NOT_ALLOWED, "not_allowed", "more than the operator allows"),
        (
            code::NOT_ALLOWED,
            "control_request_not_allowed",
            "the operator does not allow this control request, or what it asks for",
        ),
        (
            code::NOT_ALLOWED,
            "agent_field_not_allowed",
            "the definition of a sub-agent has a field that is not allowed",
        ),
        (
            code::NOT_ALLOWED,
            "setting_not_allowed",
            "`settings` has a member that is not allowed",
        ),
        (
            code::NOT_ALLOWED,
            "forbidden",
            "the role of the token does not permit this, or the token may not use the workspace or \
             the budget",
        ),
        (code::NOT_ALLOWED, "budget_spent", "the principal has spent its budget of this day"),
        (
            code::NO_SUCH_EXECUTION,
            "not_found",
            "`claude-api` knows no such execution, or it belongs to another principal",
        ),
        (code::NO_SUCH_EXECUTION, "unknown_conversation", "the conversation is unknown"),
        (
            code::NO_SUCH_EXECUTION,
            "no_live_execution",
            "no id was given, and there is no default execution",
        ),
        (
            code::NO_SUCH_EXECUTION,
            "not_accepted",
            "the `execute` that this request waited for was not accepted",
        ),
        (
            code::QUEUE_FULL,
            "queue_full",
            "the queue, the principal's part of it, or the lane is full; nothing was recorded. \
             `length` is absent when others fill the queue",
        ),
        (code::QUEUE_FULL, "too_many_views", "the session views `views` executions"),
        (
            code::QUEUE_FULL,
            "too_many_unanswered",
            "1024 executes, or 16 MiB of input and answers to questions, have no reply yet",
        ),
        (code::QUEUE_FULL, "too_many_lists", "lists and events of other sessions leave no memory"),
        (code::QUEUE_FULL, "inbound_bytes", "too many bytes wait for `claude-api`"),
        (code::UNAVAILABLE, "claude_api_unreachable", "no connection, or no answer"),
        (code::UNAVAILABLE, "stopping", "`claude-api` is stopping"),
        (code::UNAVAILABLE, "not_ready", "`claude-api` is not ready"),
        (code::UNAVAILABLE, "input_full", "the CLI has not read its input; send it again"),
        (code::UNAVAILABLE, "inbound_full", "`claude-api` has no memory for the body"),
        (code::UNAVAILABLE, "too_many_streams", "`claude-api` has too many streams"),
        (
            code::UNAVAILABLE,
            "too_many_connections",
            "the bridge has too many connections to `claude-api`",
        ),
        (
            code::UNAVAILABLE,
            "too_many_attempts",
            "`claude-api` has seen too many wrong tokens of the bridge, this one among them",
        ),
        (code::UNAVAILABLE, "too_many_mcp_sessions", "reserved; MCP only"),
        (code::UNAVAILABLE, "box_reaches_service", "`claude-api` serves only its health pages"),
        (code::UNAVAILABLE, "spool_unwritable", "the record cannot be written to the disk"),
        (code::UNAVAILABLE, "cancelled", "a CANCEL ended the `execute` before it was accepted"),
        (code::NOT_AUTHORISED, "unauthorized", "the token was removed, or has expired"),
        (code::OFFSET_NOT_KEPT, "offset_not_kept", "the output before `keptFrom` is gone"),
        (code::WRONG_STATE, "wrong_state", "the state does not allow this"),
        (
            code::ID_IN_USE,
            "id_in_use",
            "the id exists with another body, or belongs to another principal",
        ),
        (code::ID_IN_USE, "deleted", "the execution was deleted by a client, or by retention"),
        (code::ID_IN_USE, "cancelled_before_accepted", "the id was burned"),
    ];
    let reasons = reasons.into_iter();
    reasons
        .map(|(code, reason, meaning)| ErrorReason { code, reason, meaning })
        .collect()
}

/// Returns the reasons as the document has them.
pub(super) fn annotations() -> Vec<Value> {
    let reasons = reasons().into_iter();
    reasons
        .map(|error| {
            let ErrorReason {
                code,
                reason,
                meaning,
            } = error;
            json!({ "code": code, "reason": reason, "meaning": meaning })
        })
        .collect()
}

/// Returns the schema of an error. Each code has its own reasons.
pub(super) fn error() -> Value {
    let mut by_code: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
    for error in reasons() {
        by_code.entry(error.code).or_default().push(error.reason);
    }
    let pairs: Vec<_> = by_code
        .iter()
        .map(|(code, reasons)| {
            json!({ "properties": {
                "code": { "const": code },
                "data": { "properties": { "reason": { "enum": reasons } } },
            } })
        })
        .collect();
    let codes: Vec<_> = by_code.keys().collect();
    let code = json!({ "type": "integer", "enum": codes });
    let mut schema = Object::new("An error. Decide by `data.reason`, not by the message.")
        .field("code", described(code, "The code of JSON-RPC."))
        .field(
            "message",
            text("What was wrong and what to do, for people."),
        )
        .field("data", data())
        .build();
    schema["anyOf"] = pairs.into();
    schema
}

/// Returns the schema of the details of an error.
fn data() -> Value {
    let reasons: Vec<_> = reasons().into_iter().map(|error| error.reason).collect();
    let accepted = json!({
        "anyOf": [{ "const": false }, { "const": "unknown" }, { "type": "integer", "minimum": 0 }],
        "description": "Of an `execute`: false if the execution certainly does not exist, \
            `unknown` if it may. Of `input`: the total of accepted bytes.",
    });
    let id = "The execution. A malformed id of an `execute` is returned as it was sent, cut to 64 \
        characters.";
    let seconds = json!({ "type": "number", "minimum": 0 });
    let object = Object::new("Details for programs.")
        .field("reason", one_of(&reasons, "The stable reason."))
        .optional("executionId", text(id))
        .optional("accepted", accepted)
        .optional("attempts", count("The attempts to reach claude-api."))
        .optional(
            "seconds",
            described(seconds, "The time that the attempts took, in seconds."),
        );
    let more = [
        "keptFrom",
        "length",
        "limit",
        "state",
        "continuedBy",
        "closedBy",
        "decision",
        "principal",
        "resetsAt",
        "retryAfterSeconds",
        "reasons",
    ];
    let more = more.into_iter();
    more.fold(object, |object, name| {
        object.optional(name, member_schema(name))
    })
    .build()
}
