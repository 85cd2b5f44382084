//! Responses of the client to requests of the CLI (`control_response`), built anew from known
//! members.

use protocol::question::{QuestionKind, cut};
use serde_json::{Map, Value, json};

use super::hooks;
use super::lines::{CheckedResponse, ControlFault, known_members};
use super::open_requests::{OpenRequest, OpenRequests};
use crate::config::AnswerCeiling;
use crate::execution::control_response::{denial, error_line, success_line};
use crate::execution::prompt::Prompt;

/// The longest error text of a client that passes to the CLI, in bytes.
const ERROR_BYTES_MAX: usize = 16 * 1024;

/// Checks a `control_response` line. The response to a request that is not open has no line for
/// the CLI, which ignores late responses.
///
/// # Errors
/// The line has no `response` with a `request_id`.
pub(super) fn check(
    line: &Value,
    open: &OpenRequests,
    ceiling: &AnswerCeiling,
) -> Result<CheckedResponse, ControlFault> {
    let response = line.get("response").unwrap_or(&Value::Null);
    let text = |name: &str| response.get(name).and_then(Value::as_str);
    let Some(request_id) = text("request_id") else {
        return Err(ControlFault::malformed(
            "is a control_response without `response.request_id`",
        ));
    };
    let mut dropped_updates = 0;
    let line = open.get(request_id).map(|request| {
        if text("subtype") != Some("success") {
            let error = text("error").unwrap_or("the client answered with an error");
            return error_line(request_id, cut(error, ERROR_BYTES_MAX));
        }
        let answer = response.get("response").unwrap_or(&Value::Null);
        let answer = match request {
            OpenRequest::Hook => hooks::restrict(answer),
            OpenRequest::ServerMessage => Value::Object(known_members(answer, &["mcp_response"])),
            OpenRequest::Elicitation => {
                Value::Object(known_members(answer, &["action", "content"]))
            }
            OpenRequest::Prompt {
                prompt,
                input_is_fixed,
            } => {
                let permission = permission(answer, prompt, *input_is_fixed, ceiling);
                dropped_updates = permission.dropped_updates;
                permission.answer
            }
        };
        success_line(request_id, &answer)
    });
    Ok(CheckedResponse {
        line,
        request_id: request_id.to_owned(),
        dropped_updates,
    })
}

/// The answer to a permission prompt, for the CLI.
struct Permission {
    answer: Value,
    dropped_updates: u64,
}

/// Returns the answer to a permission prompt. An answer beyond the ceiling, or of an unknown form,
/// becomes a denial.
fn permission(
    answer: &Value,
    prompt: &Prompt,
    input_is_fixed: bool,
    ceiling: &AnswerCeiling,
) -> Permission {
    let denied = |message: &str| Permission {
        answer: denial(message),
        dropped_updates: 0,
    };
    match answer.get("behavior").and_then(Value::as_str) {
        Some("allow") => {}
        Some("deny") => {
            let answer =
                Value::Object(known_members(answer, &["behavior", "message", "interrupt"]));
            return Permission {
                answer,
                dropped_updates: 0,
            };
        }
        _ => return denied("The client neither allowed nor denied this."),
    }
    let mut allowed = Map::from_iter([("behavior".to_owned(), json!("allow"))]);
    if let Some(input) = answer.get("updatedInput").filter(|input| input.is_object()) {
        // The answers to a choice are part of its input.
        let is_choice = prompt.kind == QuestionKind::Choice;
        if input_is_fixed && !is_choice && *input != prompt.input {
            return denied(&format!(
                "A rule of the operator limits {}, so its input cannot be changed.",
                prompt.tool
            ));
        }
        allowed.insert("updatedInput".to_owned(), input.clone());
    }
    let mut dropped_updates = 0;
    if let Some(updates) = answer.get("updatedPermissions").and_then(Value::as_array) {
        let kept: Vec<_> = updates
            .iter()
            .filter_map(|update| restrict_update(update, ceiling, &mut dropped_updates))
            .collect();
        if !kept.is_empty() {
            allowed.insert("updatedPermissions".to_owned(), json!(kept));
        }
    }
    Permission {
        answer: Value::Object(allowed),
        dropped_updates,
    }
}

/// Returns a change of the permissions with the rules that the ceiling allows, for the rest of the
/// execution. `None` if no rule is left. Only `addRules` is kept: the other changes set a mode, add
/// folders, or remove the operator's rules.
fn restrict_update(update: &Value, ceiling: &AnswerCeiling, dropped: &mut u64) -> Option<Value> {
    let text = |name: &str| update.get(name).and_then(Value::as_str);
    let behavior = text("behavior").unwrap_or_default();
    let rules = update.get("rules").and_then(Value::as_array);
    let is_added = text("type") == Some("addRules") && ["allow", "deny", "ask"].contains(&behavior);
    let Some(rules) = rules.filter(|_| is_added) else {
        *dropped += 1;
        return None;
    };
    let mut kept = Vec::new();
    for rule in rules {
        let tool = rule.get("toolName").and_then(Value::as_str);
        let Some(tool) = tool.filter(|tool| behavior != "allow" || ceiling.may_remember(tool))
        else {
            *dropped += 1;
            continue;
        };
        let mut known = json!({ "toolName": tool });
        if let Some(content) = rule
            .get("ruleContent")
            .filter(|content| content.is_string())
        {
            known["ruleContent"] = content.clone();
        }
        kept.push(known);
    }
    (!kept.is_empty()).then(|| {
        json!({
            "type": "addRules", "rules": kept, "behavior": behavior, "destination": "session",
        })
    })
}
