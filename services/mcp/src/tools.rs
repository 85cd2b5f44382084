//! The definitions of the MCP tools, with their names, descriptions and JSON schemas.

use std::sync::LazyLock;

use protocol::webhook::WebhookEvent;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

pub(crate) const EXECUTE: &str = "execute";
pub(crate) const START: &str = "start";
pub(crate) const WAIT: &str = "wait";
pub(crate) const STATUS: &str = "status";
pub(crate) const OUTPUT: &str = "output";
pub(crate) const LIST: &str = "list";
pub(crate) const CONTROL: &str = "control";
pub(crate) const ANSWER: &str = "answer";

static TOOLS: LazyLock<Vec<Tool>> = LazyLock::new(define);

/// Returns the definitions of all MCP tools, in the order in which clients see them.
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
             error unless the state is `completed`. Cancelling the call cancels the execution, if \
             the protocol version has cancellation; a lost connection does not, unless \
             onDisconnect is \"cancel\".",
            execution(true),
            writes(),
        ),
        tool(
            START,
            "Starts a prompt with the Claude CLI and returns its executionId immediately. Then \
             call `wait`.",
            execution(false),
            writes(),
        ),
        tool(
            WAIT,
            "Returns the output of an execution from `offset`, when the execution has ended or \
             after maxSeconds. While a question is open, it returns after 5 s. Pass the \
             `nextOffset` of the answer as the next `offset`, until `ended` is true.",
            object(
                json!({
                    "executionId": id(),
                    "offset": offset(),
                    "maxSeconds": {"type": "integer", "minimum": 0, "maximum": 50, "default": 50,
                                   "description": "Maximum time to wait"},
                }),
                &["executionId"],
            ),
            reads(),
        ),
        tool(
            STATUS,
            "Returns the status of an execution, with its open questions.",
            object(json!({"executionId": id()}), &["executionId"]),
            reads(),
        ),
        tool(
            OUTPUT,
            "Returns the present output of an execution without waiting for more, also after the \
             execution has ended.",
            object(
                json!({
                    "executionId": id(),
                    "offset": offset(),
                    "maxBytes": {"type": "integer", "minimum": 4,
                                 "description": "Maximum bytes to return; the default is the \
                                                 server's limit"},
                }),
                &["executionId"],
            ),
            reads(),
        ),
        tool(
            LIST,
            "Lists executions, newest first. Pass `next` of the answer as `before` to get the next \
             page.",
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
            "Pauses, resumes or cancels an execution with every process it started. Repeating the \
             call changes nothing.",
            object(
                json!({
                    "executionId": id(),
                    "action": {"type": "string", "enum": ["pause", "resume", "cancel"]},
                }),
                &["executionId", "action"],
            ),
            writes().idempotent(true),
        ),
        tool(
            ANSWER,
            "Answers a question of an execution that runs with permissionPrompts \"ask\". `status` \
             and `wait` return the open questions. Ask the user before you allow anything. The \
             first answer counts; the same answer again changes nothing.",
            answer(),
            writes().idempotent(true),
        ),
    ]
}

/// Returns the JSON schema of the arguments of `answer`.
fn answer() -> JsonObject {
    object(
        json!({
            "executionId": id(),
            "questionId": {"type": "string", "format": "uuid", "description": "The question"},
            "decision": {"type": "string", "enum": ["allow", "deny"]},
            "message": {"type": "string",
                        "description": "With \"deny\": the reason, which the model reads"},
            "answers": {"type": "object", "additionalProperties": {"type": "string"},
                        "description": "With \"allow\" of a choice: for the text of each question \
                                        the label of an option, or a text of your own"},
            "remember": {"type": "array", "items": {"type": "string"},
                         "description": "With \"allow\" of a permission: entries of its \
                                         `suggestions`, which allow further uses in this \
                                         execution"},
            "updatedInput": {"type": "object",
                             "description": "With \"allow\" of a permission: the input with which \
                                             the tool runs, in place of its own"},
            "interrupt": {"type": "boolean", "default": false,
                          "description": "With \"deny\": also ends the model's turn"},
        }),
        &["executionId", "questionId", "decision"],
    )
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
           "description": "Byte offset in the output to begin at; the default is the first kept \
                           byte"})
}

