//! The arguments of MCP tool calls. They have the same names as the parameters of the WebSocket
//! requests.

use client::{Control, ExecuteParams};
use protocol::message::AnswerParams;
use protocol::rpc::OnDisconnect;
use protocol::{Body, ExecutionId, InputMode, PermissionPrompts};
use rmcp::model::JsonObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::Failure;

/// The maximum length of the parser's message about a faulty value in an error, in characters. The
/// bridge uses the same length.
const QUOTED_CHARS: usize = 512;

/// The fields of a body that only help a client that sends input to the CLI, which no tool does.
pub(crate) const CLIENT_FIELDS: [&str; 5] = [
    "inputIdleSeconds",
    "mcpServers",
    "replayUserMessages",
    "sdkEnv",
    "sessionMirror",
];

/// The arguments of one tool call that were not read yet. Reading an argument removes it, so that
/// [`Self::finish`] finds arguments that the tool does not know.
#[derive(Debug, Default)]
pub(crate) struct Arguments(JsonObject);

impl Arguments {
    pub(crate) fn new(arguments: Option<JsonObject>) -> Self {
        Self(arguments.unwrap_or_default())
    }

    /// Removes an argument and deserializes it. Returns `None` if it is null or absent, and a
    /// failure that names the argument if it has a wrong type.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        let Some(value) = self.0.remove(name).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let value = serde_json::from_value(value);
        value
            .map(Some)
            .map_err(|error| Failure::arguments(format!("{name}: {}", quoted(&error))))
    }

    /// Removes and parses the argument `executionId`. A missing argument, or one that is not a
    /// UUID, is a failure.
    pub(crate) fn execution_id(&mut self) -> Result<ExecutionId, Failure> {
        let id = self.take("executionId")?;
        id.ok_or_else(|| Failure::arguments("missing field `executionId`"))
    }

    /// Removes and parses an optional integer argument. Returns `None` if it is absent, and a
    /// failure if it is outside this range or not an integer.
    pub(crate) fn number(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Failure> {
        let number = self.take(name)?;
        match number {
            Some(number) if !range.contains(&number) => Err(Failure::arguments(format!(
                "{name} must be {} to {}",
                range.start(),
                range.end()
            ))),
            number => Ok(number),
        }
    }

    /// Removes and parses the argument `action`, which is pause, resume or cancel. A missing or
    /// other value is a failure.
    pub(crate) fn action(&mut self) -> Result<Control, Failure> {
        let action: Option<String> = self.take("action")?;
        match action.as_deref() {
            Some("pause") => Ok(Control::Pause),
            Some("resume") => Ok(Control::Resume),
            Some("cancel") => Ok(Control::Cancel),
            _ => Err(Failure::arguments("action must be pause, resume or cancel")),
        }
    }

    /// Checks that every argument was read. An argument that is left is a failure, because the tool
    /// does not know it.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().take(64).collect();
                Err(Failure::arguments(format!("unknown field `{name}`")))
            }
        }
    }

    /// Parses the arguments of the tool `execute`, which are the fields of [`Body`], `executionId`
    /// and `onDisconnect`. `input: "stream"`, `permissionPrompts: "client"` and the
    /// [`CLIENT_FIELDS`] are refused, because no MCP tool can send input. A missing, unknown or
    /// malformed argument is a failure that names it.
    pub(crate) fn execute(mut self) -> Result<ExecuteParams, Failure> {
        let is_given = |name: &str| self.0.get(name).is_some_and(|value| !value.is_null());
        if !is_given("prompt") {
            return Err(Failure::arguments("missing field `prompt`"));
        }
        if let Some(name) = CLIENT_FIELDS.into_iter().find(|name| is_given(name)) {
            let message = format!("{name}: no MCP tool sends input, which this field is for");
            return Err(Failure::arguments(message));
        }
        let id = self.take::<ExecutionId>("executionId")?;
        let on_disconnect = self.take::<OnDisconnect>("onDisconnect")?;
        let body = Body::deserialize(Value::Object(self.0))
            .map_err(|error| Failure::arguments(quoted(&error)))?;
        if body.input == InputMode::Stream {
            let message =
                "input: no MCP tool sends input; use \"none\", or the WebSocket of the bridge";
            return Err(Failure::arguments(message));
        }
        if body.permission_prompts == PermissionPrompts::Client {
            let message = "permissionPrompts: no MCP tool answers the CLI's own requests; use \
                           \"ask\" or \"deny\", or the WebSocket of the bridge";
            return Err(Failure::arguments(message));
        }
        let mut execute = ExecuteParams::body(body);
        execute.execution_id = id.or(execute.execution_id);
        execute.on_disconnect = on_disconnect.unwrap_or_default();
        Ok(execute)
    }

    /// Parses the arguments of the tool `answer`, which are the parameters of the WebSocket
    /// request. A missing, unknown or malformed argument is a failure that names it.
    pub(crate) fn answer(self) -> Result<AnswerParams, Failure> {
        AnswerParams::deserialize(Value::Object(self.0))
            .map_err(|error| Failure::arguments(quoted(&error)))
    }

    /// Parses the arguments of the tool `start`, which are the arguments of `execute`.
    /// `onDisconnect: "cancel"` is refused, because this call returns before the execution ends and
    /// would cancel it. A missing, unknown or malformed argument is a failure that names it.
    pub(crate) fn start(self) -> Result<ExecuteParams, Failure> {
        let execute = self.execute()?;
        if execute.on_disconnect == OnDisconnect::Cancel {
            let message = "onDisconnect: this call ends immediately, and \"cancel\" would then end \
                           the execution; omit it";
            return Err(Failure::arguments(message));
        }
        Ok(execute)
    }
}

