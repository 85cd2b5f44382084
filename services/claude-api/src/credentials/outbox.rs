//! The orders that wait for the present connection, as a plain value.

use std::collections::VecDeque;

use grants::Order;

/// The orders that the present connection has not taken yet, oldest first.
///
/// The size is bounded: a revocation removes the orders of the same execution that were not taken,
/// so the list has a few orders for each execution that runs, and the webhooks without a result,
/// whose number is limited. A connection whose peer reads nothing is closed after
/// [`grants::Timing::silence`].
#[derive(Debug, Default)]
pub(super) struct Outbox {
    orders: VecDeque<Order>,
}

impl Outbox {
    /// Adds an order at the end.
    pub(super) fn push(&mut self, order: Order) {
        self.orders.push_back(order);
    }

    /// Adds the revocation of an execution's grant, and removes the execution's other orders. If
    /// the grant itself was not taken yet, there is nothing to revoke. Returns whether a revocation
    /// is sent.
    pub(super) fn revoke(&mut self, execution_id: &str) -> bool {
        let mut was_sent = true;
        self.orders.retain(|order| match order {
            Order::Grant(registration) if registration.execution_id == execution_id => {
                was_sent = false;
                false
            }
            Order::Exhaust {
                execution_id: other,
            } => other != execution_id,
            _ => true,
        });
        if was_sent {
            let execution_id = execution_id.to_owned();
            self.push(Order::Revoke { execution_id });
        }
        was_sent
    }

    /// Removes all orders, because their connection has ended.
    pub(super) fn clear(&mut self) {
        self.orders.clear();
    }

    /// Removes and returns all orders, oldest first.
    pub(super) fn take(&mut self) -> VecDeque<Order> {
        std::mem::take(&mut self.orders)
    }
}
