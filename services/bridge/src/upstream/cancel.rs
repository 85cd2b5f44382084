//! Cancels that the bridge sends on its own: for an execute that it gave up, and for an execution
//! without a viewer (docs/protocol.md, "Calls").

use std::sync::Arc;
use std::time::Duration;

use protocol::rpc::RpcError;
use protocol::trailers::VIEWER;
use protocol::{Burned, ExecutionId, Status};
use tokio::time::sleep;

use super::Upstream;
use super::errors::Failure;
use super::response::{parse, success};
use super::retry::Delays;

/// A cancel that no client waits for.
#[derive(Debug, Clone)]
pub enum Cancel {
    /// Cancels immediately.
    Now {
        /// Whether an unknown id is burned, so that it is never accepted later.
        burn: bool,
    },
    /// Cancels once the execution has had no viewer for a time.
    Unviewed {
        /// The time for which no stream must be open.
        unviewed_for: Duration,
        /// The ended session.
        session: Arc<str>,
        /// Whether an unknown id is burned, so that it is never accepted later.
        burn: bool,
    },
}

impl Cancel {
    fn path(&self) -> String {
        let (unviewed_for, burn) = match self {
            Self::Now { burn } => (None, burn),
            Self::Unviewed {
                unviewed_for, burn, ..
            } => (Some(unviewed_for), burn),
        };
        let mut query = Vec::new();
        query.extend(burn.then(|| "ifUnknown=burn".to_owned()));
        query.extend(unviewed_for.map(|time| format!("ifUnviewedForMs={}", time.as_millis())));
        format!("/cancel?{}", query.join("&"))
    }
}

/// The outcome of a cancel that may burn the id.
#[derive(Debug)]
pub enum Cancelled {
    /// claude-api knew the id.
    Known(Box<Status>),
    /// claude-api did not know the id, and never accepts it later.
    Burned,
}

/// Reads the answer to a cancel.
async fn cancelled(response: reqwest::Response) -> Result<Cancelled, Failure> {
    let body = success(response).await?;
    if serde_json::from_slice::<Burned>(&body).is_ok() {
        return Ok(Cancelled::Burned);
    }
    Ok(Cancelled::Known(parse(&body)?))
}

impl Upstream {
    /// Cancels a PUT that was given up, and burns an unknown id, so that it is never accepted
    /// later. A broken attempt is retried within the call's time.
    ///
    /// # Errors
    /// As [`Self::status`], and -32004 if claude-api has no room to record the burned id.
    pub async fn burn(&self, id: ExecutionId) -> Result<Cancelled, RpcError> {
        let url = self.execution_url(id, "/cancel?ifUnknown=burn");
        self.attempts(|| {
            let request = self.client.post(&url);
            async move { cancelled(request.send().await?).await }
        })
        .await
    }

    /// Makes one attempt to cancel.
    pub(crate) async fn cancel_once(
        &self,
        id: ExecutionId,
        cancel: &Cancel,
    ) -> Result<Cancelled, Failure> {
        let mut request = self.client.post(self.execution_url(id, &cancel.path()));
        if let Cancel::Unviewed { session, .. } = cancel {
            request = request.header(VIEWER, &**session);
        }
        let post = async { cancelled(request.send().await?).await };
        match tokio::time::timeout(self.times.call, post).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Broken("no answer in time".to_owned())),
        }
    }

    /// Withdraws a [`Cancel::Unviewed`]: opens a stream like a viewer, and drops it.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn withdraw_unviewed(&self, id: ExecutionId) -> Result<(), RpcError> {
        let url = self.execution_url(id, "?follow=true");
        self.open_and_drop(&url).await
    }

    /// Cancels an execution that may have been accepted, and retries without a time limit until
    /// claude-api answers. Returns whether claude-api has the cancel. If not, claude-api does not
    /// know the execution.
    pub async fn cancel_until_answered(&self, id: ExecutionId, cancel: &Cancel) -> bool {
        let mut delays = Delays::default();
        loop {
            match self.cancel_once(id, cancel).await {
                Ok(_) => return true,
                Err(failure) if failure.leaves_cancel_owed() => {
                    sleep(delays.next_delay(failure.retry_after())).await;
                    self.retries.cancel.inc();
                }
                Err(_) => return false,
            }
        }
    }
}
