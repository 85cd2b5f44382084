//! The parameters of the request `execute`, which runs a prompt.

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::rpc::{OnDisconnect, OnSlow};
use crate::{Body, ExecutionId};

/// The parameters of the request `execute`, which runs a prompt (docs/protocol.md, "Request
/// parameters" and "Body").
///
/// In JSON, the fields of the body stand beside the others. Fields of the body that are null are
/// left out, because null and absent are the same. A received `command` is another name of
/// `prompt`.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecuteParams {
    /// The id of the execution. A client that chooses it may repeat the request after a lost
    /// connection, and the prompt still runs only once. `None` lets the bridge choose the id.
    pub execution_id: Option<ExecutionId>,
    /// The prompt and its settings.
    pub body: Body,
    /// What happens to the execution when this session (WebSocket connection) has ended. It
    /// continues, or it is cancelled unless some client receives its output within 10 s.
    pub on_disconnect: OnDisconnect,
    /// What the bridge does when this client reads the output more slowly than it is generated:
    /// send it later, or skip the oldest part.
    pub on_slow: OnSlow,
}

impl ExecuteParams {
    /// Creates the parameters that run this prompt, with a random id and the default of every other
    /// setting.
    #[must_use]
    pub fn prompt(prompt: impl Into<String>) -> Self {
        Self::body(Body::new(prompt))
    }

    /// Creates the parameters that run this body, with a random id and the defaults of
    /// `onDisconnect` and `onSlow`.
    #[must_use]
    pub fn body(body: Body) -> Self {
        Self {
            execution_id: Some(ExecutionId::random()),
            body,
            on_disconnect: OnDisconnect::default(),
            on_slow: OnSlow::default(),
        }
    }

    /// Returns the id of the execution. If there is none yet, sets a random one first, so that the
    /// client can repeat the request without running the prompt twice.
    pub fn ensure_id(&mut self) -> ExecutionId {
        *self.execution_id.get_or_insert_with(ExecutionId::random)
    }

    /// Parses the parameters from the members of the JSON object `params`. The values of the body
    /// are not checked; [`Body::check`] does that.
    ///
    /// # Errors
    /// A member is unknown, missing or of a wrong type, or `prompt` and `command` are both given.
    /// The text names the member.
    pub fn from_members(mut members: Map<String, Value>) -> Result<Self, String> {
        let execution_id = take_member(&mut members, "executionId")?;
        let on_disconnect = take_member(&mut members, "onDisconnect")?;
        let on_slow = take_member(&mut members, "onSlow")?;
        let command = members.remove("command").filter(|c| !c.is_null());
        let prompt = members.get("prompt").filter(|p| !p.is_null());
        match (command, prompt) {
            (Some(_), Some(_)) => return Err("give prompt or command, not both".to_owned()),
            // Only a client that answers the CLI's prompts may leave it out.
            (None, None) if members.get("permissionPrompts") != Some(&"client".into()) => {
                return Err("give prompt (or command, which is the same)".to_owned());
            }
            (None, None) => {}
            (Some(command), None) => {
                members.insert("prompt".to_owned(), command);
            }
            (None, Some(_)) => {}
        }
        let body = Body::deserialize(Value::Object(members)).map_err(|e| e.to_string())?;
        Ok(Self {
            execution_id,
            body,
            on_disconnect: on_disconnect.unwrap_or_default(),
            on_slow: on_slow.unwrap_or_default(),
        })
    }
}

/// Removes a member that does not belong to the body from the JSON object, and deserializes it.
/// Returns `None` if the member is null or absent. The error names the member.
fn take_member<T: for<'de> Deserialize<'de>>(
    members: &mut Map<String, Value>,
    name: &str,
) -> Result<Option<T>, String> {
    let value = members.remove(name).filter(|value| !value.is_null());
    let read = |value| T::deserialize(value).map_err(|e| format!("{name}: {e}"));
    value.map(read).transpose()
}

impl Serialize for ExecuteParams {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            execution_id,
            body,
            on_disconnect,
            on_slow,
        } = self;
        let Value::Object(mut members) = serde_json::to_value(body).map_err(S::Error::custom)?
        else {
            return Err(S::Error::custom("a body is an object"));
        };
        members.retain(|_, value| !value.is_null());
        let value = |value: serde_json::Result<Value>| value.map_err(S::Error::custom);
        if let Some(id) = execution_id {
            members.insert("executionId".to_owned(), id.to_string().into());
        }
        let on_disconnect = value(serde_json::to_value(on_disconnect))?;
        members.insert("onDisconnect".to_owned(), on_disconnect);
        members.insert("onSlow".to_owned(), value(serde_json::to_value(on_slow))?);
        members.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ExecuteParams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::deserialize(deserializer)?;
        Self::from_members(members).map_err(serde::de::Error::custom)
    }
}
