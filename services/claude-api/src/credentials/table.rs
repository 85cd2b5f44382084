//! The grants of all executions, and the present connection on which they are registered. A plain
//! value: its caller holds the lock and does the input and output.

use std::collections::{HashMap, VecDeque};

use grants::{Answer, Delivered, Delivery, Order, Registration};

use super::deliveries::{Deliveries, DeliveryOutcomes, NotSent};
use super::outbox::Outbox;
use super::row::{Row, RowWatch, Standing};

/// Executions, each with its cost so far in US dollars.
pub(crate) type ExecutionCosts = Vec<(String, f64)>;

/// The number of a connection, which distinguishes it from its predecessors and successors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinkNumber(u64);

/// The grants of all executions that run, by execution. Their number is that of the executions that
/// run at the same time.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: HashMap<String, Row>,
    outbox: Outbox,
    deliveries: Deliveries,
    /// The present connection; `None` without one.
    link: Option<LinkNumber>,
    /// The number of connections so far.
    links: u64,
}

impl Table {
    /// Adds a grant, and sends it to the connection if there is one.
    pub(super) fn insert(&mut self, registration: Registration) -> RowWatch {
        let row = Row::new(registration);
        if self.link.is_some() {
            row.send(&mut self.outbox);
        }
        let receivers = row.watch();
        self.rows.insert(row.registration.execution_id.clone(), row);
        receivers
    }

    /// Revokes a grant, whose row stays for its last answers. Has no effect on a revoked or removed
    /// grant.
    pub(super) fn revoke(&mut self, execution_id: &str) {
        let Some(row) = self.rows.get(execution_id).filter(|row| row.is_active()) else {
            return;
        };
        let is_sent = self.link.is_some() && self.outbox.revoke(execution_id);
        let standing = if is_sent {
            Standing::Ending
        } else {
            Standing::Ended
        };
        row.standing.send_replace(standing);
    }

    /// Revokes a grant, and forgets it.
    pub(super) fn remove(&mut self, execution_id: &str) {
        self.revoke(execution_id);
        self.rows.remove(execution_id);
    }

    /// Begins a connection in place of the present one, if there is one. All grants of running
    /// executions are sent to it.
    pub(super) fn connect(&mut self) -> LinkNumber {
        self.lose_connection();
        self.links += 1;
        let number = LinkNumber(self.links);
        self.link = Some(number);
        for row in self.rows.values().filter(|row| row.is_active()) {
            row.send(&mut self.outbox);
        }
        self.outbox.push(Order::Synced);
        number
    }

    /// Ends a connection. Returns false, and has no effect, if a newer one has replaced it.
    pub(super) fn disconnect(&mut self, number: LinkNumber) -> bool {
        let is_present = self.is_present(number);
        if is_present {
            self.lose_connection();
        }
        is_present
    }

    fn lose_connection(&mut self) {
        if self.link.take().is_some() {
            self.outbox.clear();
            self.deliveries.lose();
            self.rows.values().for_each(Row::lose_connection);
        }
    }

    /// Removes and returns the orders for a connection. `None` if a newer one has replaced it.
    pub(super) fn take_orders(&mut self, number: LinkNumber) -> Option<VecDeque<Order>> {
        self.is_present(number).then(|| self.outbox.take())
    }

    /// Returns whether there is a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// Returns whether this is the present connection.
    pub(super) fn is_present(&self, number: LinkNumber) -> bool {
        self.link == Some(number)
    }

    /// Records that a connection has confirmed a grant. Has no effect if the connection was
    /// replaced.
    pub(super) fn granted(&mut self, number: LinkNumber, execution_id: &str) {
        self.confirm(number, execution_id, Standing::Sent, Standing::InForce);
    }

    /// Records that all answers of a revoked grant are known. Has no effect if the connection was
    /// replaced.
    pub(super) fn revoked(&mut self, number: LinkNumber, execution_id: &str) {
        self.confirm(number, execution_id, Standing::Ending, Standing::Ended);
    }

    fn confirm(&mut self, number: LinkNumber, execution_id: &str, from: Standing, to: Standing) {
        if let Some(row) = self.rows.get(execution_id)
            && self.is_present(number)
        {
            row.standing.send_if_modified(|standing| {
                let is_due = *standing == from;
                if is_due {
                    *standing = to;
                }
                is_due
            });
        }
    }

    /// Adds an answer to the charges of its execution. Has no effect if the execution has ended.
    pub(super) fn answer(&mut self, answer: &Answer) {
        let id = answer.execution_id.as_deref().unwrap_or_default();
        if let Some(row) = self.rows.get_mut(id) {
            row.charge(answer);
        }
    }

    /// Returns the costs of the grants of each principal that has a grant which is not exhausted.
    pub(super) fn costs(&self) -> Vec<(String, ExecutionCosts)> {
        let mut costs: HashMap<&str, (bool, ExecutionCosts)> = HashMap::new();
        for (id, row) in &self.rows {
            let Some(principal) = row.registration.principal.as_deref() else {
                continue;
            };
            let (is_open, list) = costs.entry(principal).or_default();
            *is_open |= !row.is_exhausted && row.is_active();
            list.push((id.clone(), row.registration.spent_usd));
        }
        let open = costs.into_iter().filter(|(_, (is_open, _))| *is_open);
        open.map(|(principal, (_, list))| (principal.to_owned(), list))
            .collect()
    }

    /// Exhausts all grants of a principal. They stay exhausted.
    pub(super) fn exhaust(&mut self, principal: &str) {
        let is_connected = self.link.is_some();
        for (id, row) in &mut self.rows {
            let of_principal = row.registration.principal.as_deref() == Some(principal);
            if !of_principal || row.is_exhausted || !row.is_active() {
                continue;
            }
            row.exhaust();
            if is_connected {
                let execution_id = id.clone();
                self.outbox.push(Order::Exhaust { execution_id });
            }
        }
    }

    /// Sends a webhook to the connection.
    ///
    /// # Errors
    /// There is no connection, too many webhooks are in flight, or this one is too long.
    pub(super) fn deliver(&mut self, delivery: Delivery) -> Result<(), NotSent> {
        if self.link.is_none() {
            return Err(NotSent::NotConnected);
        }
        let order = self.deliveries.begin(delivery)?;
        self.outbox.push(order);
        Ok(())
    }

    /// Passes the result of a webhook on to the reader.
    pub(super) fn delivered(&mut self, id: String, outcome: Delivered) {
        self.deliveries.end(id, outcome);
    }

    /// Returns the reader's end of the results of webhooks; `None` if it was taken before.
    pub(super) fn take_outcomes(&mut self) -> Option<DeliveryOutcomes> {
        self.deliveries.take_outcomes()
    }
}

#[cfg(test)]
mod tests;
