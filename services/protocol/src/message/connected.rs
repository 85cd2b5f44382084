//! The notification `connected`, the greeting of the bridge on each new connection.

use serde::{Deserialize, Serialize};

use super::params::Control;
use super::request::Request;
use crate::Limits;

/// The parameters of the notification `connected`, which is the first message that the bridge sends
/// on each connection. It tells the client the versions, capabilities and limits of the bridge
/// (docs/protocol.md, "Notifications").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connected {
    /// The id of the session, which is this WebSocket connection, as a UUID. Executions that the
    /// client starts without a `lane` share a lane with this name, so they run one at a time.
    pub session_id: String,
    /// The version of the WebSocket protocol. A client disconnects if it is not
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
    pub protocol: u32,
    /// The release number of the bridge, for people. Empty if the bridge does not send one.
    #[serde(default)]
    pub version: String,
    /// The optional parts of the protocol that this bridge supports.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// The limits that the services enforce. `None` while the bridge has not yet received them from
    /// claude-api.
    #[serde(default)]
    pub limits: Option<ConnectedLimits>,
}

/// The optional parts of the protocol that a bridge supports, so that a client can check before it
/// sends a request. A list that an older bridge leaves out is empty here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// The names of the JSON-RPC methods that the bridge accepts.
    pub methods: Vec<String>,
    /// The values of `type` that the bridge accepts in the request `control`, for example `PAUSE`.
    pub control: Vec<String>,
    /// The values of `format` that the bridge accepts in the body of an execution.
    pub formats: Vec<String>,
    /// The values of `onSlow` that the bridge accepts. It decides what happens to a client that
    /// reads its output too slowly.
    pub on_slow: Vec<String>,
    /// The values of `onDisconnect` that the bridge accepts. It decides what happens to an
    /// execution whose client has disconnected.
    pub on_disconnect: Vec<String>,
    /// Whether one WebSocket text frame may have several requests (a JSON-RPC batch).
    pub batch: bool,
    /// Whether clients can send further messages to the CLI after the prompt, for an execution with
    /// `"input": "stream"`.
    pub input: bool,
}

impl Capabilities {
    /// Returns the capabilities of a bridge that supports all of this version of the protocol.
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

/// The limits that the bridge reports in its greeting `connected`: the limits of claude-api, and
/// the bridge's own limit `views` (docs/protocol.md, "Limits").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectedLimits {
    /// The limits of claude-api, as the bridge reports them in its greeting. A limit that an older
    /// bridge leaves out has its default value here.
    #[serde(flatten)]
    pub limits: Limits,
    /// The maximum number of executions whose output and statuses one session can receive at the
    /// same time. 64 if the bridge does not send it.
    #[serde(default = "default_views")]
    pub views: u64,
}

fn default_views() -> u64 {
    64
}
