//! The greeting of a session, the message `connected`, which a client receives first.

use protocol::PROTOCOL_VERSION;
use protocol::message::{Capabilities, Connected, ConnectedLimits, Notification};

use crate::session::shared::Shared;

/// Returns the JSON text of `connected`, the first message to a client. It reports the session's
/// id, the protocol version, the capabilities, and the limits if claude-api has reported them
/// (docs/protocol.md, "Connecting").
pub(in crate::session) fn connected(session: &str, shared: &Shared) -> String {
    let limits = shared.limits.borrow().clone();
    let connected = Connected {
        session_id: session.to_owned(),
        protocol: PROTOCOL_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        capabilities: Capabilities::all(),
        limits: limits.map(|limits| ConnectedLimits {
            limits,
            views: shared.views as u64,
        }),
    };
    connected.to_message()
}
