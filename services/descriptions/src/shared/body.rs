//! The fields of the body of an execution (docs/protocol.md, "Body").
//!
//! Absent and null are the same. JSON Schema counts characters, and the services count bytes: a
//! text that keeps a limit in bytes also keeps it in characters, so no valid body is refused.

use protocol::body::{
    BUDGET_USD_MAX, CLI_OPTION_ENTRIES_MAX, DEFAULT_WORKSPACE, LIST_BYTES, MCP_PREFIX,
    METADATA_BYTES, NAME_BYTES, SDK_ENV_NAMES, SECONDS_MAX, TOOL_BYTES, TOOLS_MAX, WORKSPACE_CHARS,
};
use protocol::webhook::{URL_BYTES, WebhookEvent};
use protocol::{
    Format, InputMode, OnInterrupt, OnUsageLimit, PermissionPrompts, PromptMode, Thinking,
};
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
        "pattern": format!("^$|{NOT_BLANK}"),
        "description": "At most `promptBytes`, and not blank. Only with `permissionPrompts` \
            `client` it may be absent or empty.",
    })
}

/// Adds all fields of a body but `prompt`.
pub(crate) fn body_fields(object: Object) -> Object {
    cli_options(connections(lists(settings(modes(object)))))
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

/// Returns the schema of a body without a prompt, which needs a client that sends one later.
pub(crate) fn lacks_prompt() -> Value {
    let has_prompt = json!({ "type": "string", "minLength": 1 });
    json!({
        "not": { "required": ["prompt"], "properties": { "prompt": has_prompt } },
        "properties": {
            "permissionPrompts": { "not": { "const": PermissionPrompts::Client } },
        },
    })
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
    let is_client = json!({ "const": PermissionPrompts::Client });
    let is_text = json!({ "type": "string" });
    let client_without_input = json!({
        "required": ["permissionPrompts"],
        "properties": { "permissionPrompts": is_client },
        "not": {
            "required": ["input", "format"],
            "properties": {
                "input": { "const": InputMode::Stream }, "format": { "const": Format::Events },
            },
        },
    });
    let client_that_continues = json!({
        "required": ["permissionPrompts"],
        "properties": { "permissionPrompts": is_client },
        "anyOf": [
            {
                "required": ["onInterrupt"],
                "properties": { "onInterrupt": { "const": OnInterrupt::Continue } },
            },
            {
                "required": ["onUsageLimit"],
                "properties": { "onUsageLimit": { "const": OnUsageLimit::Wait } },
            },
        ],
    });
    let servers_without_client = json!({
        "required": ["mcpServers"],
        "properties": {
            "mcpServers": { "type": "object" }, "permissionPrompts": { "not": is_client },
        },
    });
    let input_idle_without_input = json!({
        "required": ["inputIdleSeconds"],
        "properties": {
            "inputIdleSeconds": { "type": "number" },
            "input": { "not": { "const": InputMode::Stream } },
        },
    });
    let no_conversation = json!({
        "not": { "required": ["conversation"], "properties": { "conversation": is_text } },
    });
    let nothing_to_continue = json!({
        "allOf": [no_conversation, {
            "not": { "required": ["continues"], "properties": { "continues": is_text } },
        }],
    });
    let fork_of_nothing = json!({
        "required": ["forkConversation"],
        "properties": { "forkConversation": { "const": true } },
        "allOf": [no_conversation],
    });
    let resumes_nothing = |name: &str| {
        json!({
            "required": [name],
            "properties": { name: is_text },
            "allOf": [nothing_to_continue],
        })
    };
    json!({ "anyOf": [
        both_continue, timeout_without_questions, questions_in_a_mode_without,
        client_without_input, client_that_continues, servers_without_client,
        input_idle_without_input, fork_of_nothing,
        resumes_nothing("resumeAt"), resumes_nothing("resumeDropsTurn"),
    ] })
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

/// Adds the options of the CLI that programs of the Agent SDK set.
fn cli_options(object: Object) -> Object {
    let name = |description: &str| {
        let schema = json!({
            "type": "string", "minLength": 1, "maxLength": NAME_BYTES, "pattern": NO_CONTROLS,
        });
        described(schema, description)
    };
    let entries = |max: usize, description: &str| {
        let entry = json!({
            "type": "string", "minLength": 1, "maxLength": TOOL_BYTES,
            "pattern": r"^[^\u0000-\u001f\u007f-\u009f,]*$",
            "allOf": [{ "pattern": NOT_BLANK }],
        });
        let schema = json!({ "type": "array", "maxItems": max, "items": entry });
        described(schema, description)
    };
    let json_object = |description: &str| {
        let text = format!("{description} At most {LIST_BYTES} bytes of JSON.");
        described(json!({ "type": "object" }), &text)
    };
    let flag = |default: bool, description: &str| {
        let schema = described(json!({ "type": "boolean" }), description);
        with_default(schema, json!(default))
    };
    let mut sdk_env = strings("Variables of the Agent SDK for the CLI.");
    sdk_env["propertyNames"] = json!({ "enum": SDK_ENV_NAMES });
    sdk_env["additionalProperties"] = text("");
    sdk_env["additionalProperties"]["pattern"] = NO_NUL.into();
    let idle = json!({ "type": "number", "exclusiveMinimum": 0, "maximum": SECONDS_MAX });
    object
        .setting(
            "fallbackModel",
            name("The model while the first one is overloaded."),
        )
        .setting(
            "effort",
            name("How much the model works: the CLI's `--effort`."),
        )
        .setting(
            "betas",
            entries(CLI_OPTION_ENTRIES_MAX, "Beta features of the model's API."),
        )
        .setting("thinking", word::<Thinking>("Whether the model thinks."))
        .setting(
            "thinkingDisplay",
            name("How thoughts are shown: the CLI's option."),
        )
        .setting(
            "maxThinkingTokens",
            range(0, u32::MAX.into(), "The maximum number of tokens to think."),
        )
        .setting(
            "taskBudget",
            range(1, u64::MAX, "The budget of tokens for the task."),
        )
        .setting("jsonSchema", json_object("The JSON schema of the answer."))
        .setting(
            "tools",
            entries(
                TOOLS_MAX,
                "The tools to offer, under the operator's ceiling.",
            ),
        )
        .setting(
            "includePartialMessages",
            flag(true, "Whether events have each token."),
        )
        .setting(
            "includeHookEvents",
            flag(false, "Whether events have the runs of hooks."),
        )
        .setting(
            "replayUserMessages",
            flag(false, "Whether events repeat each message of the client."),
        )
        .setting(
            "sessionMirror",
            flag(false, "Whether events have the lines of the transcript."),
        )
        .setting(
            "forkConversation",
            flag(false, "Continue a copy of `conversation`."),
        )
        .setting(
            "resumeAt",
            name("Continue after this message of the conversation."),
        )
        .setting("resumeDropsTurn", name("The turn that `resumeAt` drops."))
        .setting("agents", json_object("Definitions of sub-agents by name."))
        .setting(
            "settings",
            json_object("Settings of the CLI, from an allow-list."),
        )
        .setting(
            "mcpServers",
            json_object("MCP servers by name; `sdk`, or `http` by the operator."),
        )
        .setting("sdkEnv", with_default(sdk_env, json!({})))
        .setting(
            "inputIdleSeconds",
            described(
                idle,
                "How long the CLI waits for a message; an hour if absent.",
            ),
        )
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
        let object = body_fields(Object::new("")).setting("prompt", prompt());
        let schema = object.build();
        assert_fields(&schema, fields::<Body>());
        let defaults = serde_json::to_value(Body::new("x")).unwrap();
        for (name, default) in defaults.as_object().unwrap() {
            let described = &schema["properties"][name]["default"];
            assert!(name == "prompt" || described == default, "{name}");
        }
    }
}
