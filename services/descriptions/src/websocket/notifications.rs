//! The notifications of the bridge (docs/protocol.md, "Notifications" and "Notices").

use protocol::message::{OutputType, Upstream};
use protocol::rpc::method;
use protocol::{OUTPUT_MESSAGE_BYTES, PROTOCOL_VERSION, Reason, State};
use serde_json::{Map, Value, json};

use super::notification_schema;
use crate::names::{one_of, word};
use crate::schema::{
    Object, any_object, count, described, exactly, flag, list, or_null, reference, text,
};
use crate::shared::{WARNINGS, closed_fields, limits_fields, status_fields};

/// The word of the first status after a pause, in place of `RUNNING`.
const RESUMED: &str = "RESUMED";

/// The codes of notices that are not warnings, each with its meaning.
#[must_use]
pub fn notices() -> &'static [(&'static str, &'static str)] {
    &[
        ("api_retry", "the model's API failed; the CLI retries"),
        ("stalled", "there was no progress for a while"),
        ("tool_denied", "a tool was not allowed to run"),
        (
            "upstream_unreachable",
            "the bridge cannot reach `claude-api` and keeps trying",
        ),
        (
            "output_mismatch",
            "the output does not match the length or the crc32 in its terminal status; attach \
             again from 0",
        ),
        ("rejected", "a request without an id was refused"),
    ]
}

/// Returns the codes of all notices that the bridge sends.
pub(super) fn notice_codes() -> Vec<&'static str> {
    let own = notices().iter().map(|(code, _)| *code);
    own.chain(WARNINGS).collect()
}

/// Returns the names of all notifications.
#[must_use]
pub fn names() -> [&'static str; 7] {
    [
        method::CONNECTED,
        method::STATUS_UPDATE,
        method::OUTPUT,
        method::GAP,
        method::NOTICE,
        method::QUESTION,
        method::QUESTION_CLOSED,
    ]
}

/// Returns the schemas of all notifications, by name.
pub(super) fn schemas() -> Map<String, Value> {
    let params = [
        connected(),
        status_update(),
        output(),
        gap(),
        notice(),
        question(),
        question_closed(),
    ];
    let all = names().into_iter().zip(params);
    all.map(|(name, params)| {
        let schema = Object::new("")
            .field("jsonrpc", exactly("2.0"))
            .field("method", exactly(name))
            .field("params", params)
            .build();
        (notification_schema(name), schema)
    })
    .chain([("Capabilities".to_owned(), capabilities())])
    .collect()
}

fn connected() -> Value {
    let session = json!({ "type": "string", "format": "uuid" });
    let views = "executions that one session views at the same time";
    let limits = limits_fields(Object::new("The limits in force.")).field("views", count(views));
    Object::new("The greeting, the first message of a session.")
        .field("sessionId", session)
        .field("protocol", exactly(PROTOCOL_VERSION))
        .field("version", text("The release of the bridge."))
        .field("capabilities", reference("Capabilities"))
        .field("limits", or_null(limits.build()))
        .build()
}

fn capabilities() -> Value {
    let names = |text: &str| list(json!({ "type": "string" }), text);
    Object::new("The accepted words of requests.")
        .field("methods", names("The methods."))
        .field("control", names("The values of `type` in `control`."))
        .field("formats", names("The values of `format`."))
        .field("onSlow", names("The values of `onSlow`."))
        .field("onDisconnect", names("The values of `onDisconnect`."))
        .field("batch", flag("Batches are accepted."))
        .field("input", flag("Input is accepted."))
        .build()
}

/// Returns the schema of a `statusUpdate`: of an execution, or of an `execute` without an id that
/// was refused.
fn status_update() -> Value {
    let words = State::ALL.map(State::as_upper_case);
    let words: Vec<_> = words.into_iter().chain([RESUMED]).collect();
    let word_text = "The state in capitals; RESUMED once in place of RUNNING after a pause.";
    let update = status_fields(Object::new("The status of an execution."))
        .field("status", one_of(&words, word_text))
        .field(
            "elapsedMs",
            count("Milliseconds since `createdAt`, or until the end."),
        )
        .optional(
            "upstream",
            word::<Upstream>("Only while the bridge cannot reach claude-api."),
        )
        .build();
    let rejected = Object::new("The refusal of an `execute` without an id.")
        .field("status", exactly(State::Failed.as_upper_case()))
        .field("reason", exactly(Reason::Rejected.as_str()))
        .field("error", reference("Error"))
        .build();
    json!({ "anyOf": [update, rejected] })
}

fn output() -> Value {
    let content = json!({ "type": "string", "maxLength": OUTPUT_MESSAGE_BYTES });
    Object::new("The next bytes of the output.")
        .field("executionId", reference("ExecutionId"))
        .field("type", word::<OutputType>("The kind of the output."))
        .field("offset", count("The bytes of the output before `content`."))
        .field(
            "content",
            described(content, "At most 64 KiB of UTF-8; no character is split."),
        )
        .build()
}

fn gap() -> Value {
    Object::new("Bytes of the output that are not sent.")
        .field("executionId", reference("ExecutionId"))
        .field("from", count("The offset of the first byte."))
        .field("to", count("The offset after the last byte."))
        .build()
}

fn notice() -> Value {
    Object::new("An incident that does not change the state.")
        .optional("executionId", reference("ExecutionId"))
        .field("code", one_of(&notice_codes(), "The kind of the incident."))
        .field("message", text("The incident, for people."))
        .field("data", or_null(any_object("Details.")))
        .build()
}

fn question() -> Value {
    Object::new("An execution of a view asks; also for each open question when a view begins.")
        .field("executionId", reference("ExecutionId"))
        .field("question", reference("Question"))
        .build()
}

fn question_closed() -> Value {
    let object = Object::new("A question of a view was closed.")
        .field("executionId", reference("ExecutionId"));
    closed_fields(object).build()
}

#[cfg(test)]
mod tests {
    use protocol::message::{
        Capabilities, Connected, ConnectedLimits, Gap, Notice, Output, RejectedExecute,
    };

    use protocol::question::{ClosedQuestion, QuestionAsked};

    use super::*;
    use crate::names::fields;
    use crate::shared::tests::assert_fields;

    #[test]
    fn parameters_agree_with_the_types() {
        assert_fields(&connected(), fields::<Connected>());
        assert_fields(&capabilities(), fields::<Capabilities>());
        assert_fields(&output(), fields::<Output>());
        assert_fields(&gap(), fields::<Gap>());
        assert_fields(&notice(), fields::<Notice>());
        assert_fields(&question(), fields::<QuestionAsked>());
        // The type has the fields of the closed question in place of a member.
        let mut closed = vec!["executionId"];
        closed.extend(fields::<ClosedQuestion>());
        assert_fields(&question_closed(), &closed);
        assert_fields(&status_update()["anyOf"][1], fields::<RejectedExecute>());
    }

    #[test]
    fn the_limits_of_a_session_are_all_described() {
        let limits: ConnectedLimits = serde_json::from_value(json!({})).unwrap();
        let limits = serde_json::to_value(limits).unwrap();
        let names: Vec<_> = limits.as_object().unwrap().keys().collect();
        let names: Vec<_> = names.into_iter().map(String::as_str).collect();
        assert_fields(&connected()["properties"]["limits"], &names);
    }
}
