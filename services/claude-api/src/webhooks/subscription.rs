//! The place of a new execution in the queue, until the execution is accepted.

use std::io;
use std::sync::Arc;

use protocol::{ExecutionId, Webhook};

use super::ledger::Ledger;
use super::queue::Webhooks;
use super::table::TooManyLedgers;

/// The place of a new execution in the queue of webhooks. Dropping it removes the ledger again,
/// unless the execution was accepted ([`Self::keep`]).
#[derive(Debug)]
#[must_use]
pub(crate) struct Subscription {
    webhooks: Arc<Webhooks>,
    /// The execution; `None` once the subscription is kept.
    id: Option<ExecutionId>,
}

impl Subscription {
    /// Adds the ledger of a new execution, in memory. [`Self::write`] puts it on disk.
    ///
    /// # Errors
    /// There are too many ledgers, of all principals or of this one. With `may_exceed`, the bounds
    /// do not apply; a policy's continuation uses that, because no client could repeat it.
    pub(crate) fn open(
        webhooks: &Arc<Webhooks>,
        id: ExecutionId,
        principal: Option<&str>,
        webhook: &Webhook,
        may_exceed: bool,
    ) -> Result<Self, TooManyLedgers> {
        webhooks.add(Ledger::new(id, principal, webhook), may_exceed)?;
        Ok(Self {
            webhooks: Arc::clone(webhooks),
            id: Some(id),
        })
    }

    /// Writes the ledger. It is on disk when this returns. Blocks on the disk.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub(crate) fn write(&self) -> io::Result<()> {
        self.id.map_or(Ok(()), |id| self.webhooks.write(id))
    }

    /// Keeps the ledger, because the execution was accepted.
    pub(crate) fn keep(mut self) {
        self.id = None;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.webhooks.remove(id);
        }
    }
}
