//! The trait of the JSON-RPC notifications that the bridge sends to clients.

use serde::Serialize;

/// The parameters of a JSON-RPC notification, a message from the bridge that needs no answer
/// (docs/protocol.md, "Notifications"). The trait connects them with the name of their method.
pub trait Notification: Serialize {
    /// The method name of the notification in JSON, for example `output`.
    const METHOD: &'static str;

    /// Returns the notification as JSON-RPC text, ready to be sent as one WebSocket text frame.
    #[must_use]
    fn to_message(&self) -> String
    where
        Self: Sized,
    {
        #[derive(Serialize)]
        struct Envelope<'a, P> {
            jsonrpc: &'static str,
            method: &'static str,
            params: &'a P,
        }
        let envelope = Envelope {
            jsonrpc: "2.0",
            method: Self::METHOD,
            params: self,
        };
        serde_json::to_string(&envelope).unwrap_or_default()
    }
}
