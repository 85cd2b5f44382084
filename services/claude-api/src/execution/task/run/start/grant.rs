//! The grant of an execution's CLI, which the service `credentials` accepts in place of the
//! credential.

use std::io;

use crate::credentials::{Access, GrantRequest, Held};
use crate::execution::owner::Owner;
use crate::registry::Ticket;

/// Makes and registers the grant of an execution. `None` if the CLI gets the credential of this
/// service's environment, because there is no service `credentials`, or because it has no
/// credential. Waits up to 10 s while that service has never connected, and up to 1 s until it
/// confirms the grant. Cancel-safe.
///
/// # Errors
/// The kernel gives no random bytes.
pub(super) async fn hold_grant(owner: &Owner, ticket: &Ticket) -> io::Result<Option<Held>> {
    let Some(credentials) = &owner.engine.credentials else {
        return Ok(None);
    };
    if credentials.is_unknown() {
        // The wait may be long, and other executions must not wait for this start.
        ticket.started();
    }
    let kind = match credentials.access().await {
        Access::Own => return Ok(None),
        Access::Grant(kind) => kind,
    };
    let accepted = &owner.accepted;
    let request = GrantRequest {
        execution_id: owner.entry.id().into(),
        principal: accepted.principal.clone(),
        max_cost_usd: accepted.body.max_budget_usd,
    };
    credentials.grant(kind, request).await.map(Some)
}
