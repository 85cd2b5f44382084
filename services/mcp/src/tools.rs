//! The definitions of the MCP tools, with their names, descriptions and JSON schemas.

use std::sync::LazyLock;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

mod execution;

use execution::execution;

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
