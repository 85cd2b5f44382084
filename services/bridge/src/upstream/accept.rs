//! Sends a client's execute to claude-api, and retries until claude-api has accepted or refused it
//! (docs/protocol.md, "Retries of the bridge").
//!
//! The bridge sends the same PUT under one id until claude-api has durably accepted it, refuses it,
//! or the time is over. A stop ends the retries with a cancel under the same id, unless claude-api
//! certainly does not know the id. The two requests use different connections, so claude-api may
//! read an earlier attempt after the cancel. Therefore the cancel burns an id that is not known
//! yet: claude-api refuses it from then on. The caller waits for one call at most: while claude-api
//! cannot be reached, the caller owes the cancel and retries it
//! ([`Upstream::cancel_until_answered`]).

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use protocol::rpc::{RpcError, code};
use protocol::{ExecutionId, ProblemType, Status};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Upstream;
use super::calls::unavailable;
use super::cancel::Cancelled;
use super::errors::Failure;
use super::response::json;
use super::retry::delays;

/// How long an attempt may be without an answer before claude-api counts as failing (1 s). The
/// attempt continues after that.
const SLOW: Duration = Duration::from_secs(1);
/// The time that is left for one last attempt when `Retry-After` asks for a longer pause than the
/// execute may still take.
const LAST_ATTEMPT: Duration = Duration::from_secs(1);

/// The PUT request that sends a client's execute to claude-api. Every retry sends the same request
/// under the same id, so claude-api accepts it at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutRequest {
    /// The id of the new execution.
    pub id: ExecutionId,
    /// Whether the bridge has just generated the id, so that no other request can have used it.
    /// False if the client chose the id. The client may then have used it before, in another
    /// session or through another bridge.
    pub fresh: bool,
    /// The JSON body of the request.
    pub body: Bytes,
}

/// A PUT request whose answer has not arrived yet.
type Attempt<'a> = Pin<&'a mut (dyn Future<Output = Result<Status, Failure>> + Send)>;

impl Upstream {
    /// Sends an execute to claude-api until claude-api accepts it, refuses it for good, or
    /// `acceptMs` is over, and returns the status of the execution. Makes at least one attempt.
    /// Cancelling `stop` ends the retries. A cancel of the same id is then sent, unless claude-api
    /// certainly does not know the id. `failing` is set to whether claude-api has failed since its
    /// last answer.
    ///
    /// # Errors
    /// Returns the JSON-RPC error for the client, with `executionId` in its `data`. If claude-api
    /// was not available, its `data` also has `accepted`: false, or `"unknown"` if claude-api may
    /// have accepted the execute. In some cases the caller must still send a cancel, see
    /// [`owes_cancel`].
    pub async fn accept(
        &self,
        execute: &PutRequest,
        stop: &CancellationToken,
        failing: &watch::Sender<bool>,
    ) -> Result<Status, RpcError> {
        let id = execute.id;
        let start = Instant::now();
        let end = start + self.times.accept;
        let mut delays = delays();
        let mut may_have_acted = false;
        let mut is_pause_cut = false;
        loop {
            let mut put = pin!(self.put(execute, end));
            let stopped_while_slow = async {
                sleep(SLOW).await;
                failing.send_replace(true);
                stop.cancelled().await;
            };
            let failure = tokio::select! {
                answer = &mut put => match answer {
                    Ok(status) => {
                        failing.send_replace(false);
                        return Ok(status);
                    }
                    Err(failure) => failure,
                },
                () = stopped_while_slow => {
                    let cancelled = self.cancel_unsure(id, Some(put)).await?;
                    return self.confirm(execute, cancelled).await;
                }
            };
            failing.send_replace(failure.is_transient());
            may_have_acted |= failure.may_have_acted();
            let retry_after = failure.retry_after();
            let mut wait = delays
                .next_delay(retry_after)
                .max(retry_after.unwrap_or_default());
            let attempts = delays.attempts();
            tracing::info!(
                execution = %id,
                error = failure.logged(),
                attempts,
                "claude-api did not accept an execute"
            );
            let left = end.saturating_duration_since(Instant::now());
            if retry_after.is_some_and(|pause| pause >= left) && !is_pause_cut {
                // Once, the pause is cut so that one more attempt is made.
                is_pause_cut = true;
                wait = left.saturating_sub(LAST_ATTEMPT.min(self.times.accept / 4));
            }
            if !failure.is_transient() || wait >= left {
                // claude-api checks the id before a final refusal, so then it has no such
                // execution.
                let is_unknown = may_have_acted || (!execute.fresh && failure.is_transient());
                let error = unavailable(&failure, attempts, start);
                return Err(refused(id, &failure, error, is_unknown));
            }
            tokio::select! {
                () = stop.cancelled() => {
                    return self.give_up(execute, may_have_acted).await;
                }
                () = sleep(wait) => self.retries.execute.inc(),
            };
        }
    }

