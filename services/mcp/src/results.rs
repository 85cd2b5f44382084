//! The results of tool calls: a text for the model, and the same as JSON for programs.

use client::Verdict;
use protocol::{Page, State, Status};
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Value, json};

use crate::text::Text;

/// Returns the result of an execution that has ended. It is marked as an error unless the state is
/// `completed`.
pub(crate) fn ended(text: &Text, status: &Status, verdict: Verdict) -> CallToolResult {
    let mut result = described(text, status);
    result["verified"] = (verdict == Verdict::Verified).into();
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

/// Returns the output of an execution so far and its present status. The execution may still run.
pub(crate) fn output(text: &Text, status: &Status) -> CallToolResult {
    let mut result = described(text, status);
    result["ended"] = status.state.is_terminal().into();
    let state = format!(
        "{}; output continues at offset {}",
        described_state(status),
        text.next()
    );
    let content = vec![ContentBlock::text(text.text()), ContentBlock::text(state)];
    let mut answer = CallToolResult::success(content);
    answer.structured_content = Some(result);
    answer
}

/// Returns the status of an execution as the result of a tool.
pub(crate) fn status(status: &Status) -> CallToolResult {
    CallToolResult::structured(json!(status))
}

/// Returns a list of executions as the result of a tool.
pub(crate) fn page(page: &Page) -> CallToolResult {
    CallToolResult::structured(json!(page))
}

/// Returns an execution and its output as JSON, the structured part of a result.
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

/// Returns the sentence that follows the output in a result: that the execution failed or has not
/// ended, or where a cut output continues. None if there is nothing to say.
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

/// Returns the state of an execution, with its reason if it has one, for example
/// `failed (auth_failed)`.
fn described_state(status: &Status) -> String {
    let state = status.state.as_str();
    match status.reason {
        Some(reason) => format!("{state} ({})", reason.as_str()),
        None => state.to_owned(),
    }
}
