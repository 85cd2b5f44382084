//! Checks the fields of a body that pass to the CLI as its options, such as `effort`, `agents` and
//! `mcpServers`. The operator's ceiling over them is checked by claude-api.

use serde_json::{Map, Value};

use super::{LIST_BYTES, NAME_BYTES, SECONDS_MAX, TOOL_BYTES, TOOLS_MAX, field, total};
use crate::body::{Body, BodyError};
use crate::question::PermissionPrompts;
use crate::{InputMode, OnInterrupt, OnUsageLimit};

/// The environment variables of the Agent SDK that `sdkEnv` may have. Each variable only changes
/// the CLI's reports, or how long the CLI waits.
pub const SDK_ENV_NAMES: [&str; 5] = [
    "CLAUDE_AGENT_SDK_VERSION",
    "CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_PRINT_BG_WAIT_CEILING_MS",
    "CLAUDE_CODE_SDK_READS_SESSION_STATE",
];

/// The maximum number of entries in `betas`, `agents` and `mcpServers`.
pub const CLI_OPTION_ENTRIES_MAX: usize = 64;

impl Body {
    /// Checks the fields that become options of the CLI.
    pub(super) fn check_cli_options(&self) -> Result<(), BodyError> {
        self.check_client_prompts()?;
        for (name, value) in [
            ("fallbackModel", &self.fallback_model),
            ("effort", &self.effort),
            ("thinkingDisplay", &self.thinking_display),
            ("resumeAt", &self.resume_at),
            ("resumeDropsTurn", &self.resume_drops_turn),
        ] {
            check_name(name, value.as_deref())?;
        }
        self.check_conversation_options()?;
        check_entries("betas", self.betas.as_deref(), CLI_OPTION_ENTRIES_MAX)?;
        check_entries("tools", self.tools.as_deref(), TOOLS_MAX)?;
        for (name, object) in [
            ("jsonSchema", &self.json_schema),
            ("agents", &self.agents),
            ("settings", &self.settings),
            ("mcpServers", &self.mcp_servers),
        ] {
            check_object(name, object.as_ref())?;
        }
        for (name, object) in [("agents", &self.agents), ("mcpServers", &self.mcp_servers)] {
            if object
                .as_ref()
                .is_some_and(|entries| entries.len() > CLI_OPTION_ENTRIES_MAX)
            {
                return Err(field(
                    name,
                    format!("must have at most {CLI_OPTION_ENTRIES_MAX} members"),
                ));
            }
        }
        if self.task_budget == Some(0) {
            return Err(field("taskBudget", "must be at least 1"));
        }
        self.check_sdk_env()?;
        self.check_input_idle()
    }

    /// Checks that a client that answers prompts itself can read and send the messages of the CLI.
    fn check_client_prompts(&self) -> Result<(), BodyError> {
        let has_events = self.format == crate::Format::Events && self.input == InputMode::Stream;
        if self.permission_prompts == PermissionPrompts::Client && !has_events {
            return Err(field(
                "permissionPrompts",
                "\"client\" needs \"input\": \"stream\" and \"format\": \"events\"",
            ));
        }
        let is_client = self.permission_prompts == PermissionPrompts::Client;
        for (name, is_given) in [
            ("onInterrupt", self.on_interrupt != OnInterrupt::None),
            ("onUsageLimit", self.on_usage_limit != OnUsageLimit::None),
        ] {
            if is_client && is_given {
                return Err(field(
                    name,
                    "does not fit \"permissionPrompts\": \"client\": no client would answer the \
                     continuation",
                ));
            }
        }
        if self.mcp_servers.is_some() && self.permission_prompts != PermissionPrompts::Client {
            return Err(field(
                "mcpServers",
                "needs \"permissionPrompts\": \"client\"; leave it out, or set that",
            ));
        }
        Ok(())
    }

    fn check_conversation_options(&self) -> Result<(), BodyError> {
        if self.fork_conversation && self.conversation.is_none() {
            return Err(field(
                "forkConversation",
                "needs `conversation`, the conversation to fork",
            ));
        }
        let continues = self.conversation.is_some() || self.continues.is_some();
        for (name, is_given) in [
            ("resumeAt", self.resume_at.is_some()),
            ("resumeDropsTurn", self.resume_drops_turn.is_some()),
        ] {
            if is_given && !continues {
                return Err(field(name, "needs `conversation` or `continues`"));
            }
        }
        Ok(())
    }

    fn check_sdk_env(&self) -> Result<(), BodyError> {
        if let Some(name) = self
            .sdk_env
            .keys()
            .find(|name| !SDK_ENV_NAMES.contains(&name.as_str()))
        {
            return Err(field(
                "sdkEnv",
                format!(
                    "{name:?} is not a variable of the Agent SDK; use only {}",
                    SDK_ENV_NAMES.join(", ")
                ),
            ));
        }
        let has_nul = self.sdk_env.values().any(|value| value.contains('\0'));
        if has_nul || total(&self.sdk_env) > LIST_BYTES {
            return Err(field(
                "sdkEnv",
                format!("must have at most {LIST_BYTES} bytes and no NUL character"),
            ));
        }
        Ok(())
    }

    fn check_input_idle(&self) -> Result<(), BodyError> {
        let Some(seconds) = self.input_idle_seconds else {
            return Ok(());
        };
        if !(seconds > 0.0 && seconds <= SECONDS_MAX) {
            return Err(field(
                "inputIdleSeconds",
                format!("must be more than 0 and at most {SECONDS_MAX}"),
            ));
        }
        if self.input != InputMode::Stream {
            return Err(field("inputIdleSeconds", "needs \"input\": \"stream\""));
        }
        Ok(())
    }
}

