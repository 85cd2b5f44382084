//! The memory budgets that all sessions share, so that neither a slow client nor a greedy one grows
//! the bridge (docs/protocol.md, "Flow control").
//!
//! | Budget | Bounds | Limit |
//! |---|---|---|
//! | [`inbound`] | messages that arrive; executes and inputs without an answer | `inboundBytes` |
//! | [`outbound`] | answers and output that clients have not read | `outboundBytes` |
//! | [`lists`] | lists and parts of events while claude-api is asked | 64 MiB |
//!
//! Each module says when its budget is taken, who waits behind whom, and what bounds the other
//! direction. A session whose answers are not read is not read either, and meanwhile keeps the
//! inbound bytes of a message that has begun to arrive. Such a session is closed after 30 pings at
//! the latest.

pub mod inbound;
pub mod lists;
pub mod outbound;

use std::sync::Arc;
use std::time::Duration;

use protocol::Limits;

use inbound::{Charge, FREE_BYTES, Inbound};
use lists::Lists;
use outbound::Outbound;

/// A message waits for one part in so many of the ping interval before it evicts another message.
const PATIENCE: u32 = 20;

/// The budgets of one bridge.
#[derive(Debug)]
pub struct Budgets {
    /// Most of `inboundBytes`: large messages, and executes and inputs of large messages that await
    /// an answer.
    pub large: Arc<Inbound>,
    /// The rest of `inboundBytes`: executes and inputs of small messages.
    pub small: Arc<Inbound>,
    /// Answers and output that clients have not read.
    pub outbound: Arc<Outbound>,
    /// Lists and parts of events while claude-api is asked.
    pub lists: Lists,
}

impl Budgets {
    /// Creates the unused budgets of a bridge with these limits.
    #[must_use]
    pub fn new(own: &Limits) -> Self {
        let (large, small) = inbound::shares(own.inbound_bytes);
        let patience = Duration::from_millis(own.ping_ms) / PATIENCE;
        let limits = outbound::Limits::new(own.outbound_bytes, own.sessions, own.status_bytes);
        Self {
            large: Inbound::new(large, patience),
            small: Inbound::new(small, patience),
            outbound: Outbound::new(limits),
            lists: Lists::default(),
        }
    }

    /// Takes bytes of the share for small messages; None when they are not free.
    #[must_use]
    pub fn charge_small(&self, bytes: usize) -> Option<Charge> {
        self.small.take(bytes as u64)
    }

    /// Returns the used bytes of `inboundBytes`.
    #[must_use]
    pub fn inbound_used(&self) -> u64 {
        self.large.used() + self.small.used()
    }
}

/// The inbound bytes that the unanswered executes of one session may hold: a quarter of each part
/// of the budget, but at least one message. So no session alone can spend the whole budget.
#[derive(Debug)]
pub struct SessionInbound {
    /// The limit for executes of large messages.
    pub large: Arc<Inbound>,
    /// The limit for executes of small messages.
    pub small: Arc<Inbound>,
}

impl SessionInbound {
    /// Creates the unused limits of one session.
    #[must_use]
    pub fn new(own: &Limits) -> Self {
        let (large, small) = inbound::shares(own.inbound_bytes);
        let limit = |bytes| Inbound::new(bytes, Duration::ZERO);
        Self {
            large: limit((large / 4).max(own.message_bytes)),
            small: limit((small / 4).max(FREE_BYTES)),
        }
    }
}
