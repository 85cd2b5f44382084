//! The state that the tasks of this module share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use grants::{Answer, CredentialState, Report, Timing};
use tokio::sync::watch;

use super::known::Known;
use super::peer_rule::PeerRule;
use super::table::{LinkNumber, Table};
use crate::config::CredentialsUrl;
use crate::metrics::ModelRequests;
use crate::times::now;

/// The grants, the facts about the credential, and the channels that announce their changes.
#[derive(Debug)]
pub(super) struct Shared {
    /// The URL at which the CLI reaches `credentials`.
    pub(super) url: CredentialsUrl,
    /// The rule about the peers that may connect.
    pub(super) rule: PeerRule,
    /// The beats, and the silence after which a connection counts as lost.
    pub(super) timing: Timing,
    // Held for one change of plain values; no await happens inside.
    table: Mutex<Table>,
    /// Counts the changes of the table, so that the writer of the connection takes new orders.
    pub(super) changes: watch::Sender<u64>,
    /// The facts that `credentials` has reported.
    pub(super) known: watch::Sender<Known>,
    /// Counts the changes of costs.
    pub(super) costs: watch::Sender<u64>,
    metrics: ModelRequests,
}

impl Shared {
    /// Creates the state before the first connection.
    pub(super) fn new(
        url: CredentialsUrl,
        rule: PeerRule,
        timing: Timing,
        metrics: ModelRequests,
    ) -> Self {
        Self {
            url,
            rule,
            timing,
            table: Mutex::default(),
            changes: watch::Sender::new(0),
            known: watch::Sender::default(),
            costs: watch::Sender::new(0),
            metrics,
        }
    }

    /// Runs `act` on the table under its lock, and notifies the writer of the connection, which
    /// takes new orders.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Table) -> T) -> T {
        let done = act(&mut self.lock());
        self.changes.send_modify(|changes| *changes += 1);
        done
    }

    /// Runs `act` on the table under its lock without a notification, because `act` adds no orders.
    pub(super) fn locked<T>(&self, act: impl FnOnce(&mut Table) -> T) -> T {
        act(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a connection whose peer has said hello. Every grant is sent to it.
    pub(super) fn connect(&self, credential: CredentialState) -> LinkNumber {
        // The facts change under the lock of the table, so that the end of the older connection
        // cannot intervene.
        self.with(|table| {
            if table.is_connected() {
                self.metrics.lost_connection();
            }
            self.metrics.set_connected(true);
            self.known.send_modify(|known| {
                known.is_connected = true;
                known.mishap = None;
                known.set_credential(credential);
            });
            table.connect()
        })
    }

    /// Ends a connection for a reason in words. Has no effect if a newer one has replaced it.
    pub(super) fn disconnect(&self, number: LinkNumber, reason: String) {
        self.with(|table| {
            if table.disconnect(number) {
                self.metrics.lost_connection();
                self.metrics.set_connected(false);
                self.known.send_modify(|known| {
                    known.is_connected = false;
                    known.mishap = Some(reason);
                });
            }
        });
    }

    /// Records why a connection was refused, unless another one is connected.
    pub(super) fn refused(&self, reason: String) {
        self.known.send_if_modified(|known| {
            let is_news = !known.is_connected && known.mishap.as_ref() != Some(&reason);
            if is_news {
                known.mishap = Some(reason);
            }
            is_news
        });
    }

    /// Handles a report of a connection. Returns false for a second hello, which is a mistake of
    /// the peer. After a newer connection has replaced this one, only answers and results of
    /// webhooks count.
    pub(super) fn report(&self, number: LinkNumber, report: Report) -> bool {
        match report {
            Report::Hello { .. } => return false,
            Report::Credential(credential) => self.locked(|table| {
                if table.is_present(number) {
                    self.known
                        .send_modify(|known| known.set_credential(credential));
                }
            }),
            Report::Granted { execution_id } => {
                self.locked(|table| table.granted(number, &execution_id));
            }
            Report::Revoked { execution_id } => {
                self.locked(|table| table.revoked(number, &execution_id));
            }
            Report::Answer(answer) => self.answer(&answer),
            Report::Delivered { id, outcome } => self.locked(|table| table.delivered(id, outcome)),
            Report::Beat => {}
        }
        true
    }

    fn answer(&self, answer: &Answer) {
        self.metrics.answer(answer);
        self.known
            .send_modify(|known| known.health.answer(answer, now()));
        self.locked(|table| table.answer(answer));
        self.costs.send_modify(|changes| *changes += 1);
    }
}
