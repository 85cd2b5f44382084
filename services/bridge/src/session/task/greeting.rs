//! The greeting of a session: `connected`, its first message.

use protocol::PROTOCOL_VERSION;
use protocol::message::{Capabilities, Connected, ConnectedLimits, Notification};

use crate::session::shared::Shared;

/// Encodes the first message of the session with the id `session`: its version, capabilities and
/// limits (docs/protocol.md, "Connecting").
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
