//! The fields of the body of an execution (docs/protocol.md, "Body").
//!
//! Absent and null are the same. JSON Schema counts characters, and the services count bytes: a
//! text that keeps a limit in bytes also keeps it in characters, so no valid body is refused.

use protocol::body::{
    BUDGET_USD_MAX, DEFAULT_WORKSPACE, LIST_BYTES, MCP_PREFIX, METADATA_BYTES, NAME_BYTES,
    SECONDS_MAX, TOOL_BYTES, TOOLS_MAX, WORKSPACE_CHARS,
};
use protocol::webhook::{URL_BYTES, WebhookEvent};
use protocol::{Format, InputMode, OnInterrupt, OnUsageLimit, PermissionPrompts, PromptMode};
use serde_json::{Value, json};

use super::status::strings;
use crate::names::word;
use crate::schema::{Object, described, list, range, reference, text, with_default};

/// The pattern of a text with at least one character that is not white space (Unicode White_Space).
const NOT_BLANK: &str = r"[^\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]";
/// The pattern of a text without control characters.
const NO_CONTROLS: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// The pattern of a text without NUL.
const NO_NUL: &str = r"^[^\u0000]*$";

/// The pattern of a webhook's URL: a name or an IPv4 address, a port, a path and a query.
const WEBHOOK_URL: &str = concat!(
    "^https://(([A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?\\.){0,3}",
    "[A-Za-z]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?",
    "|((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}",
    "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9]))",
    "(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?",
    "([/?][A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?$",
);

/// Returns the schema of a prompt.
pub(crate) fn prompt() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "pattern": NOT_BLANK,
        "description": "At most `promptBytes`, and not blank.",
    })
}

/// Adds all fields of a body but `prompt`.
pub(crate) fn body_fields(object: Object) -> Object {
    connections(lists(settings(modes(object))))
        .setting("conversation", {
            let text = "The `conversation` of an earlier status. Executions of one conversation \
                run one at a time. Not together with `continues`.";
            described(reference("ExecutionId"), text)
        })
        .setting(
            "continues",
            described(reference("ExecutionId"), "The execution to continue."),
        )
}

/// Returns the schema of a body whose fields contradict each other.
pub(crate) fn contradictions() -> Value {
    let both_continue = json!({
        "required": ["conversation", "continues"],
        "properties": {
            "conversation": { "type": "string" }, "continues": { "type": "string" },
        },
    });
    let timeout_without_questions = json!({
        "required": ["questionTimeoutSeconds"],
        "properties": {
            "questionTimeoutSeconds": { "type": "number" },
            "permissionPrompts": { "not": { "const": PermissionPrompts::Ask } },
        },
    });
    let questions_in_a_mode_without = json!({
        "required": ["permissionPrompts", "permissionMode"],
        "properties": {
            "permissionPrompts": { "const": PermissionPrompts::Ask },
            "permissionMode": { "enum": ["dontAsk", "bypassPermissions"] },
        },
    });
    json!({ "anyOf": [both_continue, timeout_without_questions, questions_in_a_mode_without] })
}

/// Adds the fields whose values are words of a fixed set.
fn modes(object: Object) -> Object {
    object
        .setting(
            "promptMode",
            with_default(
                word::<PromptMode>("`commands`: the CLI's `/commands` and `@files` work."),
                json!(PromptMode::default()),
            ),
        )
        .setting(
            "format",
            with_default(
                word::<Format>("The content of the output: the answer, or the CLI's events."),
                json!(Format::default()),
            ),
        )
        .setting(
            "onInterrupt",
            with_default(
                word::<OnInterrupt>("`continue`: a new execution follows an interruption."),
                json!(OnInterrupt::default()),
            ),
        )
        .setting(
            "onUsageLimit",
            with_default(
                word::<OnUsageLimit>("`wait`: a new execution waits for the limit's reset."),
                json!(OnUsageLimit::default()),
            ),
        )
        .setting(
            "input",
            with_default(
                word::<InputMode>("`stream`: the CLI's stdin stays open for input."),
                json!(InputMode::default()),
            ),
        )
        .setting(
            "permissionPrompts",
            with_default(
                word::<PermissionPrompts>("Deny a permission prompt at once, or ask a person."),
                json!(PermissionPrompts::default()),
            ),
        )
}

