//! Cancels that the bridge sends without a client's request: for an execute that the bridge gave
//! up, and for an execution whose clients have left (docs/protocol.md, "Calls").

use std::sync::Arc;
use std::time::Duration;

use protocol::rpc::RpcError;
use protocol::trailers::VIEWER;
use protocol::{Burned, ExecutionId, Status};
use tokio::time::sleep;

use super::Upstream;
use super::errors::Failure;
use super::response::{parse, success};
use super::retry::delays;

/// A cancel that the bridge sends without a client's request: immediately, or on the condition that
/// no client views the execution.
#[derive(Debug, Clone)]
pub enum Cancel {
    /// Cancels the execution immediately.
    Now {
        /// Whether claude-api burns the id if it does not know the execution. It then refuses every
        /// later execute with this id.
        burn: bool,
    },
    /// Cancels the execution once no client has viewed it for a time. claude-api waits for that
    /// time, and a new viewer withdraws the cancel.
    Unviewed {
        /// How long the execution must have had no open stream before it is cancelled.
        unviewed_for: Duration,
        /// The id of the session that has ended. Late streams of this session do not count as
        /// viewers.
        session: Arc<str>,
        /// Whether claude-api burns the id if it does not know the execution. It then refuses every
        /// later execute with this id.
        burn: bool,
    },
}

impl Cancel {
    /// Returns the path and query of the cancel, after the URL of the execution.
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

/// claude-api's answer to a cancel.
#[derive(Debug)]
pub enum Cancelled {
    /// claude-api has the execution, and this is its status.
    Known(Box<Status>),
    /// claude-api did not have the execution, and refuses every later execute with this id.
    Burned,
}

/// Reads the HTTP answer to a cancel: the status of the execution, or that the id was burned.
///
/// # Errors
/// Returns an error if the answer is a refusal, or is neither of the two.
async fn cancelled(response: reqwest::Response) -> Result<Cancelled, Failure> {
    let body = success(response).await?;
    if serde_json::from_slice::<Burned>(&body).is_ok() {
        return Ok(Cancelled::Burned);
    }
    Ok(Cancelled::Known(parse(&body)?))
}

impl Upstream {
    /// Cancels an execute that the bridge has given up. If claude-api does not know the id, it
    /// burns the id: it refuses the id from now on, so a PUT that arrives late starts no execution.
    /// A broken attempt is retried within `callMs`.
    ///
    /// # Errors
    /// Returns an error as [`Self::status`] does, or -32004 (`QUEUE_FULL`) if claude-api has no
    /// room to record the burned id.
    pub async fn burn(&self, id: ExecutionId) -> Result<Cancelled, RpcError> {
        let url = self.execution_url(id, "/cancel?ifUnknown=burn");
        self.attempts(|| {
            let request = self.post(&url);
            async move { cancelled(request.send().await?).await }
        })
        .await
    }

    /// Sends a cancel once, and waits for the answer up to `callMs`.
    ///
    /// # Errors
    /// Returns the failure if claude-api refuses the cancel or does not answer in time.
    pub(crate) async fn cancel_once(
        &self,
        id: ExecutionId,
        cancel: &Cancel,
    ) -> Result<Cancelled, Failure> {
        let mut request = self.post(&self.execution_url(id, &cancel.path()));
        if let Cancel::Unviewed { session, .. } = cancel {
            request = request.header(VIEWER, &**session);
        }
        let post = async { cancelled(request.send().await?).await };
        match tokio::time::timeout(self.times.call, post).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Broken("no answer in time".to_owned())),
        }
    }

    /// Withdraws a [`Cancel::Unviewed`], because a client views the execution again. Opens a stream
    /// as a viewer would, and closes it again.
    ///
    /// # Errors
    /// Returns an error as [`Self::status`] does. claude-api may then still cancel the execution.
    pub async fn withdraw_unviewed(&self, id: ExecutionId) -> Result<(), RpcError> {
        let url = self.execution_url(id, "?follow=true");
        self.open_and_drop(&url).await
    }

    /// Cancels an execution that claude-api may have accepted, and retries until claude-api
    /// answers, without a time limit. Returns true if claude-api has the cancel. Returns false if
    /// claude-api refused it for good, because it does not know the execution.
    pub async fn cancel_until_answered(&self, id: ExecutionId, cancel: &Cancel) -> bool {
        let mut delays = delays();
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
