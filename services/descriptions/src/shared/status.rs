//! The status object and its parts (docs/protocol.md, "Status object").

use protocol::question::STATUS_QUESTIONS_MAX;
use protocol::status::{MAX_DENIALS, MAX_WARNINGS};
use protocol::webhook::{WebhookEvent, WebhookOutcome};
use protocol::{Reason, State};
use serde_json::{Value, json};

use crate::names::{one_of, word};
use crate::schema::{
    Object, any_object, count, described, flag, list, or_null, reference, text, time,
};

/// The codes of warnings (docs/protocol.md, "Warnings").
pub(crate) const WARNINGS: [&str; 18] = [
    "disk_full",
    "event_lost",
    "hook_failed",
    "tool_time_limit_passed",
    "process_left",
    "pipe_held",
    "usage_limit",
    "credentials_restarted",
    "empty_answer",
    "transcript_missing",
    "permission_update_dropped",
    "not_continued",
    "pause_incomplete",
    "start_delayed",
    "output_kept",
    "oom_score",
    "runner_readable",
    "more_warnings",
];

/// Returns the schema of the status object.
pub(super) fn status() -> Value {
    let text = "The status of an execution. Every field is always there, and null where unknown. \
        A status is at most `statusBytes` of JSON: long texts and lists are cut.";
    status_fields(Object::new(text)).build()
}

/// Adds the fields of the status object.
pub(crate) fn status_fields(object: Object) -> Object {
    timing(identity(ending(object)))
        .field(
            "activity",
            or_null(text(
                "The present activity: starting, thinking, writing, `tool: NAME`, `waiting: NAME`, \
                 retrying or `retrying: STATUS`.",
            )),
        )
        .field("stalled", flag("No progress for `stalledMs`."))
        .field(
            "model",
            or_null(text("As requested, then as the CLI reports it.")),
        )
        .field(
            "usage",
            or_null(any_object("Token counts, as the CLI gives them.")),
        )
        .field(
            "costUsd",
            or_null(described(json!({ "type": "number" }), "US dollars.")),
        )
        .field(
            "structuredOutput",
            described(
                json!({}),
                "The answer that follows `jsonSchema`; null without one, and over 32 KiB.",
            ),
        )
        .field("permissionDenials", denials())
        .field("questions", open_questions())
        .field("questionsOpen", count("How many questions are open."))
        .field(
            "restarts",
            count("How often the model's answer was started again."),
        )
        .field("noiseLines", count("Lines of stdout that are not JSON."))
        .field("warnings", warnings())
        .field("stderrTail", text("The last 16 KiB of stderr."))
        .field("metadata", strings("From the body."))
        .field("webhook", or_null(webhook()))
}

/// Returns the schema of the results of a webhook's events.
fn webhook() -> Value {
    let events = list(word::<WebhookEvent>("An event."), "The reported events.");
    let last = Object::new("The last attempt to deliver an event.")
        .field("at", time("When its result was known."))
        .field("event", word::<WebhookEvent>("The event."))
        .field("result", word::<WebhookOutcome>("Its result."));
    Object::new("The results of the webhook's events.")
        .field("host", text("Host and port of the receiver."))
        .field("events", events)
        .field(
            "pending",
            count("Events that wait for their delivery or its result."),
        )
        .field("delivered", count("Events that the receiver accepted."))
        .field("failed", count("Events that were given up."))
        .field("last", or_null(last.build()))
        .build()
}

/// Adds the fields that say how the execution ended, and what its output is.
fn ending(object: Object) -> Object {
    let hex = |digits: usize, description: &str| {
        let pattern = format!("^[0-9a-f]{{{digits}}}$");
        let schema = json!({ "type": "string", "pattern": pattern });
        or_null(described(schema, description))
    };
    object
        .field("state", word::<State>("The state."))
        .field(
            "reason",
            or_null(word::<Reason>("Why the execution ended in its state.")),
        )
        .field("error", or_null(reference("ErrorInfo")))
        .field(
            "exitCode",
            or_null(described(
                json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }),
                "The CLI's exit code. Null if it is not known.",
            )),
        )
        .field("outputBytes", count("The output's bytes, kept or not."))
        .field("keptFrom", count("The offset of the oldest kept byte."))
        .field("crc32", hex(8, "crc32 of the whole output, once terminal."))
        .field(
            "sha256",
            hex(64, "SHA-256 of the whole output. It is computed later."),
        )
}

/// Adds the fields that name the execution and its surroundings.
fn identity(object: Object) -> Object {
    let id = |description: &str| described(reference("ExecutionId"), description);
    object
        .field("executionId", reference("ExecutionId"))
        .field(
            "principal",
            or_null(text("The owner; null without a token file.")),
        )
        .field("workspace", text("The name of the workspace."))
        .field("lane", or_null(text("The name of the lane.")))
        .field(
            "conversation",
            or_null(text("The name of the conversation, for a later body.")),
        )
        .field(
            "continues",
            or_null(id("The execution that this one continues.")),
        )
        .field(
            "continuedBy",
            or_null(id("The execution that continues this one.")),
        )
}

/// Adds the times, and the position in the queue.
fn timing(object: Object) -> Object {
    object
        .field("createdAt", time("When the execution was accepted."))
        .field("startedAt", or_null(time("When the execution started.")))
        .field("endedAt", or_null(time("When the execution ended.")))
        .field(
            "durationMs",
            or_null(count("Running time in milliseconds, without pauses.")),
        )
        .field(
            "queuePosition",
            or_null(count("How many executions wait before this one.")),
        )
        .field(
            "notBefore",
            or_null(time("The earliest start of a continuation.")),
        )
}

fn denials() -> Value {
    let mut denials = list(
        any_object("A denied tool, as the CLI reports it."),
        "The tools that were not allowed to run.",
    );
    denials["maxItems"] = MAX_DENIALS.into();
    denials
}

fn open_questions() -> Value {
    let mut questions = list(reference("OpenQuestion"), "The oldest open questions.");
    questions["maxItems"] = STATUS_QUESTIONS_MAX.into();
    questions
}

fn warnings() -> Value {
    let mut warnings = list(
        reference("Warning"),
        "The incidents that did not end the execution.",
    );
    warnings["maxItems"] = MAX_WARNINGS.into();
    warnings
}

/// Returns the schema of an object whose members are strings.
pub(crate) fn strings(description: &str) -> Value {
    let schema = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    described(schema, description)
}

/// Returns the schema of a warning (docs/protocol.md, "Warnings").
pub(super) fn warning() -> Value {
    Object::new("An incident that did not end the execution.")
        .field("seq", count("The number of the warning, from 1."))
        .field("at", time("The time of the incident."))
        .field("code", one_of(&WARNINGS, "The kind of the incident."))
        .field("message", text("The incident, for people."))
        .field(
            "data",
            or_null(any_object("Details, which depend on the code.")),
        )
        .build()
}

/// Returns the schema of the error of a failed execution.
pub(super) fn error_info() -> Value {
    Object::new("The error that ended an execution.")
        .field("code", text("The reason, or `record_damaged`."))
        .field("message", text("What went wrong, for people."))
        .build()
}

#[cfg(test)]
mod tests {
    use protocol::{ErrorInfo, Status, Warning};

    use super::*;
    use crate::names::fields;
    use crate::shared::tests::assert_fields;

    #[test]
    fn fields_agree_with_the_types() {
        assert_fields(&status(), fields::<Status>());
        assert_fields(&warning(), fields::<Warning>());
        assert_fields(&error_info(), fields::<ErrorInfo>());
    }
}
