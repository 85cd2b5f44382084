//! The notification `connected`, with which the bridge greets a client.

use serde::{Deserialize, Serialize};

use super::params::Control;
use super::request::Request;
use crate::Limits;

/// The parameters of `connected`, the first message that the bridge sends on each connection:
/// docs/protocol.md, "Notifications".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connected {
    /// The id of the session (this WebSocket connection), a UUID. Executions without a lane run in
    /// a lane of this name, one at a time.
    pub session_id: String,
    /// The version of the protocol: [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
    pub protocol: u32,
    /// The release of the bridge, for people; empty if the bridge does not send one.
    #[serde(default)]
    pub version: String,
    /// The methods, values and features that this bridge supports.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// The limits in force; None while the bridge has not yet received them from claude-api.
    #[serde(default)]
    pub limits: Option<ConnectedLimits>,
}

/// The methods, values and features that a bridge supports, so that a client can check before it
/// sends. A list is empty if the bridge does not send it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// The names of the methods that a request can have.
    pub methods: Vec<String>,
    /// The accepted values of `type` in a `control` request.
    pub control: Vec<String>,
    /// The accepted values of `format` in the body of an execution.
    pub formats: Vec<String>,
    /// The accepted values of `onSlow`.
    pub on_slow: Vec<String>,
    /// The accepted values of `onDisconnect`.
    pub on_disconnect: Vec<String>,
    /// Whether one text frame may have several requests.
    pub batch: bool,
    /// Whether a client can send further messages to the CLI of an execution with
    /// `"input": "stream"`.
    pub input: bool,
}

impl Capabilities {
    /// Returns all capabilities of this version of the protocol.
    #[must_use]
    pub fn all() -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            methods: owned(Request::METHODS),
            control: owned(&Control::ALL.map(Control::as_str)),
            formats: owned(&["text", "events"]),
            on_slow: owned(&["wait", "skip"]),
            on_disconnect: owned(&["continue", "cancel"]),
            batch: true,
            input: true,
        }
    }
}

/// The limits in `connected`: those of claude-api, and the bridge's own limit `views`:
/// docs/protocol.md, "Limits".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectedLimits {
    /// The limits of claude-api. A limit that the bridge does not send has its default.
    #[serde(flatten)]
    pub limits: Limits,
    /// The maximum number of executions whose messages one session receives at the same time.
    #[serde(default = "default_views")]
    pub views: u64,
}

fn default_views() -> u64 {
    64
}