/// Adds the fields with one text or number.
fn settings(object: Object) -> Object {
    let name = |description: &str| {
        let schema = json!({
            "type": "string", "minLength": 1, "maxLength": NAME_BYTES, "pattern": NO_CONTROLS,
        });
        described(
            schema,
            &format!("{description} At most {NAME_BYTES} bytes."),
        )
    };
    let system = |description: &str| {
        let schema = json!({ "type": "string", "pattern": NO_NUL });
        let text = format!("{description} At most `systemPromptBytes`.");
        described(schema, &text)
    };
    let positive = |max: f64, description: &str| {
        let schema = json!({ "type": "number", "exclusiveMinimum": 0, "maximum": max });
        described(schema, description)
    };
    object
        .setting(
            "lane",
            name("The lane. Over WebSocket the default is the `sessionId`."),
        )
        .setting("model", name("The model; the CLI's default if absent."))
        .setting(
            "permissionMode",
            name("The permission mode, up to the operator's ceiling."),
        )
        .setting("systemPrompt", system("Replaces the CLI's system prompt."))
        .setting(
            "appendSystemPrompt",
            system("Is added to the CLI's system prompt."),
        )
        .setting(
            "maxTurns",
            range(
                1,
                u32::MAX.into(),
                "The maximum number of turns of the model.",
            ),
        )
        .setting(
            "maxBudgetUsd",
            positive(BUDGET_USD_MAX, "The maximum cost in US dollars."),
        )
        .setting(
            "idleTimeoutSeconds",
            positive(
                SECONDS_MAX,
                "The time without progress before the end, in seconds.",
            ),
        )
        .setting(
            "deadlineSeconds",
            positive(
                SECONDS_MAX,
                "The maximum running time in seconds, without pauses.",
            ),
        )
        .setting("questionTimeoutSeconds", question_timeout())
        .setting("workspace", workspace())
}

fn question_timeout() -> Value {
    let schema = json!({ "type": "number", "minimum": 0, "maximum": SECONDS_MAX });
    let text = "The running time after which a question is denied; an hour if absent, never if 0. \
        Only with `permissionPrompts` `ask`.";
    described(schema, text)
}

fn workspace() -> Value {
    let more = WORKSPACE_CHARS - 1;
    let schema = json!({
        "type": "string", "pattern": format!("^[A-Za-z0-9][A-Za-z0-9._-]{{0,{more}}}$"),
    });
    let text = "The name of the folder in which the CLI works. It is created if it is missing.";
    with_default(described(schema, text), DEFAULT_WORKSPACE)
}

/// Adds the lists and the objects.
fn lists(object: Object) -> Object {
    let tool = || {
        json!({
            "type": "string", "minLength": 1, "maxLength": TOOL_BYTES, "pattern": NO_CONTROLS,
            "allOf": [{ "pattern": NOT_BLANK }],
        })
    };
    let mut own_tool = tool();
    own_tool["not"] = json!({ "pattern": format!("^{MCP_PREFIX}") });
    let tools = |items: Value, description: &str| {
        let schema = json!({ "type": "array", "maxItems": TOOLS_MAX, "items": items });
        let limit = format!("At most {LIST_BYTES} bytes in all.");
        described(schema, &format!("{description} {limit}"))
    };
    let mut env = strings("Variables of the CLI, with names on the operator's list.");
    env["propertyNames"] = json!({ "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" });
    env["additionalProperties"] = text("");
    env["additionalProperties"]["pattern"] = NO_NUL.into();
    let metadata = format!("Texts that the status returns, at most {METADATA_BYTES} bytes.");
    object
        .setting(
            "allowedTools",
            tools(
                own_tool,
                "`Name` or `Name(rule)`, under the operator's ceiling. No MCP tools.",
            ),
        )
        .setting("disallowedTools", tools(tool(), "Added to the operator's."))
        .setting("env", with_default(env, json!({})))
        .setting("metadata", with_default(strings(&metadata), json!({})))
}

/// Adds the fields that connect the execution with other systems: its trace, and its webhook.
fn connections(object: Object) -> Object {
    let webhook = Object::new("The receiver to which events are reported.")
        .field(
            "url",
            described(
                json!({ "type": "string", "maxLength": URL_BYTES, "pattern": WEBHOOK_URL }),
                "An `https://` URL whose host and port are on the operator's list. An IPv6 address \
                 in brackets is allowed, too, although the pattern has none.",
            ),
        )
        .setting("events", {
            let events = list(
                word::<WebhookEvent>("An event."),
                "The events to report, each at most once.",
            );
            let mut events = with_default(events, json!([WebhookEvent::Ended]));
            events["minItems"] = 1.into();
            events["uniqueItems"] = true.into();
            events
        })
        .closed();
    object
        .setting(
            "traceparent",
            text("The client's span (W3C Trace Context). A malformed one is ignored."),
        )
        .setting("tracestate", text("Data of tracing systems for the trace."))
        .setting("webhook", webhook.build())
}

#[cfg(test)]
mod tests {
    use protocol::Body;

    use super::*;
    use crate::names::fields;
    use crate::shared::tests::assert_fields;

    #[test]
    fn fields_and_defaults_agree_with_the_type() {
        let object = body_fields(Object::new("")).field("prompt", prompt());
        let schema = object.build();
        assert_fields(&schema, fields::<Body>());
        let defaults = serde_json::to_value(Body::new("x")).unwrap();
        for (name, default) in defaults.as_object().unwrap() {
            let described = &schema["properties"][name]["default"];
            assert!(name == "prompt" || described == default, "{name}");
        }
    }
}
