//! The JSON schema of the arguments of the tools `execute` and `start`.

use protocol::webhook::WebhookEvent;
use rmcp::model::JsonObject;
use serde_json::{Value, json};

use super::object;

/// Returns the JSON schema of the arguments of `execute` and `start`, which are the fields of
/// `protocol::Body` and `executionId`. With `waits`, the tool waits for the end of the execution,
/// and the schema has `onDisconnect` too.
pub(super) fn execution(waits: bool) -> JsonObject {
    let positive =
        |text: &str| json!({"type": "number", "exclusiveMinimum": 0, "description": text});
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
    if let Some(properties) = properties.as_object_mut() {
        properties.extend(cli_options());
    }
    if waits {
        properties["onDisconnect"] = choice(
            &["continue", "cancel"],
            "\"cancel\": a lost connection ends the execution after the bridge's grace time (10 s \
             by default)",
        );
    }
    object(properties, &["prompt"])
}

/// Returns the schemas of the options of the CLI that programs of the Agent SDK know, without those
/// that need input.
fn cli_options() -> JsonObject {
    let members = |text: &str| json!({"type": "object", "description": text});
    let flag = |default: bool, text: &str| {
        let kind = "boolean";
        json!({"type": kind, "default": default, "description": text})
    };
    let options = json!({
        "fallbackModel": string("The model to use while the first one is overloaded"),
        "effort": string("How much the model works, like low or high"),
        "betas": names("Beta features of the model's API"),
        "thinking": {"type": "string", "enum": ["adaptive", "disabled"],
                     "description": "Whether the model thinks; the default is the CLI's"},
        "thinkingDisplay": string("How the output shows thoughts, like omitted"),
        "maxThinkingTokens": {"type": "integer", "minimum": 0,
                              "description": "Maximum tokens of thought"},
        "taskBudget": {"type": "integer", "minimum": 1,
                       "description": "Budget of the task, in tokens"},
        "jsonSchema": members("The JSON schema of the answer, which the status returns as \
                               `structuredOutput`"),
        "tools": names("The only tools that the model is offered; [] is none"),
        "includePartialMessages": flag(true, "Whether events have each token"),
        "includeHookEvents": flag(false, "Whether events have the runs of hooks"),
        "forkConversation": flag(false, "Continues a copy of `conversation`, which stays as it is"),
        "resumeAt": string("Continues after this message of the conversation"),
        "resumeDropsTurn": string("The turn that `resumeAt` drops"),
        "agents": members("Definitions of sub-agents, by name"),
        "settings": members("Settings of the CLI that the operator allows"),
    });
    match options {
        Value::Object(options) => options,
        _ => JsonObject::new(),
    }
}

fn string(text: &str) -> Value {
    json!({"type": "string", "description": text})
}

/// Returns the JSON schema of a list of texts.
fn names(text: &str) -> Value {
    json!({"type": "array", "items": {"type": "string"}, "description": text})
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
    use crate::arguments::CLIENT_FIELDS;
    use protocol::Body;

    #[test]
    fn the_schema_has_every_field_of_the_body_that_a_tool_can_use() {
        let body = serde_json::to_value(Body {
            include_partial_messages: false,
            include_hook_events: true,
            replay_user_messages: true,
            session_mirror: true,
            fork_conversation: true,
            sdk_env: [("n".to_owned(), "v".to_owned())].into(),
            ..Body::new("p")
        })
        .unwrap();
        let mut fields: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
        for other in CLIENT_FIELDS.iter().chain(&["input"]) {
            let at = fields.iter().position(|name| name == other);
            fields.remove(at.expect("a field of the body"));
        }
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
