//! The connection to `credentials`, the service that holds the credential of the model. The CLI of
//! each execution gets a grant in the credential's place, which `credentials` accepts only while
//! this connection is open.
//!
//! ```text
//!                     hello of both sides                every grant confirmed
//!   no connection ────────────────────────▶ connected ─────────────────────────▶ in force
//!        ▲                                      │                                    │
//!        └───── end of file, silence, mistake, or replaced by a newer connection ────┘
//! ```
//!
//! - **No connection.** Grants are registered here, and sent on the next connection. The CLI
//!   retries its requests meanwhile, so an execution starts and runs on.
//! - **Connected.** Every grant is sent again, then [`grants::Order::Synced`]. A newer connection
//!   replaces the older one, because `credentials` may have been restarted without a goodbye.
//! - **In force.** `credentials` forwards the CLI's requests, and reports each answer with its
//!   cost.
//!
//! `credentials` opens the connection. [`listener`] accepts it, and [`peer_rule`] decides who may
//! connect. [`link`] reads and writes its lines. [`table`], [`row`] and [`outbox`] are the state as
//! plain values, and [`shared`] holds them for the tasks. [`held`] is the guard of one grant.
//! [`known`] and [`api_health`] are the facts about the credential. [`deliveries`] are the webhooks
//! that `credentials` sends.

mod api_health;
mod deliveries;
mod held;
mod known;
mod link;
mod listener;
mod outbox;
mod peer_rule;
mod row;
mod shared;
mod table;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use addresses::{HostAddresses, OwnAddresses};
use grants::{Delivery, Grant, Registration, Timing};
use protocol::ExecutionId;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::CredentialsUrl;
use crate::metrics::ModelRequests;
pub(crate) use deliveries::{DeliveryOutcome, DeliveryOutcomes, NotSent};
pub(crate) use held::Held;
pub(crate) use known::{Access, Known};
use peer_rule::PeerRule;
pub(crate) use row::Charges;
use row::Standing;
use shared::Shared;
use table::ExecutionCosts;

/// The maximum wait of an execution for the first report about the credential after the start of
/// the service. Then the CLI gets its grant in the variable of an API key.
const FIRST_HELLO: Duration = Duration::from_secs(10);
/// The maximum wait of a CLI's start for its grant to be in force. Without it, the CLI's own
/// retries bridge the time.
const GRANTED: Duration = Duration::from_secs(1);
/// The maximum age of the resolved addresses of `credentials`, when a connection is checked against
/// them.
const ADDRESS_AGE: Duration = Duration::from_secs(1);

/// The connection to `credentials`, and the grants of all executions. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    shared: Arc<Shared>,
}

/// The facts about an execution that needs a grant.
#[derive(Debug)]
pub(crate) struct GrantRequest {
    /// The execution.
    pub(crate) execution_id: ExecutionId,
    /// The principal of the execution. `None` without tokens.
    pub(crate) principal: Option<String>,
    /// The maximum cost of the execution in US dollars. `None` means no limit.
    pub(crate) max_cost_usd: Option<f64>,
}

impl Credentials {
    /// Creates the state without a connection. `is_boxed` says that commands of the model run in
    /// this container, so that no connection from its own addresses is accepted.
    ///
    /// # Errors
    /// The network addresses of this container cannot be read.
    pub(crate) fn new(
        url: CredentialsUrl,
        is_boxed: bool,
        metrics: ModelRequests,
    ) -> io::Result<Self> {
        let own = is_boxed.then(OwnAddresses::read).transpose()?;
        let host = HostAddresses::new(url.host(), ADDRESS_AGE);
        let rule = PeerRule { own, host };
        Ok(Self {
            shared: Arc::new(Shared::new(url, rule, Timing::default(), metrics)),
        })
    }

    /// Accepts connections of `credentials` on `listener`. Never returns: the port stays bound for
    /// the life of the process, so that no command of the model can listen on it.
    pub(crate) async fn serve(self, listener: TcpListener) {
        listener::serve(listener, self.shared).await;
    }

    /// Returns the facts that `credentials` has reported about the credential and its use.
    pub(crate) fn known(&self) -> Known {
        self.shared.known.borrow().clone()
    }

    /// Returns how the CLI of an execution gets access to the model. Waits up to 10 s while nothing
    /// is known, because `credentials` has not connected since the start of this service. Then the
    /// answer is a grant in the variable of an API key. Cancel-safe.
    pub(crate) async fn access(&self) -> Access {
        let mut known = self.shared.known.subscribe();
        let first = known.wait_for(|known| known.access().is_some());
        let _ = tokio::time::timeout(FIRST_HELLO, first).await;
        let known = self.shared.known.borrow();
        known.access().unwrap_or(Access::UNKNOWN)
    }

    /// Returns whether [`Credentials::access`] would wait.
    pub(crate) fn is_unknown(&self) -> bool {
        self.shared.known.borrow().access().is_none()
    }

    /// Makes a grant and registers it. While `credentials` is connected, waits at most 1 s until
    /// the grant is in force. The grant ends when the result is dropped, and also if this future is
    /// dropped.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub(crate) async fn grant(
        &self,
        kind: grants::CredentialKind,
        request: GrantRequest,
    ) -> io::Result<Held> {
        let grant = Grant::random()
            .ok_or_else(|| io::Error::other("the kernel gives no random bytes for a grant"))?;
        let registration = Registration {
            execution_id: request.execution_id.to_string(),
            hash: grant.hash(),
            principal: request.principal,
            max_cost_usd: request.max_cost_usd,
            spent_usd: 0.0,
        };
        let id = registration.execution_id.clone();
        let row = self.shared.with(|table| table.insert(registration));
        let mut held = Held::new(Arc::clone(&self.shared), id, grant, kind, row);
        held.wait(GRANTED, |standing| standing != Standing::Sent)
            .await;
        // A budget may already be used up by other executions.
        self.shared.costs.send_modify(|changes| *changes += 1);
        Ok(held)
    }

    /// Subscribes to changes of the costs of executions with a grant. The value counts them.
    pub(crate) fn cost_changes(&self) -> watch::Receiver<u64> {
        self.shared.costs.subscribe()
    }

    /// Returns each principal with a grant that is not exhausted, and the costs of its executions
    /// in US dollars.
    pub(crate) fn costs(&self) -> Vec<(String, ExecutionCosts)> {
        self.shared.locked(|table| table.costs())
    }

    /// Exhausts all grants of a principal whose budget is used up: the next requests of their CLIs
    /// get 402.
    pub(crate) fn exhaust(&self, principal: &str) {
        self.shared.with(|table| table.exhaust(principal));
    }

    /// Sends a webhook once. Its result follows in [`Credentials::delivery_outcomes`]. Never waits.
    ///
    /// # Errors
    /// The webhook was not sent: `credentials` is not connected, too many webhooks have no result
    /// yet, or this one is too long. Only a webhook that is too long must not be sent again.
    pub(crate) fn deliver(&self, delivery: Delivery) -> Result<(), NotSent> {
        self.shared.with(|table| table.deliver(delivery))
    }

    /// Returns the results of [`Credentials::deliver`]. `None` after the first call: there is one
    /// reader.
    pub(crate) fn delivery_outcomes(&self) -> Option<DeliveryOutcomes> {
        self.shared.with(|table| table.take_outcomes())
    }
}
