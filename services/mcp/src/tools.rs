//! The definitions of the tools.

use std::sync::LazyLock;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

pub(crate) const EXECUTE: &str = "execute";
pub(crate) const START: &str = "start";
pub(crate) const WAIT: &str = "wait";
pub(crate) const STATUS: &str = "status";
pub(crate) const OUTPUT: &str = "output";
pub(crate) const LIST: &str = "list";
pub(crate) const CONTROL: &str = "control";

static TOOLS: LazyLock<Vec<Tool>> = LazyLock::new(define);

/// All tools.
pub(crate) fn all() -> &'static [Tool] {
    &TOOLS
}

fn define() -> Vec<Tool> {
    let writes = || ToolAnnotations::new().read_only(false).destructive(true);
    let reads = || ToolAnnotations::new().read_only(true).open_world(false);
    vec![
        tool(
            EXECUTE,
            "Runs a prompt with the Claude CLI to its end and returns the answer. The result is an \
             error unless the state is `completed`. Cancelling the call cancels the execution, where the \
             protocol version has cancellation; a lost connection does not, unless onDisconnect is \
             \"cancel\".",
            execution(true),
            writes(),
        ),
        tool(
            START,
            "Starts a prompt with the Claude CLI and returns its executionId at once. Follow it with `wait`.",
            execution(false),
            writes(),
        ),
        tool(
            WAIT,
            "Returns the output of an execution since `offset`, when the execution has ended or after \
             maxSeconds. Pass the `nextOffset` of the answer as the next `offset`, until `ended` is true.",
            object(
                json!({
                    "executionId": id(),
                    "offset": offset(),
                    "maxSeconds": {"type": "integer", "minimum": 0, "maximum": 50, "default": 50,
                                   "description": "Longest time to wait"},
                }),
                &["executionId"],
            ),
            reads(),
        ),
        tool(
            STATUS,
            "Returns the status of an execution.",
            object(json!({"executionId": id()}), &["executionId"]),
            reads(),
        ),
        tool(
            OUTPUT,
            "Returns output of an execution that is there already, without waiting for more. Works \
             long after its end.",
            object(
                json!({
                    "executionId": id(),
                    "offset": offset(),
                    "maxBytes": {"type": "integer", "minimum": 4,
                                 "description": "Most bytes to return; the default is the server's limit"},
                }),
                &["executionId"],
            ),
            reads(),
        ),
        tool(
            LIST,
            "Lists executions, newest first. Pass `next` of the answer as `before` for the next page.",
            object(
                json!({
                    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 20},
                    "before": {"type": "string", "format": "uuid",
                               "description": "Only executions created before this one"},
                }),
                &[],
            ),
            reads(),
        ),
        tool(
            CONTROL,
            "Pauses, resumes or cancels an execution with everything it started. Repeating it changes nothing.",
            object(
                json!({
                    "executionId": id(),
                    "action": {"type": "string", "enum": ["pause", "resume", "cancel"]},
                }),
                &["executionId", "action"],
            ),
            writes().idempotent(true),
        ),
    ]
}

fn tool(
    name: &'static str,
    description: &'static str,
    schema: JsonObject,
    annotations: ToolAnnotations,
) -> Tool {
    Tool::new(name, description, schema).with_annotations(annotations)
}

fn object(properties: Value, required: &[&str]) -> JsonObject {
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    match schema {
        Value::Object(schema) => schema,
        _ => JsonObject::new(),
    }
}

fn id() -> Value {
    json!({"type": "string", "format": "uuid", "description": "The execution"})
}

fn offset() -> Value {
    json!({"type": "integer", "minimum": 0,
           "description": "Byte of the output to begin at; the default is the first byte that is kept"})
}

/// The fields of `protocol::Body`, and those of the WebSocket's `execute` that make sense here.
fn execution(waits: bool) -> JsonObject {
    let words = |text: &str| json!({"type": "string", "description": text});
    let names =
        |text: &str| json!({"type": "array", "items": {"type": "string"}, "description": text});
    let pairs = |text: &str| json!({"type": "object", "additionalProperties": {"type": "string"}, "description": text});
    let id = |text: &str| json!({"type": "string", "format": "uuid", "description": text});
    let choice = |of: &[&str], text: &str| json!({"type": "string", "enum": of, "default": of[0], "description": text});
    let mut properties = json!({
        "prompt": words("The prompt"),
        "promptMode": choice(&["verbatim", "commands"], "\"commands\" makes the CLI's /commands and @files work"),
        "format": choice(&["text", "events"], "The output: the answer's text, or the CLI's JSON lines"),
        "lane": words("Executions of one lane run one at a time, in order"),
        "model": words("The model"),
        "systemPrompt": words("Replaces the system prompt"),
        "appendSystemPrompt": words("Is added to the system prompt"),
        "allowedTools": names("Tools that run without asking, like Read or Bash(git log:*)"),
        "disallowedTools": names("Tools that do not run"),
        "permissionMode": words("The CLI's permission mode, up to what the operator allows"),
        "maxTurns": {"type": "integer", "minimum": 1, "description": "Most turns of the model"},
        "maxBudgetUsd": {"type": "number", "exclusiveMinimum": 0, "description": "Most money to spend"},
        "conversation": id("The execution whose conversation continues"),
        "continues": id("The execution that this one replaces"),
        "onInterrupt": choice(&["none", "continue"], "\"continue\": a new execution continues in the conversation when the service was stopped"),
        "onUsageLimit": choice(&["none", "wait"], "\"wait\": a new execution waits for the reset of a usage limit"),
        "workspace": words("The workspace, a name; the default is \"default\""),
        "env": pairs("Environment variables, of those the operator allows"),
        "idleTimeoutSeconds": {"type": "number", "exclusiveMinimum": 0, "description": "Ends it after this time without progress"},
        "deadlineSeconds": {"type": "number", "exclusiveMinimum": 0, "description": "Ends it after this running time"},
        "metadata": pairs("Returned in the status"),
        "executionId": id("An id of your own: a repeated call with it never runs a prompt twice"),
    });
    if waits {
        properties["onDisconnect"] = choice(
            &["continue", "cancel"],
            "\"cancel\": a lost connection ends the execution after the bridge's grace time (10 s by default)",
        );
    }
    object(properties, &["prompt"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Body;

    #[test]
    fn the_schema_has_every_field_of_the_body_but_input() {
        let body = serde_json::to_value(Body::new("p")).unwrap();
        let mut fields: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
        fields.retain(|name| name != "input"); // no tool sends input
        fields.extend(["executionId".to_owned(), "onDisconnect".to_owned()]);
        fields.sort_unstable();
        let schema = execution(true);
        let mut known: Vec<_> = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        known.sort_unstable();
        assert_eq!(known, fields);
    }
}
