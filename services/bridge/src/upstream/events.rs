//! Reads the events of an execution, which are the lines that its CLI has written to stdout. Reads
//! a part from an offset up to a limit, and does not wait for later events.

use std::str::FromStr;

use bytes::Bytes;
use protocol::rpc::RpcError;
use protocol::{ExecutionId, trailers};

use super::Upstream;
use super::errors::Failure;
use super::response::failure;

/// A part of the events of one execution, that is, of the stdout of its CLI.
#[derive(Debug)]
pub struct KeptEvents {
    /// The offset of the first byte in the whole stdout, in bytes.
    pub offset: u64,
    /// The bytes of stdout from `offset` on, at most as many as requested.
    pub bytes: Bytes,
    /// Whether claude-api had no further bytes after these. If false, the next part begins after
    /// them.
    pub is_all: bool,
    /// Whether the CLI has finished writing, so that no further events will follow.
    pub ended: bool,
}

impl Upstream {
    /// Returns at most `limit` bytes of an execution's events, which are the stdout of its CLI.
    /// They begin at `offset`, or without an offset at the oldest byte that claude-api has. A
    /// broken attempt is retried within `callMs`.
    ///
    /// # Errors
    /// Returns -32602 (`INVALID_PARAMS`, reason `offset_beyond_end`) if the events at `offset` do
    /// not exist yet, -32007 (`OFFSET_NOT_KEPT`) if claude-api has deleted them, or an error as
    /// [`Self::status`] does.
    pub async fn events(
        &self,
        id: ExecutionId,
        offset: Option<u64>,
        limit: usize,
    ) -> Result<KeptEvents, RpcError> {
        let mut query = "?follow=false".to_owned();
        if let Some(offset) = offset {
            query += &format!("&offset={offset}");
        }
        let url = self.execution_url(id, &format!("/events{query}"));
        self.attempts(|| {
            let request = self.get(&url);
            async move { read_events(request.send().await?, limit).await }
        })
        .await
    }
}

/// Reads at most `limit` bytes of events from an HTTP answer, and drops the rest of its body.
///
/// # Errors
/// Returns the failure if the status is not a success, the connection breaks, or a header about the
/// events is missing or malformed.
async fn read_events(mut response: reqwest::Response, limit: usize) -> Result<KeptEvents, Failure> {
    if !response.status().is_success() {
        return Err(failure(response).await);
    }
    let offset: u64 = header(&response, trailers::EVENTS_OFFSET)?;
    let length: u64 = header(&response, trailers::EVENTS_LENGTH)?;
    let ended = header(&response, trailers::EVENTS_ENDED)?;
    let mut bytes = Vec::new();
    while bytes.len() < limit
        && let Some(chunk) = response.chunk().await?
    {
        let room = chunk.len().min(limit - bytes.len());
        bytes.extend_from_slice(&chunk[..room]);
    }
    Ok(KeptEvents {
        offset,
        is_all: offset + bytes.len() as u64 == length,
        bytes: bytes.into(),
        ended,
    })
}

/// Returns the value of an HTTP header of the answer, parsed as a `T`.
///
/// # Errors
/// Returns an error, which counts as a broken answer, if the header is missing or malformed.
fn header<T: FromStr>(response: &reqwest::Response, name: &str) -> Result<T, Failure> {
    let value = response.headers().get(name);
    let value = value.and_then(|value| value.to_str().ok()?.parse().ok());
    value.ok_or_else(|| {
        Failure::Broken(format!(
            "the header {name} of the events is missing or wrong"
        ))
    })
}
