//! The trait of the notifications that the bridge sends.

use serde::Serialize;

/// The parameters of a notification that the bridge sends: docs/protocol.md, "Notifications".
pub trait Notification: Serialize {
    /// The name of the notification, as a message writes it.
    const METHOD: &'static str;

    /// Serializes the notification as JSON-RPC, ready to be sent as a text frame.
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
