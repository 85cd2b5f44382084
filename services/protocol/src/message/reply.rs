//! The JSON-RPC answer of the bridge to one request.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::json_text::JsonText;
use super::request_id::RequestId;
use crate::rpc::RpcError;

/// The JSON-RPC answer of the bridge to one request, with a result or an error.
///
/// `T` is the type of the result, `Method::Result` of the request's parameters. It is unparsed JSON
/// text until the method of the request is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply<T = JsonText> {
    /// The id of the request that is answered. It is null in an error about a message whose id
    /// could not be read.
    pub id: RequestId,
    /// The result of the request, or the JSON-RPC error with which it was refused.
    pub outcome: Result<T, RpcError>,
}

impl<T> Reply<T> {
    /// Creates the answer to the request with this id, which succeeded with this result.
    pub fn result(id: impl Into<RequestId>, result: T) -> Self {
        Self {
            id: id.into(),
            outcome: Ok(result),
        }
    }

    /// Creates the answer to the request with this id, which was refused with this JSON-RPC error.
    pub fn error(id: impl Into<RequestId>, error: RpcError) -> Self {
        Self {
            id: id.into(),
            outcome: Err(error),
        }
    }
}

impl<T: Serialize> Reply<T> {
    /// Returns the answer as JSON-RPC text, ready to be sent as one WebSocket text frame.
    #[must_use]
    pub fn to_message(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Reply {
    /// Parses the result as the result type of the request's method. An answer with an error is
    /// returned unchanged.
    ///
    /// # Errors
    /// The result is not of the type `T`, for example because a field is missing.
    pub fn read<T: DeserializeOwned>(self) -> serde_json::Result<Reply<T>> {
        let Self { id, outcome } = self;
        let outcome = match outcome {
            Ok(result) => Ok(result.read()?),
            Err(error) => Err(error),
        };
        Ok(Reply { id, outcome })
    }
}

impl<T: Serialize> Serialize for Reply<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Envelope<'a, T> {
            jsonrpc: &'static str,
            id: &'a RequestId,
            #[serde(skip_serializing_if = "Option::is_none")]
            result: Option<&'a T>,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<&'a RpcError>,
        }
        let Self { id, outcome } = self;
        let envelope = Envelope {
            jsonrpc: "2.0",
            id,
            result: outcome.as_ref().ok(),
            error: outcome.as_ref().err(),
        };
        envelope.serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Reply<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Envelope {
            id: Option<RequestId>,
            result: Option<JsonText>,
            error: Option<RpcError>,
        }
        let Envelope { id, result, error } = Envelope::deserialize(deserializer)?;
        let id = id.unwrap_or_else(RequestId::null);
        match (result, error) {
            (_, Some(error)) => Ok(Self::error(id, error)),
            (Some(result), None) => {
                let result = result.read().map_err(serde::de::Error::custom)?;
                Ok(Self::result(id, result))
            }
            (None, None) => Err(serde::de::Error::custom(
                "an answer has a result or an error",
            )),
        }
    }
}
