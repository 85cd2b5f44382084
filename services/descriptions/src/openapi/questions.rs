//! Operations about questions to a person (docs/protocol.md, "Questions").

use protocol::ProblemType as P;
use protocol::question::QuestionList;
use serde_json::Value;

use super::operation::Operation;
use crate::schema::{Object, described, list as list_of, or_null, reference};
use crate::shared::{answer_fields, closed_fields, question_fields, question_id};

const TAG: &str = "questions";
/// The path of one question.
const PATH: &str = "/v1/executions/{id}/questions/{questionId}";

/// Returns the operations of this module.
pub(super) fn operations() -> Vec<Operation> {
    vec![list_questions(), get_question(), answer_question()]
}

fn list_questions() -> Operation {
    let text = "Lists the open questions, and those that were closed last.";
    Operation::new(
        ("GET", "/v1/executions/{id}/questions"),
        "listQuestions",
        TAG,
        text,
    )
    .json(200, "The questions.", reference("QuestionList"))
    .problems(&[P::InvalidQuery, P::NotFound, P::Deleted])
}

fn get_question() -> Operation {
    let text = "Returns a question with its whole input.";
    of_question(Operation::new(("GET", PATH), "getQuestion", TAG, text))
        .json(200, "The question.", reference("QuestionDetails"))
        .problems(&[P::InvalidQuery, P::NotFound, P::Deleted])
}

fn answer_question() -> Operation {
    let text = "Answers a question. The first valid answer counts, and is on disk before it is \
        confirmed. The same answer again gets the same result; another one is 409 `wrong-state`.";
    of_question(Operation::new(("POST", PATH), "answerQuestion", TAG, text))
        .body("application/json", reference("QuestionAnswer"), true)
        .json(200, "The answer was accepted.", reference("Answered"))
        .problems(&[
            P::InvalidBody,
            P::InvalidQuery,
            P::NotAllowed,
            P::NotFound,
            P::WrongState,
            P::Deleted,
            P::TooLarge,
            P::InboundFull,
            P::SpoolUnwritable,
        ])
}

/// Adds the parameter of the path that names the question.
fn of_question(operation: Operation) -> Operation {
    operation.path_parameter("questionId", question_id("The question."))
}

/// Returns the schema of the questions of an execution.
pub(super) fn list() -> Value {
    let mut closed = list_of(reference("ClosedQuestion"), "The last ones, oldest first.");
    closed["maxItems"] = QuestionList::CLOSED_MAX.into();
    Object::new("The questions of an execution.")
        .field(
            "open",
            list_of(
                reference("Question"),
                "The open ones, oldest first. An `input` of more than 16 KiB is null.",
            ),
        )
        .field("closed", closed)
        .build()
}

/// Returns the schema of a question with how it was closed.
pub(super) fn details() -> Value {
    let closed = described(
        or_null(reference("ClosedQuestion")),
        "How it was closed; null while it is open.",
    );
    question_fields(Object::new("A question with its whole input."))
        .field("closed", closed)
        .build()
}

/// Returns the schema of a question that was closed.
pub(super) fn closed() -> Value {
    closed_fields(Object::new("A question that nobody can answer any more.")).build()
}

/// Returns the schema of an answer.
pub(super) fn answer() -> Value {
    answer_fields(Object::new("The answer of a person to a question.").closed()).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::fields;
    use crate::shared::tests::assert_fields;

    #[test]
    fn fields_agree_with_the_type() {
        assert_fields(&list(), fields::<QuestionList>());
    }
}
