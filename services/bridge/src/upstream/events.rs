//! Reads the events (the CLI's stdout) that an execution has now, from an offset and up to a limit.

use std::str::FromStr;

use bytes::Bytes;
use protocol::rpc::RpcError;
use protocol::{ExecutionId, trailers};

use super::Upstream;
use super::errors::Failure;
use super::response::failure;

/// A part of the events of one execution, that is, of its CLI's stdout.
#[derive(Debug)]
pub struct KeptEvents {
    /// The offset of the first byte, in bytes of stdout.
    pub offset: u64,
    /// The bytes of stdout from `offset` on, at most as many as requested.
    pub bytes: Bytes,
    /// Whether claude-api had no more bytes after these.
    pub is_all: bool,
    /// Whether the CLI will write no more events.
    pub ended: bool,
}

impl Upstream {
    /// Reads at most `limit` bytes of an execution's events (its CLI's stdout) from `offset`, or
    /// from the oldest byte that claude-api has. A broken attempt is retried within `callMs`.
    ///
    /// # Errors
    /// -32602 `offset_beyond_end`, -32007 if the events at `offset` are gone, or as
    /// [`Self::status`].
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
            let request = self.client.get(&url);
            async move { read_events(request.send().await?, limit).await }
        })
        .await
    }
}

/// Reads the body of an answer, but at most `limit` bytes of events.
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

fn header<T: FromStr>(response: &reqwest::Response, name: &str) -> Result<T, Failure> {
    let value = response.headers().get(name);
    let value = value.and_then(|value| value.to_str().ok()?.parse().ok());
    value.ok_or_else(|| {
        Failure::Broken(format!(
            "the header {name} of the events is missing or wrong"
        ))
    })
}
