//! The body of an execution, which is the prompt and the settings that a client sends to run it
//! (docs/protocol.md, "Body").
//!
//! An unknown field is an error. A field that is absent or null has its default value.

mod check;
mod error;

use std::collections::BTreeMap;

use ring::digest;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::json::{integer_or_null, or_default};
use crate::question::PermissionPrompts;
use crate::webhook::Webhook;
use crate::{ExecutionId, TraceContext};
pub use check::{
    BUDGET_USD_MAX, CLI_OPTION_ENTRIES_MAX, LIST_BYTES, MCP_PREFIX, METADATA_BYTES, NAME_BYTES,
    SDK_ENV_NAMES, SECONDS_MAX, TOOL_BYTES, TOOLS_MAX, WORKSPACE_CHARS, env_name_is_forbidden,
};
pub use error::BodyError;

/// How the Claude CLI interprets the text of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptMode {
    /// The prompt is plain text. A leading `/` or an `@` has no special meaning.
    #[default]
    Verbatim,
    /// The prompt is read as if it were typed into the CLI. `/commands` run, and `@files` insert
    /// the content of files.
    Commands,
}

/// The form of an execution's output, which the bridge streams to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The model's answer as plain text, streamed while it is generated.
    #[default]
    Text,
    /// The lines that the CLI writes to its stdout, normally JSON.
    Events,
}

/// Whether clients can send further messages to the CLI of an execution after the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputMode {
    /// Clients cannot send further messages. The CLI's stdin is closed after the prompt.
    #[default]
    None,
    /// Clients can send further messages. The CLI's stdin stays open, and the request `input`
    /// writes to it.
    Stream,
}

/// Whether the model thinks before it answers (the CLI's option `--thinking`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thinking {
    /// The model decides how much it thinks.
    Adaptive,
    /// The model does not think.
    Disabled,
}

impl Thinking {
    /// Returns the value as JSON and the CLI spell it, for example `adaptive`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
            Self::Disabled => "disabled",
        }
    }
}

/// What claude-api does after an execution was interrupted, because its runner (the process that
/// starts and watches the CLI) died, or because claude-api was stopped or killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInterrupt {
    /// claude-api does nothing more. The execution stays in the terminal state `interrupted`.
    #[default]
    None,
    /// claude-api creates a new execution that continues the same conversation.
    Continue,
}

/// What claude-api does after an execution failed because the usage limit of the model account was
/// reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUsageLimit {
    /// claude-api does nothing more. The execution stays in the terminal state `failed`.
    #[default]
    None,
    /// claude-api creates a new execution in the same conversation, which waits until the limit is
    /// reset.
    Wait,
}

/// The body of an execution, with its prompt and the settings for the CLI and for claude-api. Only
/// `prompt` is required; every other field has a default. With [`PermissionPrompts::Client`],
/// `prompt` may be absent too, and is then empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "docs/protocol.md, \"Body\", describes each field"
)]
pub struct Body {
    #[serde(default, deserialize_with = "or_default")]
    pub prompt: String,
    #[serde(default, deserialize_with = "or_default")]
    pub prompt_mode: PromptMode,
    #[serde(default, deserialize_with = "or_default")]
    pub format: Format,
    #[serde(default)]
    pub lane: Option<String>,
    #[serde(default)]
    pub model: Option<String>,
    #[serde(default)]
    pub system_prompt: Option<String>,
    #[serde(default)]
    pub append_system_prompt: Option<String>,
    #[serde(default)]
    pub allowed_tools: Option<Vec<String>>,
    #[serde(default)]
    pub disallowed_tools: Option<Vec<String>>,
    #[serde(default)]
    pub permission_mode: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub permission_prompts: PermissionPrompts,
    #[serde(default)]
    pub question_timeout_seconds: Option<f64>,
    #[serde(default, deserialize_with = "integer_or_null")]
    pub max_turns: Option<u32>,
    #[serde(default)]
    pub max_budget_usd: Option<f64>,
    #[serde(default)]
    pub conversation: Option<ExecutionId>,
    #[serde(default)]
    pub continues: Option<ExecutionId>,
    #[serde(default, deserialize_with = "or_default")]
    pub on_interrupt: OnInterrupt,
    #[serde(default, deserialize_with = "or_default")]
    pub on_usage_limit: OnUsageLimit,
    #[serde(
        default = "default_workspace",
        deserialize_with = "or_default_workspace"
    )]
    pub workspace: String,
    #[serde(default, deserialize_with = "or_default")]
    pub env: BTreeMap<String, String>,
    #[serde(default)]
    pub idle_timeout_seconds: Option<f64>,
    #[serde(default)]
    pub deadline_seconds: Option<f64>,
    #[serde(default, deserialize_with = "or_default")]
    pub input: InputMode,
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub traceparent: Option<String>,
    #[serde(default)]
    pub tracestate: Option<String>,
    #[serde(default)]
    pub webhook: Option<Webhook>,
    #[serde(default)]
    pub fallback_model: Option<String>,
    #[serde(default)]
    pub effort: Option<String>,
    #[serde(default)]
    pub betas: Option<Vec<String>>,
    #[serde(default)]
    pub thinking: Option<Thinking>,
    #[serde(default)]
    pub thinking_display: Option<String>,
    #[serde(default, deserialize_with = "integer_or_null")]
    pub max_thinking_tokens: Option<u32>,
    #[serde(default, deserialize_with = "integer_or_null")]
    pub task_budget: Option<u64>,
    #[serde(default)]
    pub json_schema: Option<Map<String, Value>>,
    #[serde(default)]
    pub tools: Option<Vec<String>>,
    #[serde(
        default = "default_true",
        deserialize_with = "or_true",
        skip_serializing_if = "is_true"
    )]
    pub include_partial_messages: bool,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_false"
    )]
    pub include_hook_events: bool,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_false"
    )]
    pub replay_user_messages: bool,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_false"
    )]
    pub session_mirror: bool,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_false"
    )]
    pub fork_conversation: bool,
    #[serde(default)]
    pub resume_at: Option<String>,
    #[serde(default)]
    pub resume_drops_turn: Option<String>,
    #[serde(default)]
    pub agents: Option<Map<String, Value>>,
    #[serde(default)]
    pub settings: Option<Map<String, Value>>,
    #[serde(default)]
    pub mcp_servers: Option<Map<String, Value>>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub sdk_env: BTreeMap<String, String>,
    #[serde(default)]
    pub input_idle_seconds: Option<f64>,
}

