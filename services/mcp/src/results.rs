//! The results of MCP tool calls. Each has a text for the model, and the same as JSON for programs.

use client::OutputCheck;
use protocol::question::Answered;
use protocol::{Page, Question, State, Status};
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Value, json};

use crate::text::Text;

/// Creates the tool result of an execution that has ended. It is marked as an error (`isError`)
/// unless the state is `completed`.
pub(crate) fn ended(text: &Text, status: &Status, verdict: OutputCheck) -> CallToolResult {
    let mut result = described(text, status);
    result["verified"] = (verdict == OutputCheck::Verified).into();
    let mut content = vec![ContentBlock::text(text.text())];
    if let Some(remark) = remark(text, status) {
        content.push(ContentBlock::text(remark));
    }
    let mut answer = if status.state == State::Completed {
        CallToolResult::success(content)
    } else {
        CallToolResult::error(content)
    };
    answer.structured_content = Some(result);
    answer
}

/// Creates the tool result with the output of an execution so far and its present status. The
/// execution may still be running.
pub(crate) fn output(text: &Text, status: &Status, questions: &[Question]) -> CallToolResult {
    let mut result = described(text, status);
    result["ended"] = status.state.is_terminal().into();
    result["status"] = with_questions(status, questions);
    let state = format!(
        "{}; output continues at offset {}",
        described_state(status),
        text.next()
    );
    let mut content = vec![ContentBlock::text(text.text()), ContentBlock::text(state)];
    content.extend(open_questions(status, questions).map(ContentBlock::text));
    let mut answer = CallToolResult::success(content);
    answer.structured_content = Some(result);
    answer
}

/// Creates the tool result with the status of an execution. Its questions are whole, as far as they
/// are known.
pub(crate) fn status(status: &Status, questions: &[Question]) -> CallToolResult {
    CallToolResult::structured(with_questions(status, questions))
}

/// Creates the tool result of an answer to a question.
pub(crate) fn answered(answered: &Answered) -> CallToolResult {
    CallToolResult::structured(json!(answered))
}

/// Returns a status as JSON, with the known questions in place of their short forms.
fn with_questions(status: &Status, questions: &[Question]) -> Value {
    let mut json = json!(status);
    if !questions.is_empty() {
        json["questions"] = json!(questions);
    }
    json
}

/// Returns a text for the model about the questions that wait for an answer. `None` if there are
/// none.
fn open_questions(status: &Status, questions: &[Question]) -> Option<String> {
    if status.questions_open == 0 {
        return None;
    }
    let details = match questions.is_empty() {
        true => json!(status.questions),
        false => json!(questions),
    };
    Some(format!(
        "{} open; the execution waits for the user's decision, which the tool `answer` sends: \
         {details}",
        match status.questions_open {
            1 => "1 question is".to_owned(),
            many => format!("{many} questions are"),
        }
    ))
}

/// Creates the tool result with one page of the list of executions.
pub(crate) fn page(page: &Page) -> CallToolResult {
    CallToolResult::structured(json!(page))
}

/// Returns the status and output of an execution as JSON, which is the structured part of a tool
/// result.
fn described(text: &Text, status: &Status) -> Value {
    let mut result = json!({
        "executionId": status.execution_id,
        "state": status.state,
        "reason": status.reason,
        "exitCode": status.exit_code,
        "outputBytes": status.output_bytes,
        "status": status,
    });
    text.describe(&mut result);
    result
}

/// Returns the sentence that follows the output in a tool result. It says that the execution failed
/// or has not ended, or where a cut output continues. `None` if neither applies.
fn remark(text: &Text, status: &Status) -> Option<String> {
    let cut = (text.next() < status.output_bytes).then(|| {
        format!(
            "output cut at byte {} of {}; the tool `output` continues at that offset",
            text.next(),
            status.output_bytes
        )
    });
    let state = (status.state != State::Completed).then(|| {
        let error = status.error.as_ref().map(|error| error.message.as_str());
        let state = described_state(status);
        error.map_or_else(|| state.clone(), |error| format!("{state}: {error}"))
    });
    match (state, cut) {
        (Some(state), Some(cut)) => Some(format!("{state}\n{cut}")),
        (state, cut) => state.or(cut),
    }
}

/// Returns the state of an execution for people, with its reason if it has one, for example
/// `failed (auth_failed)`.
fn described_state(status: &Status) -> String {
    let state = status.state.as_str();
    match status.reason {
        Some(reason) => format!("{state} ({})", reason.as_str()),
        None => state.to_owned(),
    }
}
