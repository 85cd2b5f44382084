//! The greeting: the first message of a session.

use protocol::PROTOCOL;
use protocol::rpc::{method, notification};
use serde_json::json;

use crate::session::shared::Shared;

/// Encodes `connected` (docs/protocol.md, "Connecting"). `session`: the session's id.
pub(in crate::session) fn connected(session: &str, shared: &Shared) -> String {
    let limits = shared.limits.borrow().as_ref().map(|limits| {
        let mut limits = json!(limits);
        limits["views"] = shared.views.into();
        limits
    });
    let params = json!({
        "sessionId": session,
        "protocol": PROTOCOL,
        "version": env!("CARGO_PKG_VERSION"),
        "capabilities": {
            "methods": [
                method::EXECUTE, method::CONTROL, method::ATTACH, method::DETACH, method::STATUS,
                method::LIST, method::EVENTS, method::INPUT, method::PING,
            ],
            "control": ["PAUSE", "RESUME", "CANCEL"],
            "formats": ["text", "events"],
            "onSlow": ["wait", "skip"],
            "onDisconnect": ["continue", "cancel"],
            "batch": true,
            "input": true,
        },
        "limits": limits,
    });
    notification(method::CONNECTED, &params).to_string()
}
