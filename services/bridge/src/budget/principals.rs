//! The part of each principal, its shares included, in the memory budgets: half of each. The
//! clients of one principal can then use up only their own part, and the others always have the
//! rest.
//!
//! - When is it charged? Together with the budget of which it is a part.
//! - Who waits for whom? A message beyond the part waits for the clients of the same
//!   principal, and evicts only messages of the same principal.
//! - What bounds the other direction? The table has only principals with open sessions.
//!
//! Without tokens there is no principal, and only the budgets of all sessions apply.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use protocol::Limits;

use super::inbound::{self, FREE_BYTES, InboundBudget};
use super::lists::ListPart;
use super::outbound::{OutboundBudget, OutboundLimits};

/// The divisor that gives the part of one principal in each budget.
const DIVISOR: u64 = 2;

/// The part of one principal in the memory budgets. All sessions of the principal and of its shares
/// use it together.
#[derive(Debug)]
pub struct PrincipalBudget {
    /// The part for messages over 64 KiB, and at least one message.
    pub large: Arc<InboundBudget>,
    /// The part for executes and inputs from smaller messages.
    pub small: Arc<InboundBudget>,
    /// The part for answers and output that clients have not read, beyond the floors.
    pub outbound: Arc<OutboundBudget>,
    /// The part for lists and events.
    pub lists: ListPart,
}

/// The parts of all principals that have sessions.
#[derive(Debug)]
pub(super) struct PrincipalBudgets {
    own_limits: Limits,
    outbound: OutboundLimits,
    wait_step: Duration,
    // A plain lock, because it is held only to read or change the map, never across an await.
    by_principal: Mutex<HashMap<Arc<str>, Weak<PrincipalBudget>>>,
}

impl PrincipalBudgets {
    /// Creates the table without a principal. `outbound` and `wait_step` are those of the budgets
    /// of all sessions.
    pub(super) fn new(own_limits: &Limits, outbound: OutboundLimits, wait_step: Duration) -> Self {
        Self {
            own_limits: own_limits.clone(),
            outbound,
            wait_step,
            by_principal: Mutex::default(),
        }
    }

    /// Returns the part of this principal, and creates it if nobody has it.
    pub(super) fn of(&self, principal: &Arc<str>) -> Arc<PrincipalBudget> {
        let table = self.by_principal.lock();
        let mut table = table.unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table.get(principal).and_then(Weak::upgrade) {
            return known;
        }
        table.retain(|_, budget| budget.strong_count() > 0);
        let budget = Arc::new(self.create());
        table.insert(principal.clone(), Arc::downgrade(&budget));
        budget
    }

    fn create(&self) -> PrincipalBudget {
        let (large, small) = inbound::shares(self.own_limits.inbound_bytes);
        let large = (large / DIVISOR).max(self.own_limits.message_bytes);
        PrincipalBudget {
            large: InboundBudget::new(large, self.wait_step),
            small: InboundBudget::new((small / DIVISOR).max(FREE_BYTES), self.wait_step),
            outbound: OutboundBudget::new(OutboundLimits {
                common: self.outbound.common / DIVISOR,
                ..self.outbound
            }),
            lists: ListPart::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Budgets;
    use super::*;

    #[test]
    fn a_principal_takes_half_and_leaves_the_rest_to_others() {
        let own_limits = Limits {
            inbound_bytes: 16 << 20,
            ..Limits::default()
        };
        let budgets = Budgets::new(&own_limits);
        let [a, b] = ["a", "b"].map(|name| budgets.of_principal(&name.into()));
        let again = budgets.of_principal(&"a".into());
        assert!(Arc::ptr_eq(&a, &again) && !Arc::ptr_eq(&a, &b));
        let half = 1 << 20;
        let charge = budgets.charge_small(half, Some(&a)).unwrap();
        assert!(budgets.charge_small(1, Some(&again)).is_none());
        let mut other = budgets.charge_small(half, Some(&b)).unwrap();
        assert!(budgets.charge_small(1, None).is_none(), "all is in use");
        let part = other.split(half / 2);
        drop((charge, other));
        assert_eq!((a.small.used(), b.small.used()), (0, 1 << 19));
        drop(part);
        assert_eq!((b.small.used(), budgets.inbound_used()), (0, 0));
        drop((a, again));
        let c = budgets.of_principal(&"c".into());
        assert!(c.small.take(1).is_some());
        assert_eq!(budgets.principals.by_principal.lock().unwrap().len(), 2);
    }
}