    /// Ends an execute that the client has cancelled while no attempt is waiting for an answer.
    /// Returns the status if claude-api had accepted the execute nevertheless. `may_have_acted` is
    /// true if claude-api may have accepted an earlier attempt. Only then, or for an id that the
    /// client chose, a cancel is sent. It burns the id, which means that claude-api refuses it from
    /// now on. A client's own id is always burned, because another session or another bridge may
    /// still retry its execute.
    ///
    /// # Errors
    /// Returns an error as [`Self::accept`] does, if claude-api did not accept the execute or it is
    /// unknown whether it did.
    pub async fn give_up(
        &self,
        execute: &PutRequest,
        may_have_acted: bool,
    ) -> Result<Status, RpcError> {
        if execute.fresh && !may_have_acted {
            return Err(stopped(execute.id, false.into()));
        }
        let cancelled = self.cancel_unsure(execute.id, None).await?;
        self.confirm(execute, cancelled).await
    }

    /// Returns the answer to an execute that was cancelled when claude-api already had an execution
    /// with its id. If the client chose the id, sends the PUT again: only its answer shows whether
    /// the cancelled execution has this body or another one.
    ///
    /// # Errors
    /// Returns an error if the execution has another body, or if claude-api does not answer.
    async fn confirm(&self, execute: &PutRequest, cancelled: Status) -> Result<Status, RpcError> {
        if execute.fresh {
            return Ok(cancelled);
        }
        let start = Instant::now();
        match self.put(execute, start + self.times.call).await {
            Ok(status) => Ok(status),
            Err(failure) if failure.is_transient() => Err(stopped(execute.id, "unknown".into())),
            Err(failure) => {
                let error = unavailable(&failure, 1, start);
                Err(refused(execute.id, &failure, error, false))
            }
        }
    }

    /// Sends the PUT request once, and waits for the answer until `end` at the latest.
    async fn put(&self, execute: &PutRequest, end: Instant) -> Result<Status, Failure> {
        let attempt = async {
            let response = self
                .request(http::Method::PUT, &self.execution_url(execute.id, ""))
                .header(http::header::ACCEPT, "application/json")
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(execute.body.clone())
                .send()
                .await?;
            json(response).await
        };
        let end = end.min(Instant::now() + self.times.attempt);
        match timeout_at(end, attempt).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Broken("no answer in time".to_owned())),
        }
    }

    /// Cancels an execute for which it is unknown whether claude-api has accepted it. Returns the
    /// status of the execution if it has. Otherwise claude-api burns the id, so that it accepts no
    /// later attempt of this or another bridge. `put` is an attempt without an answer. It continues
    /// meanwhile, because a sent request cannot be revoked.
    ///
    /// # Errors
    /// Returns an error if claude-api had not accepted the execute, or if the cancel was not
    /// answered.
    async fn cancel_unsure(
        &self,
        id: ExecutionId,
        mut put: Option<Attempt<'_>>,
    ) -> Result<Status, RpcError> {
        let mut cancel = pin!(self.burn(id));
        let cancelled = loop {
            let attempt = async {
                match put.as_mut() {
                    Some(put) => put.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                cancelled = &mut cancel => break cancelled,
                answer = attempt => {
                    if let Ok(status) = answer {
                        // The task that waits for this answer cancels the execution then.
                        return Ok(status);
                    }
                    put = None;
                }
            }
        };
        let error = match cancelled {
            Ok(Cancelled::Known(status)) => return Ok(*status),
            Ok(Cancelled::Burned) => return Err(stopped(id, false.into())),
            Err(error) => error,
        };
        Err(match error.code {
            // claude-api has deleted the execution.
            code::ID_IN_USE => stopped(id, false.into()),
            _ => error
                .with("executionId", id.to_string())
                .with("accepted", "unknown"),
        })
    }
}

/// The `reason` in the JSON-RPC error for an execute that its client cancelled before claude-api
/// accepted it.
const CANCELLED: &str = "cancelled";

/// Returns true if the caller must still cancel the execute that ended with this error. That is so
/// if claude-api may have accepted the execute, and no cancel has reached claude-api.
#[must_use]
pub fn owes_cancel(error: &RpcError) -> bool {
    error.data["accepted"] == "unknown" && error.data["reason"] != CANCELLED
}

/// Returns the JSON-RPC error for an execute that was cancelled before claude-api was known to have
/// it (code -32005, `UNAVAILABLE`). `accepted` is false, or `"unknown"` if claude-api may have
/// accepted the execute.
fn stopped(id: ExecutionId, accepted: serde_json::Value) -> RpcError {
    RpcError::new(
        code::UNAVAILABLE,
        CANCELLED,
        "cancelled before claude-api accepted it",
    )
    .with("executionId", id.to_string())
    .with("accepted", accepted)
}

/// Completes the JSON-RPC error for an execute that was not accepted. Adds `executionId`, and
/// `accepted` unless claude-api's refusal shows that no attempt was accepted. `is_unknown` is true
/// if claude-api may have accepted an attempt; `accepted` is then `"unknown"` instead of false.
fn refused(id: ExecutionId, failure: &Failure, error: RpcError, is_unknown: bool) -> RpcError {
    let error = error.with("executionId", id.to_string());
    // After one of these refusals no earlier attempt was accepted: claude-api would have answered
    // this attempt with the status.
    let is_certain = [
        ProblemType::QueueFull,
        ProblemType::IdInUse,
        ProblemType::Deleted,
        ProblemType::CancelledBeforeAccepted,
    ]
    .iter()
    .any(|kind| failure.problem(*kind).is_some());
    match (is_certain, is_unknown) {
        (true, _) => error,
        (false, true) => error.with("accepted", "unknown"),
        (false, false) => error.with("accepted", false),
    }
}
