//! The parameters of the request `execute`, which runs a prompt.

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::rpc::{OnDisconnect, OnSlow};
use crate::{Body, ExecutionId};

/// The parameters of `execute`, which runs a prompt: docs/protocol.md, "Request parameters" and
/// "Body".
///
/// In JSON, the fields of the body stand beside the others. Null fields of the body are not
/// written, because null and absent are the same. `command` is read as another name of `prompt`.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecuteParams {
    /// The id of the execution. A client that chooses the id may repeat the request: the prompt
    /// runs once. None: the bridge chooses the id.
    pub execution_id: Option<ExecutionId>,
    /// The prompt and its settings.
    pub body: Body,
    /// Whether the execution is cancelled when its session is gone and no client views it for 10 s.
    pub on_disconnect: OnDisconnect,
    /// What the bridge does when this client reads the output more slowly than it is generated.
    pub on_slow: OnSlow,
}

impl ExecuteParams {
    /// Creates the parameters of this prompt with the defaults of the protocol and a random id.
    #[must_use]
    pub fn prompt(prompt: impl Into<String>) -> Self {
        Self::body(Body::new(prompt))
    }

    /// Creates parameters with this body, a random id, and the defaults of the protocol for the
    /// rest.
    #[must_use]
    pub fn body(body: Body) -> Self {
        Self {
            execution_id: Some(ExecutionId::random()),
            body,
            on_disconnect: OnDisconnect::default(),
            on_slow: OnSlow::default(),
        }
    }

    /// Returns the id. If there is none, sets a random one first, so that the request can be
    /// repeated safely.
    pub fn ensure_id(&mut self) -> ExecutionId {
        *self.execution_id.get_or_insert_with(ExecutionId::random)
    }

    /// Reads the parameters from the members of `params`. It does not check the values of the body;
    /// [`Body::check`] does.
    ///
    /// # Errors
    /// A member is missing, unknown or of a wrong type, or both `prompt` and `command` are given.
    /// The message names the member.
    pub fn from_members(mut members: Map<String, Value>) -> Result<Self, String> {
        let execution_id = take_member(&mut members, "executionId")?;
        let on_disconnect = take_member(&mut members, "onDisconnect")?;
        let on_slow = take_member(&mut members, "onSlow")?;
        let command = members.remove("command").filter(|c| !c.is_null());
        let prompt = members.get("prompt").filter(|p| !p.is_null());
        match (command, prompt) {
            (Some(_), Some(_)) => return Err("give prompt or command, not both".to_owned()),
            (None, None) => {
                return Err("give prompt (or command, which is the same)".to_owned());
            }
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

/// Removes a member that is not a field of the body, and deserializes it. None if it is null or
/// absent.
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
