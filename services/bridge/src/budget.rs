//! The limits of the memory that all sessions share. They keep clients that read slowly or send too
//! much from exhausting the bridge's memory (docs/protocol.md, "Flow control").
//!
//! | Budget | Bounds | Limit |
//! |---|---|---|
//! | [`inbound`] | messages being received; unanswered executes and inputs | `inboundBytes` |
//! | [`outbound`] | answers and output that clients have not read | `outboundBytes` |
//! | [`lists`] | lists and parts of events during the call to claude-api | 64 MiB |
//!
//! [`principals`] limits each principal to half of each budget, and [`principal_counts`] counts
//! other resources for each principal. [`session_counts`] counts the sessions of principals and of
//! shares. So no client can take all from the clients of another principal.
//!
//! The documentation of each module answers three questions: when is the budget charged, who waits
//! for whom, and what bounds the other direction.
//!
//! The bridge stops reading from a client that does not read its answers. Meanwhile the session
//! keeps the inbound bytes of an unfinished message. After 30 ping intervals at the latest, the
//! session is closed.

pub mod inbound;
pub mod lists;
pub mod outbound;
pub mod principal_counts;
pub mod principals;
pub mod session_counts;

use std::sync::Arc;
use std::time::Duration;

use protocol::Limits;

use inbound::{FREE_BYTES, InboundBudget, InboundCharge};
use lists::ListBudget;
use outbound::OutboundBudget;
use principals::{PrincipalBudget, PrincipalBudgets};

/// The number by which the ping interval (`pingMs`) is divided to get the wait step. The wait step
/// is how long a message waits for memory before the bridge closes the session of another client to
/// free some. With the default `pingMs` of 20 s it is 1 s.
const WAIT_STEPS_PER_PING: u32 = 20;

/// All memory limits of one bridge process, with the bytes in use. They bound what slow and greedy
/// clients can make the bridge buffer.
#[derive(Debug)]
pub struct Budgets {
    /// The memory for messages over 64 KiB: seven eighths of `inboundBytes`. A message is charged
    /// while it is received. An execute or an input in it stays charged until claude-api has
    /// answered.
    pub large: Arc<InboundBudget>,
    /// The memory for executes and inputs from messages of at most 64 KiB: one eighth of
    /// `inboundBytes`. Each is charged until claude-api has answered. The share is separate, so
    /// that large messages cannot block small ones.
    pub small: Arc<InboundBudget>,
    /// The memory for answers and output that clients have not read yet: `outboundBytes`.
    pub outbound: Arc<OutboundBudget>,
    /// The memory for lists of executions and parts of their events, while claude-api is being
    /// called for them: 64 MiB.
    pub lists: ListBudget,
    /// The part of each principal in the budgets above.
    principals: PrincipalBudgets,
}

impl Budgets {
    /// Creates the unused budgets of a bridge. Their sizes are computed from the operator's limits.
    #[must_use]
    pub fn new(own_limits: &Limits) -> Self {
        let (large, small) = inbound::shares(own_limits.inbound_bytes);
        let wait_step = Duration::from_millis(own_limits.ping_ms) / WAIT_STEPS_PER_PING;
        let limits = outbound::OutboundLimits::new(
            own_limits.outbound_bytes,
            own_limits.sessions,
            own_limits.status_bytes,
        );
        Self {
            large: InboundBudget::new(large, wait_step),
            small: InboundBudget::new(small, wait_step),
            outbound: OutboundBudget::new(limits),
            lists: ListBudget::default(),
            principals: PrincipalBudgets::new(own_limits, limits, wait_step),
        }
    }

    /// Returns the part of a principal in the budgets. All sessions of the principal share it.
    #[must_use]
    pub fn of_principal(&self, principal: &Arc<str>) -> Arc<PrincipalBudget> {
        self.principals.of(principal)
    }

    /// Reserves `bytes` bytes of the budget `small` for an execute or an input, and as many in the
    /// part of the client's principal. Dropping the result releases them. Returns `None` if fewer
    /// bytes are free. The caller then refuses the request with the JSON-RPC error -32004
    /// (`QUEUE_FULL`, reason `inbound_bytes`).
    #[must_use]
    pub fn charge_small(
        &self,
        bytes: usize,
        principal: Option<&PrincipalBudget>,
    ) -> Option<InboundCharge> {
        let of_principal = match principal {
            Some(principal) => Some(principal.small.take(bytes as u64)?),
            None => None,
        };
        Some(self.small.take(bytes as u64)?.with(of_principal))
    }

    /// Returns how many bytes of `inboundBytes` are in use, in large and small messages together.
    /// `/metrics` shows the number.
    #[must_use]
    pub fn inbound_used(&self) -> u64 {
        self.large.used() + self.small.used()
    }
}

/// The limits of one session within the memory for incoming messages, so that one client cannot use
/// all of it. The unanswered executes of a session may hold a quarter of each share, but always at
/// least one message.
#[derive(Debug)]
pub struct SessionInbound {
    /// The limit for the session's executes from messages over 64 KiB, with the bytes in use.
    pub large: Arc<InboundBudget>,
    /// The limit for the session's executes from messages of at most 64 KiB, with the bytes in use.
    pub small: Arc<InboundBudget>,
}

impl SessionInbound {
    /// Creates the unused limits of a new session. Their sizes are computed from the operator's
    /// limits.
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
