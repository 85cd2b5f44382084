//! The memory budgets that all sessions share. They keep slow clients and greedy clients from
//! exhausting the bridge's memory (docs/protocol.md, "Flow control").
//!
//! | Budget | Bounds | Limit |
//! |---|---|---|
//! | [`inbound`] | messages being received; unanswered executes and inputs | `inboundBytes` |
//! | [`outbound`] | answers and output that clients have not read | `outboundBytes` |
//! | [`lists`] | lists and parts of events during the call to claude-api | 64 MiB |
//!
//! The documentation of each module answers three questions: when is the budget charged, who waits
//! for whom, and what bounds the other direction.
//!
//! The bridge stops reading from a client that does not read its answers. Meanwhile the session
//! keeps the inbound bytes of an unfinished message. It is closed after 30 pings at the latest.

pub mod inbound;
pub mod lists;
pub mod outbound;

use std::sync::Arc;
use std::time::Duration;

use protocol::Limits;

use inbound::{FREE_BYTES, InboundBudget, InboundCharge};
use lists::ListBudget;
use outbound::OutboundBudget;

/// The ping interval in units of the patience: the time for which a message waits before it evicts
/// another message.
const PATIENCES_PER_PING: u32 = 20;

/// The budgets of one bridge.
#[derive(Debug)]
pub struct Budgets {
    /// Most of `inboundBytes`: large messages, and unanswered executes and inputs from large
    /// messages.
    pub large: Arc<InboundBudget>,
    /// The rest of `inboundBytes`: unanswered executes and inputs from small messages.
    pub small: Arc<InboundBudget>,
    /// Answers and output that clients have not read.
    pub outbound: Arc<OutboundBudget>,
    /// Lists and parts of events during the call to claude-api.
    pub lists: ListBudget,
}

impl Budgets {
    /// Creates the unused budgets of a bridge with these limits.
    #[must_use]
    pub fn new(own_limits: &Limits) -> Self {
        let (large, small) = inbound::shares(own_limits.inbound_bytes);
        let patience = Duration::from_millis(own_limits.ping_ms) / PATIENCES_PER_PING;
        let limits = outbound::OutboundLimits::new(
            own_limits.outbound_bytes,
            own_limits.sessions,
            own_limits.status_bytes,
        );
        Self {
            large: InboundBudget::new(large, patience),
            small: InboundBudget::new(small, patience),
            outbound: OutboundBudget::new(limits),
            lists: ListBudget::default(),
        }
    }

    /// Charges bytes to the share for small messages. Returns None if they are not free.
    #[must_use]
    pub fn charge_small(&self, bytes: usize) -> Option<InboundCharge> {
        self.small.take(bytes as u64)
    }

    /// Returns the used bytes of `inboundBytes`.
    #[must_use]
    pub fn inbound_used(&self) -> u64 {
        self.large.used() + self.small.used()
    }
}

/// The inbound bytes that the unanswered executes of one session may hold: a quarter of each part
/// of the budget, but at least one message. So one session cannot spend the whole budget.
#[derive(Debug)]
pub struct SessionInbound {
    /// The limit for executes from large messages.
    pub large: Arc<InboundBudget>,
    /// The limit for executes from small messages.
    pub small: Arc<InboundBudget>,
}

impl SessionInbound {
    /// Creates the unused limits of one session.
    #[must_use]
    pub fn new(own_limits: &Limits) -> Self {
        let (large, small) = inbound::shares(own_limits.inbound_bytes);
        let limit = |bytes| InboundBudget::new(bytes, Duration::ZERO);
        Self {
            large: limit((large / 4).max(own_limits.message_bytes)),
            small: limit((small / 4).max(FREE_BYTES)),
        }
    }
}