/// Returns the JSON schema of the arguments of `execute` and `start`, which are the fields of
/// `protocol::Body` and `executionId`. With `waits`, the tool waits for the end of the execution,
/// and the schema has `onDisconnect` too.
fn execution(waits: bool) -> JsonObject {
    let string = |text: &str| json!({"type": "string", "description": text});
    let positive =
        |text: &str| json!({"type": "number", "exclusiveMinimum": 0, "description": text});
    let names =
        |text: &str| json!({"type": "array", "items": {"type": "string"}, "description": text});
    let pairs = |text: &str| {
        let value = json!({"type": "string"});
        json!({"type": "object", "additionalProperties": value, "description": text})
    };
    let id = |text: &str| json!({"type": "string", "format": "uuid", "description": text});
    let choice = |values: &[&str], text: &str| {
        let default = values[0];
        json!({"type": "string", "enum": values, "default": default, "description": text})
    };
    let mut properties = json!({
        "prompt": string("The prompt"),
        "promptMode": choice(
            &["verbatim", "commands"],
            "\"commands\" enables the CLI's /commands and @files",
        ),
        "format": choice(
            &["text", "events"],
            "The output: the answer's text, or the CLI's JSON lines",
        ),
        "lane": string("Executions of one lane run one at a time, in order"),
        "model": string("The model"),
        "systemPrompt": string("Replaces the system prompt"),
        "appendSystemPrompt": string("Text to append to the system prompt"),
        "allowedTools": names("Tools that run without asking, like Read or Bash(git log:*)"),
        "disallowedTools": names("Tools that may not run"),
        "permissionMode": string("The CLI's permission mode, up to what the operator allows"),
        "permissionPrompts": choice(
            &["deny", "ask"],
            "\"ask\": what the permissions do not allow becomes a question, which the tool \
             `answer` answers",
        ),
        "questionTimeoutSeconds": {"type": "number", "minimum": 0,
            "description": "Running time after which an unanswered question is denied; the \
                            default is an hour, 0 is no limit"},
        "maxTurns": {"type": "integer", "minimum": 1, "description": "Maximum model turns"},
        "maxBudgetUsd": positive("Budget in US dollars"),
        "conversation": id("The conversation to continue, from the status of an execution"),
        "continues": id("The execution whose conversation this one continues"),
        "onInterrupt": choice(
            &["none", "continue"],
            "\"continue\": if the service stops, a new execution continues the conversation",
        ),
        "onUsageLimit": choice(
            &["none", "wait"],
            "\"wait\": at a usage limit, a new execution waits for the reset",
        ),
        "workspace": string("The workspace, a name; the default is \"default\""),
        "env": pairs("Environment variables that the operator allows"),
        "idleTimeoutSeconds": positive("Ends the execution after this time without progress"),
        "deadlineSeconds": positive("Ends the execution after this running time"),
        "metadata": pairs("Metadata returned in the status"),
        "webhook": webhook(),
        "traceparent": string("The client's span (W3C Trace Context)"),
        "tracestate": string("Data of tracing systems for that trace"),
        "executionId": id("An id that you choose: a repeated call with it never runs twice"),
    });
    if waits {
        properties["onDisconnect"] = choice(
            &["continue", "cancel"],
            "\"cancel\": a lost connection ends the execution after the bridge's grace time (10 s \
             by default)",
        );
    }
    object(properties, &["prompt"])
}

/// Returns the JSON schema of the argument `webhook`.
fn webhook() -> Value {
    let names = WebhookEvent::ALL.map(WebhookEvent::as_str);
    json!({
        "type": "object",
        "description": "An HTTPS receiver that the operator allows, to which events are reported",
        "properties": {
            "url": {"type": "string", "description": "The https:// URL"},
            "events": {
                "type": "array",
                "items": {"type": "string", "enum": names},
                "description": "The events; the default is [\"ended\"]",
            },
        },
        "required": ["url"],
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Body;

    #[test]
    fn the_schema_has_every_field_of_the_body_but_input() {
        let body = serde_json::to_value(Body::new("p")).unwrap();
        let mut fields: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
        fields.retain(|name| name != "input"); // No tool sends input.
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
