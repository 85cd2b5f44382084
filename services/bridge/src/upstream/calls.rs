//! Short HTTP calls to claude-api: status, pause, resume, cancel, input, list and readiness
//! (docs/protocol.md, "Calls"). Each ends within a time limit. Calls for a client are retried
//! within it.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use protocol::message::{Accepted, Control};
use protocol::rpc::{RpcError, code};
use protocol::{ExecutionId, Page, Status};
use retries::Delays;
use tokio::time::{Instant, sleep, timeout_at};

use super::Upstream;
use super::errors::Failure;
use super::request::Request;
use super::response::{REPLY_BYTES, collect, failure, json};
use super::retry::delays;

/// How long claude-api's readiness page may take (2 s). The probes that request it through the
/// bridge wait only a few seconds.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the last part of the URL path with which claude-api pauses, resumes or cancels.
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
    /// Returns -32003 (`NO_SUCH_EXECUTION`) if claude-api does not know the execution, -32009
    /// (`ID_IN_USE`) if it has deleted it, or -32005 (`UNAVAILABLE`) if claude-api was not
    /// available within `callMs`.
    pub async fn status(&self, id: ExecutionId) -> Result<Status, RpcError> {
        let url = self.execution_url(id, "");
        self.call_json(|| self.get(&url)).await
    }

    /// Pauses, resumes or cancels an execution, and returns its status after that. Doing it twice
    /// has the same effect as once, so a broken attempt is retried within `callMs`.
    ///
    /// # Errors
    /// Returns an error as [`Self::status`] does, or -32008 (`WRONG_STATE`) if the state of the
    /// execution does not allow it.
    pub async fn control(&self, id: ExecutionId, control: Control) -> Result<Status, RpcError> {
        let url = self.execution_url(id, path_of(control));
        self.call_json(|| self.post(&url)).await
    }

    /// Sends lines to the stdin of an execution's CLI. Returns how many bytes of input claude-api
    /// has accepted in total. `offset` is the position of `data` in the whole input, in bytes. It
    /// makes a repeated call harmless, so a broken attempt is retried within `callMs`. `eof` closes
    /// stdin after the lines.
    ///
    /// # Errors
    /// Returns an error as [`Self::status`] does. Returns -32008 (`WRONG_STATE`) if the execution
    /// accepts no input now, -32002 (`NOT_ALLOWED`) if a line is not allowed, and -32602
    /// (`INVALID_PARAMS`) if bytes before `offset` are missing or a line is malformed.
    pub async fn input(
        &self,
        id: ExecutionId,
        data: Bytes,
        offset: u64,
        eof: bool,
    ) -> Result<u64, RpcError> {
        let url = self.execution_url(id, &format!("/input?offset={offset}&eof={eof}"));
        let Accepted { accepted } = self
            .call_json(|| self.post(&url).body(data.clone()))
            .await?;
        Ok(accepted)
    }

    /// Returns a page of the statuses of all executions, newest first, and where the next page
    /// begins. `before` is the position that the previous page named; `None` requests the newest
    /// statuses. Without a `limit`, claude-api decides the length of the page. With a `workspace`,
    /// the page leaves out the executions of others.
    ///
    /// # Errors
    /// Returns -32003 (`NO_SUCH_EXECUTION`) if `before` is unknown, -32602 (`INVALID_PARAMS`) if
    /// `limit` is out of range, or -32005 (`UNAVAILABLE`) if claude-api was not available within
    /// `callMs`.
    pub async fn list(
        &self,
        limit: Option<u64>,
        before: Option<ExecutionId>,
        workspace: Option<&str>,
    ) -> Result<Page, RpcError> {
        let parameters = [
            ("limit", limit.map(|limit| limit.to_string())),
            ("before", before.map(|id| id.to_string())),
            ("workspace", workspace.map(str::to_owned)),
        ];
        let given = parameters
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(given)
            .finish();
        let url = format!("{}/v1/executions?{query}", self.base);
        self.call_json(|| self.get(&url)).await
    }

    /// Requests claude-api's readiness page once. Returns its HTTP status and its body, also if the
    /// status says that claude-api is not ready.
    ///
    /// # Errors
    /// Returns a failure if no answer arrives within 2 s.
    pub async fn ready(&self) -> Result<(u16, Bytes), Failure> {
        let url = format!("{}/health/ready", self.base);
        let get = async {
            let response = self.get(&url).send().await?;
            let status = response.status().as_u16();
            Ok((status, collect(response, REPLY_BYTES).await?))
        };
        match tokio::time::timeout(READY_TIMEOUT, get).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Broken("no answer in time".to_owned())),
        }
    }

    /// Sends a request until it succeeds or finally fails, as `attempts` does, and parses the JSON
    /// answer.
    async fn call_json<T: serde::de::DeserializeOwned>(
        &self,
        request: impl Fn() -> Request,
    ) -> Result<T, RpcError> {
        self.attempts(|| {
            let request = request();
            async move { json(request.send().await?).await }
        })
        .await
    }

    /// Opens a stream at `url` and closes it again. The answer shows whether claude-api allows the
    /// stream. claude-api counts the stream as a viewer.
    ///
    /// # Errors
    /// Returns the refusal of claude-api, or -32005 (`UNAVAILABLE`) if claude-api was not available
    /// within `callMs`.
    pub(super) async fn open_and_drop(&self, url: &str) -> Result<(), RpcError> {
        self.attempts(|| {
            let request = self.get(url);
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

    /// Calls `attempt` as [`Self::try_often`] does.
    ///
    /// # Errors
    /// Returns the JSON-RPC error for the last failure.
    pub(super) async fn attempts<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, RpcError> {
        let start = Instant::now();
        let mut delays = delays();
        let result = self.try_often(&mut delays, attempt).await;
        result.map_err(|failure| unavailable(&failure, delays.attempts(), start))
    }

    /// Calls `attempt` until it succeeds, fails in a way that a retry cannot change, or `callMs` is
    /// over. The pauses in between grow, as `delays` says.
    ///
    /// # Errors
    /// Returns the last failure.
    pub(super) async fn try_often<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        delays: &mut Delays,
        attempt: impl Fn() -> F,
    ) -> Result<T, Failure> {
        let end = Instant::now() + self.times.call;
        loop {
            let failure = match timeout_at(end, attempt()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Broken("no answer in time".to_owned()),
            };
            let delay = delays.next_delay(failure.retry_after());
            if !failure.is_transient() || Instant::now() + delay >= end {
                tracing::info!(
                    error = failure.logged(),
                    attempts = delays.attempts(),
                    "a call to claude-api failed and is not retried any more"
                );
                return Err(failure);
            }
            sleep(delay).await;
            self.retries.call.inc();
        }
    }
}

/// Turns the last failure of a retried call into the JSON-RPC error for the client. If claude-api
/// was unavailable, `data` has the number of `attempts` and the seconds since `start`.
pub(crate) fn unavailable(failure: &Failure, attempts: u32, start: Instant) -> RpcError {
    let error = failure.to_rpc();
    if error.code != code::UNAVAILABLE {
        return error;
    }
    let seconds = (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    error.with("attempts", attempts).with("seconds", seconds)
}
