//! The JSON-RPC messages that a client sends to the bridge over WebSocket.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::json_text::JsonText;
use super::request::Request;
use super::request_id::RequestId;

/// The content of one WebSocket text frame from a client, which is one JSON-RPC message or a batch
/// (docs/protocol.md, "Requests").
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ClientFrame {
    /// One message, which is a request or a notification.
    Single(ClientMessage),
    /// A JSON-RPC batch, which is several messages in one frame. The limit `batch` bounds their
    /// number. The bridge sends all answers in one message.
    Batch(Vec<ClientMessage>),
}

/// One JSON-RPC message of a client. With an id it is a request, which the bridge answers. Without
/// an id it is a notification, which the bridge executes but does not answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientMessage {
    /// The id of the request, which the answer repeats. `None` for a notification.
    pub id: Option<RequestId>,
    /// The method and its parameters.
    pub request: Request,
}

impl ClientMessage {
    /// Creates a request with this id. The id should be unique on the connection, because the
    /// answer is recognised by it.
    #[must_use]
    pub fn request(id: impl Into<RequestId>, request: impl Into<Request>) -> Self {
        Self {
            id: Some(id.into()),
            request: request.into(),
        }
    }

    /// Creates a notification, a message without an id. The bridge executes it, but does not
    /// answer, not even with an error.
    #[must_use]
    pub fn notification(request: impl Into<Request>) -> Self {
        Self {
            id: None,
            request: request.into(),
        }
    }

    /// Returns the message as JSON text, ready to be sent as one WebSocket text frame.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for ClientMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Envelope<'a> {
            jsonrpc: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a RequestId>,
            method: &'static str,
            params: &'a Request,
        }
        let Self { id, request } = self;
        let envelope = Envelope {
            jsonrpc: "2.0",
            id: id.as_ref(),
            method: request.method(),
            params: request,
        };
        envelope.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ClientMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Envelope {
            jsonrpc: String,
            // A request with the id null gets an answer, a request without an id does not.
            #[serde(default, deserialize_with = "present")]
            id: Option<RequestId>,
            method: String,
            params: Option<Value>,
        }
        let envelope = Envelope::deserialize(deserializer)?;
        let Envelope {
            jsonrpc,
            id,
            method,
            params,
        } = envelope;
        if jsonrpc != "2.0" {
            return Err(D::Error::custom(r#"jsonrpc must be "2.0""#));
        }
        let params = params.unwrap_or_else(|| Value::Object(Map::new()));
        if !params.is_object() {
            return Err(D::Error::custom("params are given by name, as an object"));
        }
        match Request::read(&method, params) {
            Some(Ok(request)) => Ok(Self { id, request }),
            Some(Err(error)) => Err(D::Error::custom(error)),
            None => Err(D::Error::custom(format!("there is no method {method:?}"))),
        }
    }
}

/// Deserializes a member that is present. A null becomes `Some` of a null value, and only an absent
/// member is `None`, because JSON-RPC answers an id of null but not an absent id.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(de: D) -> Result<Option<T>, D::Error> {
    T::deserialize(de).map(Some)
}

impl<'de> Deserialize<'de> for ClientFrame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = JsonText::deserialize(deserializer)?;
        let frame = if text.as_str().starts_with('[') {
            text.read().map(Self::Batch)
        } else {
            text.read().map(Self::Single)
        };
        frame.map_err(D::Error::custom)
    }
}