fn quoted(error: &serde_json::Error) -> String {
    error.to_string().chars().take(QUOTED_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn arguments(value: Value) -> Arguments {
        Arguments::new(value.as_object().cloned())
    }

    fn refusal(failure: Failure) -> String {
        let result = failure.into_result();
        result.content[0].as_text().unwrap().text.clone()
    }

    #[test]
    fn execute_has_the_fields_of_the_websocket() {
        let id = ExecutionId::random();
        let execute = arguments(json!({
            "prompt": "p", "workspace": "shop", "model": "sonnet", "maxTurns": 3,
            "executionId": id, "onDisconnect": "cancel", "lane": null,
        }));
        let execute = execute.execute().unwrap();
        assert_eq!(execute.execution_id, Some(id));
        assert_eq!(execute.on_disconnect, OnDisconnect::Cancel);
        assert_eq!(execute.body.workspace, "shop");
        assert_eq!(execute.body.max_turns, Some(3));
    }

    #[test]
    fn a_refusal_names_the_mistake() {
        for (value, word) in [
            (json!({}), "prompt"),
            (json!({"prompt": "p", "modle": "x"}), "modle"),
            (json!({"prompt": "p", "executionId": "7"}), "executionId"),
            (json!({"prompt": "p", "onDisconnect": "no"}), "onDisconnect"),
            (json!({"prompt": "p", "input": "stream"}), "input"),
            (
                json!({"prompt": "p", "permissionPrompts": "client"}),
                "permissionPrompts",
            ),
            (json!({"prompt": "p", "sdkEnv": {"A": "b"}}), "sdkEnv"),
            (json!({"prompt": null}), "prompt"),
        ] {
            let failure = arguments(value.clone()).execute().unwrap_err();
            let text = refusal(failure);
            assert!(text.contains(word), "{value}: {text}");
        }
        let started = arguments(json!({"prompt": "p", "onDisconnect": "cancel"}));
        assert!(refusal(started.start().unwrap_err()).contains("onDisconnect"));
        assert!(refusal(arguments(json!({"x": 1})).finish().unwrap_err()).contains("`x`"));
        let answer = json!({"executionId": ExecutionId::random(), "decision": "maybe"});
        assert!(refusal(arguments(answer).answer().unwrap_err()).contains("maybe"));
        let mut seconds = arguments(json!({"maxSeconds": 51}));
        let failure = seconds.number("maxSeconds", 0..=50).unwrap_err();
        assert_eq!(refusal(failure), "maxSeconds must be 0 to 50");
    }
}
