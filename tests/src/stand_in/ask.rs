//! The step `@ask`: the use of a tool that needs a permission. The program that started the
//! stand-in decides.

use serde_json::{Value, json};

use super::{
    control::Client,
    requests::{self, Answer, Wait},
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
/// Without `--permission-prompt-tool=stdio` the tool is denied at once.
pub(super) fn ask(turn: &mut Turn<'_>, client: &mut Client, name: &str, inputs: &[Value]) -> bool {
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
    let continues = if client.control.asks {
        turn.change_state("requires_action");
        for one in &uses {
            turn.out.line(&one.prompt());
        }
        let continues = decide(turn, client, &mut uses);
        turn.change_state("running");
        continues
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
    fn prompt(&self) -> String {
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
        requests::request(&self.request_id, &request)
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
fn decide(turn: &mut Turn<'_>, client: &mut Client, uses: &mut [Use<'_>]) -> bool {
    let ids: Vec<_> = uses.iter().map(|one| one.request_id.clone()).collect();
    let mut continues = true;
    let end = requests::await_answers(turn, client, &ids, |at, answer| {
        let decided = &mut uses[at];
        decided.outcome = Some(match answer {
            Answer::Response(response) if response["behavior"] == "allow" => {
                let updated = response.get("updatedInput").unwrap_or(decided.input);
                Ok(updated.clone())
            }
            Answer::Response(response) => {
                continues &= response["interrupt"] != true;
                let message = response["message"].as_str().unwrap_or("denied");
                Err(message.to_owned())
            }
            Answer::Refused(_) => Err("Tool permission request failed".to_owned()),
        });
    });
    match end {
        Wait::Answered => continues,
        Wait::Interrupted => {
            close(uses, INTERRUPTED);
            false
        }
        Wait::Closed => {
            close(uses, CLOSED);
            continues
        }
    }
}

/// Denies all uses that are open, with this message.
fn close(uses: &mut [Use<'_>], message: &str) {
    for one in uses.iter_mut().filter(|one| one.outcome.is_none()) {
        one.outcome = Some(Err(message.to_owned()));
    }
}
