//! The guard of one grant.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use grants::{CredentialKind, Grant};
use tokio::sync::watch;
use tokio::time::timeout;

use super::row::{Charges, RowWatch, Standing};
use super::shared::Shared;
use crate::cli::Granted;

/// The maximum wait of an execution's end for the reports of its last requests, which were cut. A
/// connection reports them within milliseconds.
const LAST_ANSWERS: Duration = Duration::from_millis(300);

/// The grant of one execution. Dropping it revokes the grant: the open requests of the CLI are cut,
/// and later ones are refused.
pub(crate) struct Held {
    shared: Arc<Shared>,
    execution_id: String,
    grant: Grant,
    kind: CredentialKind,
    row: RowWatch,
}

impl fmt::Debug for Held {
    /// Prints the execution, and hides the grant.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("execution_id", &self.execution_id)
            .finish_non_exhaustive()
    }
}

impl Held {
    /// Creates the guard of a registered grant.
    pub(super) fn new(
        shared: Arc<Shared>,
        execution_id: String,
        grant: Grant,
        kind: CredentialKind,
        row: RowWatch,
    ) -> Self {
        Self {
            shared,
            execution_id,
            grant,
            kind,
            row,
        }
    }

    /// Waits until `is_reached` accepts the standing of the grant, for at most `limit`.
    pub(super) async fn wait(&mut self, limit: Duration, is_reached: fn(Standing) -> bool) {
        let reached = self.row.standing.wait_for(|standing| is_reached(*standing));
        // A timeout changes nothing: the CLI retries its requests.
        let _ = timeout(limit, reached).await;
    }

    /// Returns the access to the model for the environment of the CLI.
    pub(crate) fn granted(&self) -> Granted<'_> {
        Granted {
            url: &self.shared.url,
            kind: self.kind,
            grant: &self.grant,
        }
    }

    /// Subscribes to the charges of the execution.
    pub(crate) fn charges(&self) -> watch::Receiver<Charges> {
        self.row.charges.clone()
    }

    /// Revokes the grant, and returns the last charges. With `has_open_request`, waits for the
    /// reports of the requests that were cut, for at most 300 ms.
    pub(crate) async fn end(mut self, has_open_request: bool) -> Charges {
        self.shared.with(|table| table.revoke(&self.execution_id));
        if has_open_request {
            self.wait(LAST_ANSWERS, |standing| standing == Standing::Ended)
                .await;
        }
        *self.row.charges.borrow()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.with(|table| table.remove(&self.execution_id));
    }
}
