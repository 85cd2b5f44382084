//! Reads the HTTP answers of claude-api: bodies up to a limit, JSON, and the failure that an error
//! status means.

use bytes::Bytes;
use protocol::Problem;
use protocol::problem::CONTENT_TYPE;

use super::errors::Failure;
use super::retry::retry_after;

/// The longest HTTP answer that is read (72 MiB). It is more than a list of 1000 statuses of 64 KiB
/// each.
pub(super) const REPLY_BYTES: usize = 72 * 1024 * 1024;
/// The longest body of a refusal that is read (256 KiB). A problem object is much shorter.
const PROBLEM_BYTES: usize = 256 * 1024;

/// Reads the whole body of an HTTP answer into memory.
///
/// # Errors
/// Returns an error if the connection breaks, or if the body has more than `limit` bytes.
pub(super) async fn collect(
    mut response: reqwest::Response,
    limit: usize,
) -> Result<Bytes, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(Failure::Broken(format!(
                "the answer has more than {limit} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// Reads a value of type `T` from the JSON body of an HTTP answer.
///
/// # Errors
/// Returns an error as [`success`] does, or if the body is not the JSON of a `T`.
pub(super) async fn json<T: serde::de::DeserializeOwned>(
    response: reqwest::Response,
) -> Result<T, Failure> {
    json_within(response, REPLY_BYTES).await
}

/// Reads a value of type `T` from the JSON body of an HTTP answer of at most `limit` bytes.
///
/// # Errors
/// Returns an error as [`json`] does, or if the body is longer.
pub(super) async fn json_within<T: serde::de::DeserializeOwned>(
    response: reqwest::Response,
    limit: usize,
) -> Result<T, Failure> {
    parse(&success_within(response, limit).await?)
}

/// Returns the body of an HTTP answer with a success status (2xx).
///
/// # Errors
/// Returns an error if the status is not a success, the connection breaks, or the body has more
/// than 72 MiB.
pub(super) async fn success(response: reqwest::Response) -> Result<Bytes, Failure> {
    success_within(response, REPLY_BYTES).await
}

/// Returns the body of an HTTP answer with a success status (2xx), of at most `limit` bytes.
async fn success_within(response: reqwest::Response, limit: usize) -> Result<Bytes, Failure> {
    if !response.status().is_success() {
        return Err(failure(response).await);
    }
    collect(response, limit).await
}

/// Parses the JSON body of an HTTP answer as a value of type `T`.
///
/// # Errors
/// Returns an error, which counts as a broken answer, if the body is not the JSON of a `T`.
pub(super) fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|e| Failure::Broken(format!("the answer is not the expected JSON: {e}")))
}

/// Returns what an HTTP answer with an error status means. A problem object is a refusal of
/// claude-api. Any other body was sent by another program, such as a proxy.
pub(super) async fn failure(response: reqwest::Response) -> Failure {
    let status = response.status().as_u16();
    let pause = retry_after(response.headers());
    let is_problem = response
        .headers()
        .get(http::header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.starts_with(CONTENT_TYPE));
    if is_problem
        && let Ok(body) = collect(response, PROBLEM_BYTES).await
        && let Ok(problem) = serde_json::from_slice::<Problem>(&body)
    {
        return Failure::Refused(Box::new(problem), pause);
    }
    Failure::Foreign(status, pause)
}
