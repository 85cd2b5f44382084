//! Cancels that the bridge sends by itself: for an execute that it gave up, and for an execution
//! that nobody views (docs/protocol.md, "Calls").

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
    /// Cancels at once.
    Now {
        /// Whether an unknown id is burned: never accepted from then on.
        burn: bool,
    },
    /// Cancels when nobody has viewed the execution for a time.
    Unviewed {
        /// How long no stream must have been open.
        after: Duration,
        /// The session that left.
        session: Arc<str>,
        /// Whether an unknown id is burned: never accepted from then on.
        burn: bool,
    },
}

impl Cancel {
    fn path(&self) -> String {
        let (after, burn) = match self {
            Self::Now { burn } => (None, burn),
            Self::Unviewed { after, burn, .. } => (Some(after), burn),
        };
        let mut query = Vec::new();
        query.extend(burn.then(|| "ifUnknown=burn".to_owned()));
        query.extend(after.map(|after| format!("ifUnviewedForMs={}", after.as_millis())));
        format!("/cancel?{}", query.join("&"))
    }
}

/// The outcome of a cancel that may burn the id.
#[derive(Debug)]
pub enum Cancelled {
    /// The id was known.
    Known(Box<Status>),
    /// The id was not known, and is never accepted from now on.
    Burned,
}

async fn cancelled(response: reqwest::Response) -> Result<Cancelled, Failure> {
    let body = success(response).await?;
    if serde_json::from_slice::<Burned>(&body).is_ok() {
        return Ok(Cancelled::Burned);
    }
    Ok(Cancelled::Known(parse(&body)?))
}

impl Upstream {
    /// Cancels a PUT that was given up: an id that is not known is never accepted from then on. A
    /// broken attempt is retried within the call's time.
    ///
    /// # Errors
    /// As [`Self::status`], and -32004 when claude-api has no place to record it.
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

    /// Withdraws a [`Cancel::Unviewed`]: opens a stream, as any viewer does, and drops it.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn withdraw_unviewed(&self, id: ExecutionId) -> Result<(), RpcError> {
        let url = self.execution_url(id, "?follow=true");
        self.open_and_drop(&url).await
    }

    /// Cancels an execution that may have been accepted, and retries until claude-api answers,
    /// without a time limit. Returns whether claude-api has the cancel; if not, it knows no such
    /// execution.
    pub async fn cancel_surely(&self, id: ExecutionId, cancel: &Cancel) -> bool {
        let mut delays = Delays::default();
        loop {
            match self.cancel_once(id, cancel).await {
                Ok(_) => return true,
                Err(failure) if failure.leaves_cancel_owed() => {
                    sleep(delays.after(failure.retry_after())).await;
                    self.retries.cancel.inc();
                }
                Err(_) => return false,
            }
        }
    }
}
