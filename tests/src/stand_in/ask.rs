//! The step `@ask`: the use of a tool that needs a permission. The program that started the
//! stand-in decides.

use serde_json::{Value, json};

use super::{
    stdin::{Answer, Messages},
    turn::Turn,
};

/// The real CLI's text for the model after an interrupt.
const INTERRUPTED: &str = "The user doesn't want to proceed with this tool use.";
/// The real CLI's text for the model after the end of stdin.
const CLOSED: &str = "Tool permission request failed: AbortError: Tool permission stream closed \
    before response received";

/// A use of a tool that needs a permission.
struct Use<'a> {
    name: &'a str,
    input: &'a Value,
    tool_use_id: String,
    request_id: String,
    /// The input with which the tool runs, or the message of the denial. `None` while the prompt is
    /// open.
    outcome: Option<Result<Value, String>>,
}

/// Uses a tool with each of these inputs at the same time. Each use needs a permission. Says the
/// outcomes in order: `allowed INPUT`, or `denied MESSAGE`. Returns whether the turn continues.
/// `asks` is true if the stand-in was started with `--permission-prompt-tool=stdio`. Otherwise the
/// tool is denied at once.
pub(super) fn ask(
    turn: &mut Turn<'_>,
    messages: &mut Messages,
    asks: bool,
    name: &str,
    inputs: &[Value],
) -> bool {
    let mut uses: Vec<Use<'_>> = inputs
        .iter()
        .map(|input| Use {
            name,
            input,
            tool_use_id: format!("toolu_{}", uuid::Uuid::new_v4().simple()),
            request_id: uuid::Uuid::new_v4().to_string(),
            outcome: None,
        })
        .collect();
    for one in &uses {
        one.write_block(turn);
    }
    turn.end_message("tool_use");
    let continues = if asks {
        for one in &uses {
            turn.out.line(&one.prompt().to_string());
        }
        decide(turn, messages, &mut uses)
    } else {
        close(
            &mut uses,
            &format!("Permission to use {name} has been denied."),
        );
        true
    };
    let contents: Vec<_> = uses.iter().map(|one| one.write_result(turn)).collect();
    for content in contents.iter().filter(|_| continues) {
        turn.text(content);
        turn.text("\n");
    }
    continues
}

impl Use<'_> {
    fn write_block(&self, turn: &mut Turn<'_>) {
        let (id, name) = (&self.tool_use_id, self.name);
        let block =
            |input: &Value| json!({"type": "tool_use", "id": id, "name": name, "input": input});
        let text = self.input.to_string();
        turn.block(block(&json!({})), block(self.input), |delta| {
            delta(json!({"type": "input_json_delta", "partial_json": text}));
        });
    }

    /// Returns the request for the permission.
    fn prompt(&self) -> Value {
        let rule = self.input["command"].as_str().unwrap_or_default();
        let rules = json!([{"toolName": self.name, "ruleContent": rule}]);
        let suggestions = json!([
            {"type": "addRules", "rules": rules, "behavior": "allow",
                "destination": "localSettings"},
            {"type": "setMode", "mode": "acceptEdits", "destination": "session"},
        ]);
        let request = json!({
            "subtype": "can_use_tool", "tool_name": self.name, "display_name": self.name,
            "input": self.input, "description": self.input["description"],
            "permission_suggestions": suggestions, "tool_use_id": self.tool_use_id,
        });
        json!({"type": "control_request", "request_id": self.request_id, "request": request})
    }

    /// Writes the result of the tool. Returns its text.
    fn write_result(&self, turn: &mut Turn<'_>) -> String {
        let (is_error, content) = match &self.outcome {
            Some(Ok(input)) => (false, format!("allowed {input}")),
            Some(Err(message)) => (true, format!("denied {message}")),
            None => (true, format!("denied {CLOSED}")),
        };
        let result = json!([{
            "tool_use_id": self.tool_use_id, "type": "tool_result", "content": content,
            "is_error": is_error,
        }]);
        turn.out.line(&turn.lines.user(result, json!({})));
        content
    }
}

/// Waits for the decisions about all uses. Returns whether the turn continues.
fn decide(turn: &mut Turn<'_>, messages: &mut Messages, uses: &mut [Use<'_>]) -> bool {
    let mut continues = true;
    loop {
        let mut open: Vec<_> = uses
            .iter_mut()
            .filter(|one| one.outcome.is_none())
            .collect();
        if open.is_empty() {
            return continues;
        }
        let ids: Vec<_> = open.iter().map(|one| one.request_id.as_str()).collect();
        let (at, answer) = messages.answer(&ids);
        let decided = &mut open[at];
        match answer {
            Answer::Response(response) if response["behavior"] == "allow" => {
                let updated = response.get("updatedInput").unwrap_or(decided.input);
                decided.outcome = Some(Ok(updated.clone()));
            }
            Answer::Response(response) => {
                let message = response["message"].as_str().unwrap_or("denied");
                decided.outcome = Some(Err(message.to_owned()));
                continues &= response["interrupt"] != true;
            }
            Answer::Refused => {
                decided.outcome = Some(Err("Tool permission request failed".to_owned()));
            }
            Answer::Interrupted(id) => {
                for one in &open {
                    let request_id = &one.request_id;
                    let cancel =
                        json!({"type": "control_cancel_request", "request_id": request_id});
                    turn.out.line(&cancel.to_string());
                }
                let response = json!({"subtype": "success", "request_id": id, "response": {}});
                let response = json!({"type": "control_response", "response": response});
                turn.out.line(&response.to_string());
                close(uses, INTERRUPTED);
                return false;
            }
            Answer::End => {
                close(uses, CLOSED);
                return continues;
            }
        }
    }
}

/// Denies all uses that are open, with this message.
fn close(uses: &mut [Use<'_>], message: &str) {
    for one in uses.iter_mut().filter(|one| one.outcome.is_none()) {
        one.outcome = Some(Err(message.to_owned()));
    }
}
