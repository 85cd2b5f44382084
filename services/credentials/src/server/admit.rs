//! The decision about a request, from its head alone.

use super::context::Context;
use crate::forward::Admitted;
use crate::request::endpoint::{self, Target};
use crate::request::head::{self, Head};
use crate::request::refusal::Refusal;
use crate::table::{Denied, OPEN_REQUESTS};

/// The decision about a request.
#[derive(Debug)]
pub(super) enum Decision {
    /// The request is forwarded.
    Forward(Admitted),
    /// The liveness check is answered.
    Live,
}

/// Decides about a request. `is_local` says whether the client runs on this machine.
///
/// # Errors
/// The request is refused.
pub(super) fn decide(context: &Context, bytes: &[u8], is_local: bool) -> Result<Decision, Refusal> {
    let head = head::parse(bytes)?;
    match endpoint::find(head.method, head.target)? {
        Target::Live if is_local => Ok(Decision::Live),
        Target::Live => Err(Refusal::not_found()),
        Target::Api {
            endpoint,
            has_body,
            path,
        } => {
            // The HTTP library does not poll an empty body, so it would pass unchecked.
            if head.has_body() != has_body {
                let mistake = "POST needs a body, and GET and HEAD have none";
                return Err(Refusal::invalid(mistake));
            }
            Ok(Decision::Forward(Admitted {
                endpoint,
                has_body,
                path: path.to_owned(),
                open: open(context, &head)?,
            }))
        }
    }
}

fn open(context: &Context, head: &Head<'_>) -> Result<crate::table::OpenRequest, Refusal> {
    context
        .table
        .open(head.grant())
        .map_err(|denied| match denied {
            Denied::NotSynced => Refusal::unavailable("cc-bridge: claude-api is not connected"),
            Denied::Unknown => Refusal::unauthorized(),
            Denied::CostLimit => Refusal::cost_limit(),
            Denied::OpenCosts => Refusal::open_costs(),
            Denied::TooMany => Refusal::too_many_requests(OPEN_REQUESTS),
        })
}

#[cfg(test)]
mod tests;
