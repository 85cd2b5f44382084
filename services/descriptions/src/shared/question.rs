//! Questions to a person, and their answers (docs/protocol.md, "Questions" and "Answers").

use protocol::question::{ClosedBy, Decision, MESSAGE_BYTES_MAX, QuestionKind};
use serde_json::{Value, json};

use super::ids::UUID_PATTERN;
use super::status::strings;
use crate::names::word;
use crate::schema::{
    Object, any_object, count, described, flag, list, or_null, text, time, with_default,
};

/// Returns the schema of the id of a question.
pub(crate) fn question_id(description: &str) -> Value {
    let schema = json!({ "type": "string", "format": "uuid", "pattern": UUID_PATTERN });
    described(schema, description)
}

/// Returns the schema of a question.
pub(super) fn question() -> Value {
    let text = "A decision that the CLI asks of a person while it runs.";
    question_fields(Object::new(text)).build()
}

/// Adds the fields of a question.
pub(crate) fn question_fields(object: Object) -> Object {
    brief(object)
        .field("displayName", or_null(text("The tool's name for people.")))
        .field(
            "description",
            or_null(text("The use in the model's words, or the reason to ask.")),
        )
        .field("input", or_null(any_object("The input of the tool.")))
        .field("inputBytes", count("The size of the input, as JSON."))
        .field(
            "suggestions",
            list(text(""), "The rules that `remember` may name."),
        )
        .field("agentId", or_null(text("The sub-agent that asks.")))
}

/// Returns the schema of an open question in a status.
pub(super) fn open_question() -> Value {
    brief(Object::new("An open question, in short.")).build()
}

/// Adds the fields of a question that a status also has.
fn brief(object: Object) -> Object {
    object
        .field("questionId", question_id("The id, which an answer names."))
        .field("kind", word::<QuestionKind>("The kind of the question."))
        .field("tool", text("The name of the tool."))
        .field(
            "title",
            text("The command, path or other subject; it may have line feeds."),
        )
        .field("askedAt", time("When the CLI asked."))
        .field(
            "expiresAt",
            or_null(time("When it is denied without an answer.")),
        )
}

/// Adds the fields of a question that was closed.
pub(crate) fn closed_fields(object: Object) -> Object {
    object
        .field("questionId", question_id("The question."))
        .field("closedBy", word::<ClosedBy>("The cause."))
        .field("decision", or_null(word::<Decision>("The decision.")))
        .field("principal", or_null(text("Who answered.")))
        .field("closedAt", time("When it was closed."))
}

/// Adds the fields of an answer.
pub(crate) fn answer_fields(object: Object) -> Object {
    let message = json!({ "type": "string", "maxLength": MESSAGE_BYTES_MAX });
    object
        .field("decision", word::<Decision>("Allow it or deny it."))
        .setting(
            "message",
            described(
                message,
                "Why it is denied, for the model. Only with `deny`.",
            ),
        )
        .setting(
            "updatedInput",
            any_object("The input with which the tool runs. Only of a permission."),
        )
        .setting(
            "answers",
            strings("For each part of a choice the label of an option, or a text."),
        )
        .setting("remember", {
            let entries = list(text(""), "Entries of `suggestions` that apply from now on.");
            with_default(entries, json!([]))
        })
        .setting(
            "interrupt",
            with_default(flag("With `deny`: the CLI also ends its turn."), false),
        )
}

/// Returns the schema of the result of an answer.
pub(super) fn answered() -> Value {
    Object::new("The question is closed by this answer, which is on disk.")
        .field("questionId", question_id("The question."))
        .field("decision", word::<Decision>("The decision."))
        .field("principal", or_null(text("Who answered.")))
        .build()
}

#[cfg(test)]
mod tests {
    use protocol::question::{Answer, Answered, ClosedQuestion, OpenQuestion, Question};

    use super::*;
    use crate::names::fields;
    use crate::shared::tests::assert_fields;

    #[test]
    fn fields_agree_with_the_types() {
        assert_fields(&question(), fields::<Question>());
        assert_fields(&open_question(), fields::<OpenQuestion>());
        assert_fields(&answered(), fields::<Answered>());
        let closed = closed_fields(Object::new("")).build();
        assert_fields(&closed, fields::<ClosedQuestion>());
        let answer = answer_fields(Object::new("")).build();
        assert_fields(&answer, fields::<Answer>());
    }
}
