//! The whole input of a question. A message leaves out an input of more than 16 KiB, but the events
//! of the execution (the CLI's stdout) have the prompt with it.

use client::{Client, Error};
use protocol::question::Question;
use protocol::{ExecutionId, events};
use serde_json::Value;

/// The end of the events that is searched. A prompt has at most 1 MiB of input, and what follows an
/// open question is little, because the CLI waits.
const SEARCHED_BYTES: u64 = 4 * 1024 * 1024;
/// An offset that no execution's events reach. The refusal names their length. JavaScript, which a
/// proxy may use, has no larger integers.
const BEYOND_EVERY_END: u64 = (1 << 53) - 1;

/// Adds the input of a question whose message left it out. Leaves the question unchanged if the
/// input cannot be read.
pub(crate) async fn with_input(
    client: &Client,
    id: ExecutionId,
    mut question: Question,
) -> Question {
    if question.input.is_none()
        && let Ok(lines) = last_events(client, id).await
    {
        question.input = find(&lines, &question);
    }
    question
}

/// Returns the last events of an execution. The first line may be cut.
async fn last_events(client: &Client, id: ExecutionId) -> Result<String, Error> {
    let probe = client.events(id, Some(BEYOND_EVERY_END), events::MIN_BYTES);
    let length = match probe.await {
        Err(Error::Rpc(error)) if error.data["length"].is_u64() => error.data["length"].as_u64(),
        Err(error) => return Err(error),
        Ok(_) => None,
    };
    let length = length.unwrap_or_default();
    let mut offset = length.saturating_sub(SEARCHED_BYTES);
    let mut text = String::new();
    while offset < length {
        match client.events(id, Some(offset), events::MAX_BYTES).await {
            Ok(part) if part.next_offset > offset => {
                text.push_str(&part.text);
                offset = part.next_offset;
            }
            Ok(_) => break,
            // The oldest events are gone.
            Err(Error::Rpc(error)) if error.data["keptFrom"].as_u64() > Some(offset) => {
                offset = error.data["keptFrom"].as_u64().unwrap_or(length);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(text)
}

/// Finds the input of a question in the CLI's lines: that of a prompt for the same tool, with the
/// same size and the same title. `None` if there is none, or if two such inputs differ.
fn find(lines: &str, question: &Question) -> Option<Value> {
    let mut inputs: Vec<Value> = lines
        .lines()
        .filter(|line| line.contains("can_use_tool"))
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|mut event| {
            is_prompt_of(&event, question).then(|| event["request"]["input"].take())
        })
        .collect();
    inputs.dedup();
    match inputs.len() {
        1 => inputs.pop(),
        _ => None,
    }
}

/// Returns whether an event of the CLI is the prompt from which a question was made.
fn is_prompt_of(event: &Value, question: &Question) -> bool {
    let request = &event["request"];
    let input = &request["input"];
    let bytes = serde_json::to_vec(input).map_or(0, |json| json.len() as u64);
    event["type"] == "control_request"
        && request["subtype"] == "can_use_tool"
        && request["tool_name"] == question.tool.as_str()
        && bytes == question.input_bytes
        && (has_title(input, &question.title) || question.title == question.tool)
}

/// Returns whether a text in the input begins with the title, which is its beginning.
fn has_title(input: &Value, title: &str) -> bool {
    match input {
        Value::String(text) => text.starts_with(title),
        Value::Array(items) => items.iter().any(|item| has_title(item, title)),
        Value::Object(members) => members.values().any(|member| has_title(member, title)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn question(input: &Value) -> Question {
        serde_json::from_value(json!({
            "questionId": "018f4e2a-7b3c-7def-8123-456789abcdef", "kind": "permission",
            "tool": "Bash", "displayName": null, "title": "ls x", "description": null,
            "input": null, "inputBytes": input.to_string().len(), "suggestions": [],
            "agentId": null, "askedAt": "2026-01-01T00:00:00Z", "expiresAt": null,
        }))
        .unwrap()
    }

    fn prompt(tool: &str, input: &Value) -> String {
        let request = json!({"subtype": "can_use_tool", "tool_name": tool, "input": input});
        json!({"type": "control_request", "request": request}).to_string()
    }

    #[test]
    fn the_input_is_that_of_the_prompt_with_tool_size_and_title() {
        let input = json!({"command": "ls x1"});
        let lines = [
            "t\":\"cut\"}".to_owned(),
            prompt("Read", &input),
            prompt("Bash", &json!({"command": "rm x1"})),
            prompt("Bash", &json!({"command": "ls x12"})),
            prompt("Bash", &input),
            json!({"type": "assistant", "text": prompt("Bash", &json!({"command": "ls x2"}))})
                .to_string(),
        ];
        assert_eq!(
            find(&lines.join("\n"), &question(&input)),
            Some(input.clone())
        );
        assert_eq!(find(&lines[..4].join("\n"), &question(&input)), None);
        // Two that cannot be told apart.
        let other = prompt("Bash", &json!({"command": "ls x2"}));
        let lines = [prompt("Bash", &input), other].join("\n");
        assert_eq!(find(&lines, &question(&input)), None);
        let twice = [prompt("Bash", &input), prompt("Bash", &input)].join("\n");
        assert_eq!(find(&twice, &question(&input)), Some(input));
    }
}
