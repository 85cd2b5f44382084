//! One grant, with its standing and its charges. A grant has one of these standings:
//!
//! ```text
//!            connection             confirmed               the execution ends
//!   Away ──────────────────▶ Sent ─────────────▶ InForce ────────────────────▶ Ending
//!     ▲                        │                    │                             │
//!     └── connection lost ─────┴────────────────────┘                             ▼
//!                                          connection lost, or all answers known: Ended
//! ```

use grants::{Answer, Order, Registration};
use tokio::sync::watch;

use super::outbox::Outbox;

/// The standing of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// No connection knows the grant.
    Away,
    /// The grant was given to the present connection, which has not confirmed it.
    Sent,
    /// `credentials` accepts the grant.
    InForce,
    /// The grant was revoked. Answers to its last requests may still be reported.
    Ending,
    /// The grant was revoked, and no further answer is expected.
    Ended,
}

/// The cost and the results of the requests of one execution.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Charges {
    /// The cost of all answers in US dollars. `None` before the first answer.
    pub(crate) cost_usd: Option<f64>,
    /// When the usage limit of the last 429 is reset, in milliseconds since 1970-01-01T00:00Z.
    /// `None` without such an answer.
    pub(crate) resets_at_ms: Option<u64>,
    /// How often the connection to `credentials` was lost while it knew the grant.
    pub(crate) restarts: u64,
    /// Whether the grant gets no further answers, because the execution or its principal has used
    /// up its budget.
    pub(crate) is_exhausted: bool,
}

/// The row of one grant.
#[derive(Debug)]
pub(super) struct Row {
    /// The registration, with the cost so far.
    pub(super) registration: Registration,
    /// The sum of the costs of the reported answers, in US dollars.
    answers_usd: f64,
    /// Whether the budget of the principal is used up.
    pub(super) is_exhausted: bool,
    /// The standing of the grant.
    pub(super) standing: watch::Sender<Standing>,
    charges: watch::Sender<Charges>,
}

/// The receivers for one grant.
#[derive(Debug)]
pub(super) struct RowWatch {
    /// The standing of the grant. The channel closes when the grant is removed.
    pub(super) standing: watch::Receiver<Standing>,
    /// The charges so far.
    pub(super) charges: watch::Receiver<Charges>,
}

impl Row {
    /// Creates a grant that no connection knows.
    pub(super) fn new(registration: Registration) -> Self {
        Self {
            answers_usd: registration.spent_usd,
            registration,
            is_exhausted: false,
            standing: watch::Sender::new(Standing::Away),
            charges: watch::Sender::new(Charges::default()),
        }
    }

    /// Returns the receivers of the grant.
    pub(super) fn watch(&self) -> RowWatch {
        RowWatch {
            standing: self.standing.subscribe(),
            charges: self.charges.subscribe(),
        }
    }

    /// Returns whether the execution has not ended.
    pub(super) fn is_active(&self) -> bool {
        !matches!(*self.standing.borrow(), Standing::Ending | Standing::Ended)
    }

    /// Adds the orders to `outbox` that register the grant on a new connection.
    pub(super) fn send(&self, outbox: &mut Outbox) {
        outbox.push(Order::Grant(self.registration.clone()));
        if self.is_exhausted {
            let execution_id = self.registration.execution_id.clone();
            outbox.push(Order::Exhaust { execution_id });
        }
        self.standing.send_replace(Standing::Sent);
    }

    /// Adds an answer to the charges.
    pub(super) fn charge(&mut self, answer: &Answer) {
        self.answers_usd += answer.cost_usd.max(0.0);
        // The sum of `credentials` includes answers whose reports were lost. This service's own sum
        // includes answers that a restarted `credentials` has forgotten.
        let spent = &mut self.registration.spent_usd;
        *spent = spent.max(answer.total_cost_usd).max(self.answers_usd);
        let (spent, max) = (*spent, self.registration.max_cost_usd);
        self.charges.send_modify(|charges| {
            charges.cost_usd = Some(spent);
            if answer.status == Some(429) {
                charges.resets_at_ms = answer.resets_at_ms;
            }
            charges.is_exhausted |= max.is_some_and(|max| spent >= max);
        });
    }

    /// Records that the budget of the principal is used up.
    pub(super) fn exhaust(&mut self) {
        self.is_exhausted = true;
        self.charges
            .send_modify(|charges| charges.is_exhausted = true);
    }

    /// Records the loss of the connection that knew the grant.
    pub(super) fn lose_connection(&self) {
        let was = *self.standing.borrow();
        match was {
            Standing::Sent | Standing::InForce => {
                self.charges.send_modify(|charges| charges.restarts += 1);
                self.standing.send_replace(Standing::Away);
            }
            Standing::Ending => {
                self.standing.send_replace(Standing::Ended);
            }
            Standing::Away | Standing::Ended => {}
        }
    }
}
