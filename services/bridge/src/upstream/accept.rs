//! Handing an execute over: the same PUT again and again, under one id, until claude-api has durably
//! accepted it, says no, or the time is over.

use std::time::Duration;

use bytes::Bytes;
use protocol::rpc::{RpcError, code};
use protocol::{ExecutionId, ProblemType, Status};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Upstream;
use super::call::{Verb, json, unavailable};
use super::errors::Failure;
use super::retry::Delays;

/// How long an attempt under way may go on after a cancel.
const STOP_GRACE: Duration = Duration::from_secs(1);

impl Upstream {
    /// PUTs until accepted. `stop` ends the retrying; if one of the attempts may have been accepted a cancel
    /// follows under the same id.
    ///
    /// # Errors
    /// With `executionId` in `data`; where claude-api was not available, `accepted` is false or `"unknown"`.
    pub async fn accept(
        &self,
        id: ExecutionId,
        body: Bytes,
        stop: &CancellationToken,
    ) -> Result<Status, RpcError> {
        let start = Instant::now();
        let end = start + self.times.accept;
        let mut delays = Delays::default();
        let mut unknown = false;
        if stop.is_cancelled() {
            return Err(stopped(id));
        }
        loop {
            let late = async {
                stop.cancelled().await;
                sleep(STOP_GRACE).await;
            };
            let failure = tokio::select! {
                answer = self.put(id, body.clone()) => match answer {
                    Ok(status) => return Ok(status),
                    Err(failure) => failure,
                },
                () = late => Failure::Broken("no answer when it was cancelled".to_owned()),
            };
            unknown |= failure.may_have_acted();
            let wait = delays
                .after(failure.retry_after())
                .max(failure.retry_after().unwrap_or_default());
            tracing::info!(execution = %id, error = %failure, attempts = delays.attempts(), "execute not accepted");
            if !failure.is_transient() || Instant::now() + wait >= end {
                return Err(refused(id, &failure, delays.attempts(), start, unknown));
            }
            tokio::select! {
                () = stop.cancelled() => {
                    return if unknown { self.cancel_unknown(id).await } else { Err(stopped(id)) };
                }
                () = sleep(wait) => {}
            }
        }
    }

    async fn put(&self, id: ExecutionId, body: Bytes) -> Result<Status, Failure> {
        let attempt = async {
            let response = self
                .client
                .put(self.execution_url(id, ""))
                .header(http::header::ACCEPT, "application/json")
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(body)
                .send()
                .await?;
            json(response).await
        };
        match timeout(self.times.attempt, attempt).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Broken("no answer in time".to_owned())),
        }
    }

    /// Cancels what may have been accepted. If it was, its status is the execute's answer.
    async fn cancel_unknown(&self, id: ExecutionId) -> Result<Status, RpcError> {
        let end = Instant::now() + self.times.accept;
        loop {
            match self.control(id, Verb::Cancel).await {
                Ok(status) => return Ok(status),
                Err(error) if error.code == code::UNAVAILABLE && Instant::now() < end => {}
                Err(error) if error.code == code::UNAVAILABLE => {
                    return Err(error
                        .with("executionId", id.to_string())
                        .with("accepted", "unknown"));
                }
                Err(_) => return Err(stopped(id)),
            }
        }
    }
}

/// The execute was cancelled before claude-api had it.
fn stopped(id: ExecutionId) -> RpcError {
    RpcError::new(
        code::UNAVAILABLE,
        "cancelled",
        "cancelled before claude-api accepted it",
    )
    .with("executionId", id.to_string())
    .with("accepted", false)
}

fn refused(
    id: ExecutionId,
    failure: &Failure,
    attempts: u32,
    start: Instant,
    unknown: bool,
) -> RpcError {
    let error = unavailable(failure, attempts, start).with("executionId", id.to_string());
    // A clear refusal of the id or of a full queue says what earlier attempts came to: an accepted one would
    // have been answered with its status.
    let certain = [
        ProblemType::QueueFull,
        ProblemType::IdInUse,
        ProblemType::Deleted,
    ]
    .iter()
    .any(|kind| failure.problem(*kind).is_some());
    if certain {
        return error;
    }
    let accepted = if unknown {
        Value::from("unknown")
    } else {
        Value::from(false)
    };
    error.with("accepted", accepted)
}