/// The name of the workspace that is used if the body names none. A workspace is the folder in
/// which the CLI works.
pub const DEFAULT_WORKSPACE: &str = "default";

fn default_workspace() -> String {
    DEFAULT_WORKSPACE.to_owned()
}

fn default_true() -> bool {
    true
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_true(value: &bool) -> bool {
    *value
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

fn or_true<'de, D: Deserializer<'de>>(de: D) -> Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(de)?.unwrap_or(true))
}

fn or_default_workspace<'de, D: Deserializer<'de>>(de: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(de)?.unwrap_or_else(default_workspace))
}

impl Body {
    /// Creates a body with this prompt and the default of every other field (docs/protocol.md,
    /// "Body"). The values are not checked; [`Body::check`] does that.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            prompt: prompt.into(),
            prompt_mode: PromptMode::default(),
            format: Format::default(),
            lane: None,
            model: None,
            system_prompt: None,
            append_system_prompt: None,
            allowed_tools: None,
            disallowed_tools: None,
            permission_mode: None,
            permission_prompts: PermissionPrompts::default(),
            question_timeout_seconds: None,
            max_turns: None,
            max_budget_usd: None,
            conversation: None,
            continues: None,
            on_interrupt: OnInterrupt::default(),
            on_usage_limit: OnUsageLimit::default(),
            workspace: default_workspace(),
            env: BTreeMap::new(),
            idle_timeout_seconds: None,
            deadline_seconds: None,
            input: InputMode::default(),
            metadata: BTreeMap::new(),
            traceparent: None,
            tracestate: None,
            webhook: None,
            fallback_model: None,
            effort: None,
            betas: None,
            thinking: None,
            thinking_display: None,
            max_thinking_tokens: None,
            task_budget: None,
            json_schema: None,
            tools: None,
            include_partial_messages: true,
            include_hook_events: false,
            replay_user_messages: false,
            session_mirror: false,
            fork_conversation: false,
            resume_at: None,
            resume_drops_turn: None,
            agents: None,
            settings: None,
            mcp_servers: None,
            sdk_env: BTreeMap::new(),
            input_idle_seconds: None,
        }
    }

    /// Parses a body from JSON. The values are not checked against the limits; [`Body::check`] does
    /// that.
    ///
    /// # Errors
    /// [`BodyError::Malformed`] if the text is not a JSON object with the fields of a body: a
    /// syntax error, a field that is unknown, missing or of a wrong type, or a member that is given
    /// twice. The message has the line and column if the parser knows them.
    pub fn from_json(json: &[u8]) -> Result<Self, BodyError> {
        // serde would read an array as the fields in order.
        if json.trim_ascii_start().first() == Some(&b'[') {
            return Err(BodyError::Malformed(
                "expected an object, found an array".to_owned(),
            ));
        }
        crate::json::from_slice(json).map_err(|e| BodyError::Malformed(e.to_string()))
    }

    /// Returns the trace that the fields `traceparent` and `tracestate` name. `None` if there is
    /// none, or if `traceparent` is malformed.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        TraceContext::parse(self.traceparent.as_deref()?, self.tracestate.as_deref())
    }

    /// Sets the fields `traceparent` and `tracestate` to a trace.
    pub fn set_trace(&mut self, trace: &TraceContext) {
        self.traceparent = Some(trace.traceparent());
        self.tracestate = trace.tracestate().map(str::to_owned);
    }

    /// Returns the SHA-256 by which claude-api recognises a repeated request. Bodies with equal
    /// values have equal digests, whether a default is written out, null or absent.
    ///
    /// The digest covers the name and value of every field that differs from its default, except
    /// `lane`, `traceparent` and `tracestate`. So a client may repeat a request in another trace.
    /// A field that a later version adds does not change the digests of stored bodies.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let compared = Self {
            lane: None,
            traceparent: None,
            tracestate: None,
            ..self.clone()
        };
        let fields = |body: &Self| match serde_json::to_value(body) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        let defaults = fields(&Self::new(""));
        let mut given = fields(&compared);
        given.retain(|name, value| name == "prompt" || defaults.get(name) != Some(value));
        let json = Value::Object(given).to_string();
        let mut digest = [0; 32];
        digest.copy_from_slice(digest::digest(&digest::SHA256, json.as_bytes()).as_ref());
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: &str) -> Body {
        Body::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn absent_null_and_default_are_equal() {
        let plain = body(r#"{"prompt":"x"}"#);
        let nulls = body(
            r#"{"prompt":"x","promptMode":null,"format":null,"model":null,"workspace":null,
                "env":null,"input":null,"metadata":null,"onInterrupt":null,"allowedTools":null}"#,
        );
        let defaults = body(
            r#"{"workspace":"default","format":"text","promptMode":"verbatim","env":{},
                "prompt":"x"}"#,
        );
        assert_eq!(plain, nulls);
        assert_eq!(plain.digest(), nulls.digest());
        assert_eq!(plain.digest(), defaults.digest());
        assert_eq!(plain, Body::new("x"));
    }

    #[test]
    fn the_digest_covers_every_field_but_the_lane_and_the_trace() {
        let plain = body(r#"{"prompt":"x"}"#);
        for same in [
            r#"{"prompt":"x","lane":"l"}"#,
            r#"{"prompt":"x","traceparent":"00-1-2-01","tracestate":"a=b"}"#,
        ] {
            assert_eq!(plain.digest(), body(same).digest(), "{same}");
        }
        for other in [
            r#"{"prompt":"x "}"#,
            r#"{"prompt":"x","format":"events"}"#,
            r#"{"prompt":"x","allowedTools":[]}"#,
            r#"{"prompt":"x","metadata":{"a":"b"}}"#,
            r#"{"prompt":"x","deadlineSeconds":5}"#,
            r#"{"prompt":"x","webhook":{"url":"https://a/"}}"#,
        ] {
            assert_ne!(plain.digest(), body(other).digest(), "{other}");
        }
        assert_eq!(
            body(r#"{"prompt":"x","deadlineSeconds":5}"#).digest(),
            body(r#"{"prompt":"x","deadlineSeconds":5.0}"#).digest()
        );
    }

    #[test]
    fn the_digest_covers_only_fields_that_differ_from_the_default() {
        let expected = |json: &str| {
            digest::digest(&digest::SHA256, json.as_bytes())
                .as_ref()
                .to_vec()
        };
        let given = body(r#"{"workspace":"w","prompt":"x","lane":"l","format":"text"}"#);
        assert_eq!(
            given.digest().to_vec(),
            expected(r#"{"prompt":"x","workspace":"w"}"#)
        );
    }

    #[test]
    fn an_error_names_the_mistake() {
        for (json, word) in [
            (r#"{"prompt":"x","modle":"y"}"#, "modle"),
            (r#"{"prompt":7}"#, "string"),
            (r#"{"prompt":"x","format":"xml"}"#, "xml"),
            (r#"{"prompt":"x","prompt":"y"}"#, "duplicate"),
            (r#"{"prompt":"x","env":{"A":"1","A":"2"}}"#, "twice"),
            (r#"{"prompt":"x","metadata":{"a":"1","a":"2"}}"#, "twice"),
            (r#"["x"]"#, "array"),
            (r#"{"prompt":"\ud83d"}"#, "hex escape"),
        ] {
            let error = Body::from_json(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{json}: {error}");
        }
    }
}
