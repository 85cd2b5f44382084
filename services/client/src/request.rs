//! What can be asked of the bridge.

use protocol::rpc::{OnDisconnect, OnSlow, method};
use protocol::{Body, ExecutionId};
use serde_json::{Map, Value, json};

/// A new execution. The id is chosen here, so that repeating the request never runs a prompt twice.
#[derive(Debug, Clone)]
pub struct Execute {
    /// The id: an idempotency key across reconnects and restarts.
    pub id: ExecutionId,
    /// The prompt and its settings.
    pub body: Body,
    /// What becomes of it when the session is gone.
    pub on_disconnect: OnDisconnect,
    /// What happens when this viewer is too slow.
    pub on_slow: OnSlow,
}

impl Execute {
    /// This prompt with the contract's defaults and a fresh id.
    #[must_use]
    pub fn prompt(prompt: impl Into<String>) -> Self {
        Self::body(Body::new(prompt))
    }

    /// This body with a fresh id.
    #[must_use]
    pub fn body(body: Body) -> Self {
        Self {
            id: ExecutionId::random(),
            body,
            on_disconnect: OnDisconnect::default(),
            on_slow: OnSlow::default(),
        }
    }

    pub(crate) fn params(&self) -> Value {
        let Self {
            id,
            body,
            on_disconnect,
            on_slow,
        } = self;
        // What is absent is the contract's default; nulls only make the message longer.
        let mut params: Map<String, Value> = match serde_json::to_value(body) {
            Ok(Value::Object(map)) => map.into_iter().filter(|(_, v)| !v.is_null()).collect(),
            _ => Map::new(),
        };
        params.insert("executionId".to_owned(), json!(id));
        params.insert("onDisconnect".to_owned(), json!(on_disconnect));
        params.insert("onSlow".to_owned(), json!(on_slow));
        Value::Object(params)
    }
}

/// A view of an execution that exists.
#[derive(Debug, Clone, Copy)]
pub struct Attach {
    /// The execution.
    pub id: ExecutionId,
    /// Where to begin, in bytes of output. `None`: at 0, with a gap first where bytes are gone.
    pub offset: Option<u64>,
    /// What happens when this viewer is too slow.
    pub on_slow: OnSlow,
}

impl Attach {
    /// A view from the beginning.
    #[must_use]
    pub fn from_start(id: ExecutionId) -> Self {
        Self {
            id,
            offset: None,
            on_slow: OnSlow::default(),
        }
    }

    pub(crate) fn params(self) -> Value {
        let mut params = json!({ "executionId": self.id, "onSlow": self.on_slow });
        if let Some(offset) = self.offset {
            params["offset"] = offset.into();
        }
        params
    }
}

/// What `control` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Stops the whole process tree.
    Pause,
    /// Lets it go on.
    Resume,
    /// Ends it.
    Cancel,
}

impl Control {
    /// As the bridge wants it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "PAUSE",
            Self::Resume => "RESUME",
            Self::Cancel => "CANCEL",
        }
    }
}

/// A JSON-RPC request as text.
pub(crate) fn encode(id: u64, method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

/// A request to stop viewing; nobody waits for its answer.
pub(crate) fn detach(id: u64, execution: ExecutionId) -> String {
    encode(id, method::DETACH, &json!({ "executionId": execution }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execute_carries_the_id_and_no_nulls() {
        let execute = Execute::prompt("p");
        let params = execute.params();
        assert_eq!(params["prompt"], "p");
        assert_eq!(params["executionId"], execute.id.to_string());
        assert_eq!(params["onDisconnect"], "continue");
        assert_eq!(params["onSlow"], "wait");
        assert!(params.as_object().unwrap().values().all(|v| !v.is_null()));
    }

    #[test]
    fn an_attach_without_offset_sends_none() {
        let id = ExecutionId::random();
        assert!(Attach::from_start(id).params().get("offset").is_none());
        let at = Attach {
            offset: Some(7),
            ..Attach::from_start(id)
        };
        assert_eq!(at.params()["offset"], 7);
    }
}
