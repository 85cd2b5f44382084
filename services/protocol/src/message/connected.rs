//! The first message of a session.

use serde::{Deserialize, Serialize};

use super::params::Control;
use super::request::Request;
use crate::Limits;

/// The parameters of `connected`, the first message of a session: docs/protocol.md,
/// "Notifications".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connected {
    /// The id of the session, a UUID. It is also the lane of executions without one.
    pub session_id: String,
    /// The version of the protocol: [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
    pub protocol: u32,
    /// The version of the bridge.
    #[serde(default)]
    pub version: String,
    /// The accepted names, and two flags.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// The limits in force; null while the bridge does not know them.
    #[serde(default)]
    pub limits: Option<ConnectedLimits>,
}

/// The `capabilities` of `connected`: the names that the bridge accepts. A list that a bridge does
/// not send is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// The methods of requests.
    pub methods: Vec<String>,
    /// The values of `type` in `control`.
    pub control: Vec<String>,
    /// The values of `format` in a body.
    pub formats: Vec<String>,
    /// The values of `onSlow`.
    pub on_slow: Vec<String>,
    /// The values of `onDisconnect`.
    pub on_disconnect: Vec<String>,
    /// Whether a frame may be a batch.
    pub batch: bool,
    /// Whether executions can have `"input": "stream"`.
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

/// The `limits` of `connected`: those of `claude-api`, and `views`: docs/protocol.md, "Limits".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectedLimits {
    /// The limits of `GET /v1/limits`. A limit that a bridge does not send has its default.
    #[serde(flatten)]
    pub limits: Limits,
    /// The maximum number of executions that one session views at the same time.
    #[serde(default = "default_views")]
    pub views: u64,
}

fn default_views() -> u64 {
    64
}
