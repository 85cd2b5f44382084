//! Cancels that no client request makes: for an execute that the bridge gave up, and for an
//! execution whose clients have left (docs/protocol.md, "Calls").

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

/// A cancel that the bridge sends on its own.
#[derive(Debug, Clone)]
pub enum Cancel {
    /// Cancels the execution immediately.
    Now {
        /// Whether claude-api burns an id that it does not know: it refuses the id from now on.
        burn: bool,
    },
    /// Cancels the execution once it has had no viewer for a time. claude-api waits for that; a new
    /// viewer withdraws the cancel.
    Unviewed {
        /// How long no stream of the execution must be open.
        unviewed_for: Duration,
        /// The id of the ended session. Its late streams do not withdraw the cancel.
        session: Arc<str>,
        /// Whether claude-api burns an id that it does not know: it refuses the id from now on.
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

/// The answer of claude-api to a cancel.
#[derive(Debug)]
pub enum Cancelled {
    /// claude-api has the execution; this is its status.
    Known(Box<Status>),
    /// claude-api did not have the execution, and refuses its id from now on.
    Burned,
}

/// Reads the answer to a cancel: a status, or that the id was burned.
async fn cancelled(response: reqwest::Response) -> Result<Cancelled, Failure> {
    let body = success(response).await?;
    if serde_json::from_slice::<Burned>(&body).is_ok() {
        return Ok(Cancelled::Burned);
    }
    Ok(Cancelled::Known(parse(&body)?))
}

impl Upstream {
    /// Cancels an execute that was given up. An id that claude-api does not know is burned: it is
    /// refused from now on, so a PUT that arrives late starts nothing. A broken attempt is retried
    /// within `callMs`.
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

    /// Makes one attempt to cancel, within `callMs`.
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

    /// Withdraws a [`Cancel::Unviewed`] for a client that has returned. It opens a stream as a
    /// viewer would, and drops it.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn withdraw_unviewed(&self, id: ExecutionId) -> Result<(), RpcError> {
        let url = self.execution_url(id, "?follow=true");
        self.open_and_drop(&url).await
    }

    /// Cancels an execution that claude-api may have accepted, and retries without a time limit
    /// until claude-api answers. Returns true if claude-api has the cancel, and false if it does
    /// not know the execution.
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