fn check_name(name: &'static str, value: Option<&str>) -> Result<(), BodyError> {
    let is_good = |value: &str| {
        !value.is_empty() && value.len() <= NAME_BYTES && !value.chars().any(char::is_control)
    };
    if value.is_none_or(is_good) {
        Ok(())
    } else {
        Err(field(
            name,
            format!("must have 1 to {NAME_BYTES} bytes and no control characters"),
        ))
    }
}

/// Checks a list whose entries become one argument of the CLI, joined by commas.
fn check_entries(name: &'static str, list: Option<&[String]>, max: usize) -> Result<(), BodyError> {
    let list = list.unwrap_or_default();
    let is_bad = |entry: &String| {
        entry.trim().is_empty()
            || entry.len() > TOOL_BYTES
            || entry.contains(',')
            || entry.chars().any(char::is_control)
    };
    if list.len() > max || list.iter().any(is_bad) {
        return Err(field(
            name,
            format!(
                "must have at most {max} entries of 1 to {TOOL_BYTES} bytes without commas and \
                 control characters"
            ),
        ));
    }
    Ok(())
}

/// Checks the size of an object that becomes one argument of the CLI. The kernel limits an argument
/// to 128 KiB (`MAX_ARG_STRLEN`, execve(2)).
fn check_object(name: &'static str, object: Option<&Map<String, Value>>) -> Result<(), BodyError> {
    let json = object.map(|object| crate::json::to_vec(object).unwrap_or_default());
    let bytes = json.map_or(0, |json| json.len());
    if bytes > LIST_BYTES {
        return Err(field(
            name,
            format!("has {bytes} bytes of JSON; at most {LIST_BYTES} are allowed"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use serde_json::json;

    fn check(fields: Value) -> Result<(), String> {
        let body = Body::from_json(fields.to_string().as_bytes()).map_err(|e| e.to_string())?;
        body.check(&Limits::default()).map_err(|e| e.to_string())
    }

    fn client(fields: Value) -> Value {
        let mut body = json!({"permissionPrompts": "client", "input": "stream",
            "format": "events"});
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    #[test]
    fn a_client_that_answers_prompts_may_leave_out_the_prompt() {
        assert_eq!(check(client(json!({}))), Ok(()));
        assert_eq!(check(client(json!({"prompt": "x"}))), Ok(()));
        assert_eq!(check(client(json!({"prompt": null}))), Ok(()));
        assert!(check(client(json!({"prompt": " "}))).is_err());
        for (name, value) in [("input", "none"), ("format", "text")] {
            let error = check(client(json!({name: value}))).unwrap_err();
            assert!(error.contains("needs"), "{error}");
        }
        assert!(check(json!({"input": "stream", "format": "events"})).is_err());
        assert!(check(client(json!({"onInterrupt": "continue"}))).is_err());
        assert!(check(client(json!({"onUsageLimit": "wait"}))).is_err());
    }

    #[test]
    fn each_option_has_its_limits() {
        let long = "x".repeat(NAME_BYTES + 1);
        let many: Vec<_> = (0..=CLI_OPTION_ENTRIES_MAX)
            .map(|n| n.to_string())
            .collect();
        let members: Map<String, Value> =
            many.iter().map(|name| (name.clone(), json!({}))).collect();
        let text = "x".repeat(LIST_BYTES);
        for (name, good, bad) in [
            ("effort", json!("high"), json!(long)),
            ("fallbackModel", json!("m"), json!("")),
            ("thinkingDisplay", json!("summarized"), json!("a\nb")),
            ("thinking", json!("adaptive"), json!("much")),
            ("betas", json!(["a", "b"]), json!(many)),
            ("tools", json!(["Read"]), json!(["Read,Bash"])),
            ("tools", json!([]), json!([""])),
            ("maxThinkingTokens", json!(0), json!(-1)),
            ("taskBudget", json!(1), json!(0)),
            ("jsonSchema", json!({"type": "object"}), json!({"x": text})),
            ("agents", json!({"a": {}}), json!(members)),
            ("mcpServers", json!({"a": {"type": "sdk"}}), json!(members)),
            ("settings", json!({"model": "x"}), json!({"x": text})),
            (
                "sdkEnv",
                json!({"CLAUDE_CODE_ENTRYPOINT": "sdk-py"}),
                json!({"PATH": "/"}),
            ),
            ("inputIdleSeconds", json!(0.1), json!(0)),
            ("includePartialMessages", json!(false), json!("no")),
        ] {
            assert_eq!(check(client(json!({ name: good }))), Ok(()), "{name}");
            let error = check(client(json!({ name: bad }))).unwrap_err();
            assert!(
                error.contains(name) || error.contains("expected"),
                "{error}"
            );
        }
    }

    #[test]
    fn options_that_need_another_are_refused_without_it() {
        let id = "018f4e2a-7b3c-7def-8123-456789abcdef";
        for fields in [
            json!({"forkConversation": true}),
            json!({"resumeAt": "x"}),
            json!({"resumeDropsTurn": "x"}),
        ] {
            assert!(check(client(fields.clone())).is_err(), "{fields}");
            let mut with = client(fields);
            with["conversation"] = json!(id);
            assert_eq!(check(with), Ok(()));
        }
        let no_client = json!({"prompt": "x", "mcpServers": {}});
        assert!(check(no_client).unwrap_err().contains("client"));
        let no_input = json!({"prompt": "x", "inputIdleSeconds": 5});
        assert!(check(no_input).unwrap_err().contains("stream"));
    }
}
