//! The short calls: control, status, list, limits, readiness. Each ends within its time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::rpc::{RpcError, code};
use protocol::trailers::VIEWER;
use protocol::{Burned, ExecutionId, Limits, Page, Status};
use tokio::time::{Instant, sleep, timeout_at};

use super::Upstream;
use super::errors::{Failure, failure};
use super::retry::Delays;

/// The longest answer that is read, in bytes: a list of 1000 statuses of 64 KiB.
const ANSWER_BYTES: usize = 72 * 1024 * 1024;
/// A readiness page is asked for by probes that wait a few seconds themselves.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// What is done to a process tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// Stop all of it.
    Pause,
    /// Let it go on.
    Resume,
    /// End it.
    Cancel,
}

impl Verb {
    fn path(self) -> &'static str {
        match self {
            Self::Pause => "/pause",
            Self::Resume => "/resume",
            Self::Cancel => "/cancel",
        }
    }
}

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

/// The whole body, unless it is longer than `limit`.
pub(crate) async fn collect(
    mut response: reqwest::Response,
    limit: usize,
) -> Result<Bytes, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(Failure::Broken(format!(
                "an answer of more than {limit} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// Reads a JSON answer.
pub(crate) async fn json<T: serde::de::DeserializeOwned>(
    response: reqwest::Response,
) -> Result<T, Failure> {
    parse(&success(response).await?)
}

async fn success(response: reqwest::Response) -> Result<Bytes, Failure> {
    if !response.status().is_success() {
        return Err(failure(response).await);
    }
    collect(response, ANSWER_BYTES).await
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|e| Failure::Broken(format!("an answer that is not as the contract says: {e}")))
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
    /// The status now.
    ///
    /// # Errors
    /// As the contract says: -32003, -32009 (deleted), -32005 after the call's time.
    pub async fn status(&self, id: ExecutionId) -> Result<Status, RpcError> {
        let url = self.execution_url(id, "");
        self.call(|| self.client.get(&url)).await
    }

    /// Pause, resume or cancel; all may be repeated, so a broken attempt is tried again within the call's time.
    ///
    /// # Errors
    /// As [`Self::status`], and -32008.
    pub async fn control(&self, id: ExecutionId, verb: Verb) -> Result<Status, RpcError> {
        let url = self.execution_url(id, verb.path());
        self.call(|| self.client.post(&url)).await
    }

    /// Cancels a PUT that was given up: an id that is not known is never accepted from then on. A
    /// broken attempt is tried again within the call's time.
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

    /// One attempt to cancel.
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
        self.attempts(|| {
            let request = self.client.get(&url);
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

    /// Lines for a CLI's stdin: idempotent by offset, so a broken attempt is tried again within the call's time. The accepted
    /// total.
    ///
    /// # Errors
    /// As [`Self::status`], -32008, -32002, and -32602 for a hole or a line that may not reach the CLI.
    pub async fn input(
        &self,
        id: ExecutionId,
        data: Bytes,
        offset: u64,
        eof: bool,
    ) -> Result<u64, RpcError> {
        #[derive(serde::Deserialize)]
        struct Accepted {
            accepted: u64,
        }
        let url = self.execution_url(id, &format!("/input?offset={offset}&eof={eof}"));
        let taken: Accepted = self
            .call(|| self.client.post(&url).body(data.clone()))
            .await?;
        Ok(taken.accepted)
    }

    /// Newest first.
    ///
    /// # Errors
    /// -32003 for an unknown `before`, -32602 for a wrong limit, -32005 after the call's time.
    pub async fn list(
        &self,
        limit: Option<u64>,
        before: Option<ExecutionId>,
    ) -> Result<Page, RpcError> {
        let mut query = Vec::new();
        query.extend(limit.map(|n| format!("limit={n}")));
        query.extend(before.map(|id| format!("before={id}")));
        let url = format!("{}/v1/executions?{}", self.base, query.join("&"));
        self.call(|| self.client.get(&url)).await
    }

    /// Whether `offset` lies within the output: asks for the stream and drops it.
    ///
    /// # Errors
    /// -32602 `offset_beyond_end`, -32007, or as [`Self::status`].
    pub async fn probe_offset(&self, id: ExecutionId, offset: u64) -> Result<(), RpcError> {
        let url = self.execution_url(id, &format!("/output?offset={offset}"));
        self.attempts(|| {
            let request = self.client.get(&url);
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

    /// claude-api's limits; one attempt.
    ///
    /// # Errors
    /// Whatever happened.
    pub async fn limits(&self) -> Result<Limits, Failure> {
        let url = format!("{}/v1/limits", self.base);
        let get = async { json(self.client.get(&url).send().await?).await };
        match tokio::time::timeout(self.times.call, get).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Broken("no answer in time".to_owned())),
        }
    }

    /// claude-api's readiness page: its status code and body.
    ///
    /// # Errors
    /// When it gives none within 2 s.
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

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> Result<T, RpcError> {
        self.attempts(|| {
            let request = request();
            async move { json(request.send().await?).await }
        })
        .await
    }

    /// Tries until it goes well, is refused, or the call's time is over.
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
            let delay = delays.after(failure.retry_after());
            if !failure.is_transient() || Instant::now() + delay >= end {
                tracing::info!(error = %failure, attempts = delays.attempts(), "a call to claude-api failed");
                return Err(unavailable(&failure, delays.attempts(), start));
            }
            sleep(delay).await;
            self.retries.call.inc();
        }
    }
}

/// The error for the client; an unavailable claude-api is told with what was tried.
pub(crate) fn unavailable(failure: &Failure, attempts: u32, start: Instant) -> RpcError {
    let error = failure.to_rpc();
    if error.code != code::UNAVAILABLE {
        return error;
    }
    let seconds = (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    error.with("attempts", attempts).with("seconds", seconds)
}
