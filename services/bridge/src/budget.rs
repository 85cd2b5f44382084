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

/// The number of patiences in one ping interval. A patience is the time for which a message waits
/// for memory before it evicts another message: 1 s with the default `pingMs` of 20 s.
const PATIENCES_PER_PING: u32 = 20;

/// All memory budgets of one bridge. They bound the bytes that slow and greedy clients can make the
/// bridge buffer.
#[derive(Debug)]
pub struct Budgets {
    /// Seven eighths of `inboundBytes`: messages over 64 KiB while they are received, and their
    /// executes and inputs until claude-api has answered.
    pub large: Arc<InboundBudget>,
    /// One eighth of `inboundBytes`: executes and inputs from messages of at most 64 KiB, until
    /// claude-api has answered.
    pub small: Arc<InboundBudget>,
    /// `outboundBytes`: answers and output until the client has read them.
    pub outbound: Arc<OutboundBudget>,
    /// 64 MiB for pages of lists and parts of events, during their calls to claude-api.
    pub lists: ListBudget,
}

impl Budgets {
    /// Creates the budgets of a bridge with these limits. Nothing is charged yet.
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

    /// Charges an execute or an input of `bytes` bytes to the budget `small`, until the result is
    /// dropped. Returns `None` if so many bytes are not free. Then the request is refused with
    /// -32004.
    #[must_use]
    pub fn charge_small(&self, bytes: usize) -> Option<InboundCharge> {
        self.small.take(bytes as u64)
    }

    /// Returns the bytes of `inboundBytes` that are charged now, for `/metrics`.
    #[must_use]
    pub fn inbound_used(&self) -> u64 {
        self.large.used() + self.small.used()
    }
}

/// The limits of one session within the inbound budget, so that one session cannot spend all of it.
/// The unanswered executes of a session may hold a quarter of each part, but at least one message.
#[derive(Debug)]
pub struct SessionInbound {
    /// The limit for executes from messages over 64 KiB.
    pub large: Arc<InboundBudget>,
    /// The limit for executes from shorter messages.
    pub small: Arc<InboundBudget>,
}

impl SessionInbound {
    /// Creates the limits of a new session. Nothing is charged yet.
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
