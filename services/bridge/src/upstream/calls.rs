//! Short calls to claude-api: status, control, input, list, limits, readiness (docs/protocol.md,
//! "Calls"). Each is retried, if that is safe, and ends within its time limit.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use protocol::message::{Accepted, Control};
use protocol::rpc::{RpcError, code};
use protocol::{ExecutionId, Limits, Page, Status};
use tokio::time::{Instant, sleep, timeout_at};

use super::Upstream;
use super::errors::Failure;
use super::response::{ANSWER_BYTES, collect, failure, json};
use super::retry::Delays;

/// How long the readiness page may take. The probes that request it wait only a few seconds.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

fn path_of(control: Control) -> &'static str {
    match control {
        Control::Pause => "/pause",
        Control::Resume => "/resume",
        Control::Cancel => "/cancel",
    }
}

impl Upstream {
    /// Returns the current status of an execution. A broken attempt is retried within `callMs`.
    ///
    /// # Errors
    /// -32003 if there is no such execution, -32009 if it was deleted, or -32005 if claude-api was
    /// not available within `callMs`.
    pub async fn status(&self, id: ExecutionId) -> Result<Status, RpcError> {
        let url = self.execution_url(id, "");
        self.call_json(|| self.client.get(&url)).await
    }

    /// Pauses, resumes or cancels an execution, and returns its status. All three are idempotent,
    /// so a broken attempt is retried within `callMs`.
    ///
    /// # Errors
    /// As [`Self::status`], and -32008 if the execution is in the wrong state.
    pub async fn control(&self, id: ExecutionId, control: Control) -> Result<Status, RpcError> {
        let url = self.execution_url(id, path_of(control));
        self.call_json(|| self.client.post(&url)).await
    }

    /// Sends lines to a CLI's stdin, and returns how many bytes of input claude-api has accepted in
    /// total. The offset makes the call idempotent, so a broken attempt is retried within `callMs`.
    ///
    /// # Errors
    /// As [`Self::status`]. -32008 if the execution is in the wrong state, -32002 if a line is not
    /// allowed, and -32602 if bytes before `offset` are missing or a line is not valid.
    pub async fn input(
        &self,
        id: ExecutionId,
        data: Bytes,
        offset: u64,
        eof: bool,
    ) -> Result<u64, RpcError> {
        let url = self.execution_url(id, &format!("/input?offset={offset}&eof={eof}"));
        let Accepted { accepted } = self
            .call_json(|| self.client.post(&url).body(data.clone()))
            .await?;
        Ok(accepted)
    }

    /// Returns a page of the statuses of all executions, newest first, and where the next page
    /// begins.
    ///
    /// # Errors
    /// -32003 for an unknown `before`, -32602 for a wrong `limit`, or -32005 if claude-api was not
    /// available within `callMs`.
    pub async fn list(
        &self,
        limit: Option<u64>,
        before: Option<ExecutionId>,
    ) -> Result<Page, RpcError> {
        let mut query = Vec::new();
        query.extend(limit.map(|n| format!("limit={n}")));
        query.extend(before.map(|id| format!("before={id}")));
        let url = format!("{}/v1/executions?{}", self.base, query.join("&"));
        self.call_json(|| self.client.get(&url)).await
    }

    /// Requests claude-api's limits once, without retries.
    ///
    /// # Errors
    /// The failure of that attempt.
    pub async fn limits(&self) -> Result<Limits, Failure> {
        let url = format!("{}/v1/limits", self.base);
        let get = async { json(self.client.get(&url).send().await?).await };
        match tokio::time::timeout(self.times.call, get).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Broken("no answer in time".to_owned())),
        }
    }

    /// Requests claude-api's readiness page once, and returns its status code and body.
    ///
    /// # Errors
    /// There is no answer within 2 s.
    pub async fn ready(&self) -> Result<(u16, Bytes), Failure> {
        let url = format!("{}/health/ready", self.base);
        let get = async {
            let response = self.client.get(&url).send().await?;
            let status = response.status().as_u16();
            Ok((status, collect(response, ANSWER_BYTES).await?))
        };
        match tokio::time::timeout(READY_TIMEOUT, get).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Broken("no answer in time".to_owned())),
        }
    }

    async fn call_json<T: serde::de::DeserializeOwned>(
        &self,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> Result<T, RpcError> {
        self.attempts(|| {
            let request = request();
            async move { json(request.send().await?).await }
        })
        .await
    }

    /// Opens a stream at `url` and drops it. So the bridge learns whether claude-api grants the
    /// stream, and claude-api sees a viewer.
    ///
    /// # Errors
    /// The refusal of claude-api, or -32005 if it was not available within `callMs`.
    pub(super) async fn open_and_drop(&self, url: &str) -> Result<(), RpcError> {
        self.attempts(|| {
            let request = self.client.get(url);
            async move {
                let response = request.send().await?;
                if response.status().is_success() {
                    Ok(())
                } else {
                    Err(failure(response).await)
                }
            }
        })
        .await
    }

    /// Calls `attempt` until it succeeds, is refused, or `callMs` is over, with growing pauses in
    /// between.
    pub(super) async fn attempts<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, RpcError> {
        let start = Instant::now();
        let end = start + self.times.call;
        let mut delays = Delays::default();
        loop {
            let failure = match timeout_at(end, attempt()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Broken("no answer in time".to_owned()),
            };
            let delay = delays.next_delay(failure.retry_after());
            if !failure.is_transient() || Instant::now() + delay >= end {
                let attempts = delays.attempts();
                tracing::info!(
                    error = %failure,
                    attempts,
                    "a call to claude-api failed and is not retried any more"
                );
                return Err(unavailable(&failure, attempts, start));
            }
            sleep(delay).await;
            self.retries.call.inc();
        }
    }
}

/// Turns the failure of a call into the error for the client. If claude-api was unavailable, the
/// error has the number of `attempts` and the seconds since `start`.
pub(crate) fn unavailable(failure: &Failure, attempts: u32, start: Instant) -> RpcError {
    let error = failure.to_rpc();
    if error.code != code::UNAVAILABLE {
        return error;
    }
    let seconds = (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    error.with("attempts", attempts).with("seconds", seconds)
}
