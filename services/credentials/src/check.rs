//! The check of the credential while nothing runs, so that a revoked credential is known before the
//! next execution fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use grants::{Answer, CredentialKind, Endpoint, Usage};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use tokio::time::timeout;

use crate::forward::Forwarder;
use crate::request::headers::{Added, forwarded};
use crate::upstream::body::RequestBody;
use crate::usage::facts::FactReader;
use crate::usage::limits::resets_at_ms;

/// The path and query of the check. Such a request costs nothing.
const PATH: &str = "/v1/models?limit=1";
/// The time for the whole check.
const CHECK_TIME: Duration = Duration::from_secs(30);
/// The maximum number of bytes of the answer that are read.
const ANSWER_BYTES: usize = 64 * 1024;

/// Checks the credential whenever the API has sent no answer for `period`. Runs until the future is
/// dropped.
pub async fn run(forwarder: Arc<Forwarder>, period: Duration) {
    let mut answers = forwarder.ledger.reports.answers();
    loop {
        // A new answer restarts the period.
        match timeout(period, answers.changed()).await {
            Ok(Ok(())) => {}
            // The sender lives as long as the forwarder.
            Ok(Err(_)) => return,
            Err(_) => {
                if let Some(answer) = check(&forwarder).await {
                    forwarder.ledger.reports.push(answer);
                }
            }
        }
    }
}

/// Makes one check. `None` if there is no credential to check.
async fn check(forwarder: &Forwarder) -> Option<Answer> {
    let credential = forwarder.secrets.credential().ok()?;
    let origin = forwarder.upstream.origin();
    let mut headers = HeaderMap::new();
    headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    headers.insert("accept", HeaderValue::from_static("application/json"));
    if credential.kind() == CredentialKind::OauthToken {
        // The API accepts such a token only with this beta header.
        headers.insert(
            "anthropic-beta",
            HeaderValue::from_static("oauth-2025-04-20"),
        );
    }
    let added = Added {
        host: &origin.host_header(),
        credential: credential.header(),
        custom: &forwarder.custom,
    };
    let body: RequestBody = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let mut request = Request::new(body);
    *request.method_mut() = Method::GET;
    *request.uri_mut() = origin.target(PATH).parse().ok()?;
    *request.headers_mut() = forwarded(&headers, added, false);
    let mut answer = Answer {
        execution_id: None,
        endpoint: Endpoint::Models,
        status: None,
        error_type: None,
        complete: false,
        first_byte_ms: None,
        resets_at_ms: None,
        usage: Usage::default(),
        cost_usd: 0.0,
        total_cost_usd: 0.0,
    };
    // After a timeout, `answer` keeps what has arrived so far.
    let _ = timeout(CHECK_TIME, ask(forwarder, request, &mut answer)).await;
    tracing::debug!(status = answer.status, "checked the credential");
    Some(answer)
}

/// Sends the request, and fills in `answer` as the parts of the response arrive.
async fn ask(forwarder: &Forwarder, request: Request<RequestBody>, answer: &mut Answer) {
    let started = Instant::now();
    let (response, lease) = match forwarder.upstream.send(request).await {
        Ok(sent) => sent,
        Err(error) => {
            tracing::warn!(%error, "could not check the credential");
            return;
        }
    };
    let status: StatusCode = response.status();
    answer.status = Some(status.as_u16());
    answer.first_byte_ms = u64::try_from(started.elapsed().as_millis()).ok();
    answer.resets_at_ms = resets_at_ms(status, response.headers(), std::time::SystemTime::now());
    let body = Limited::new(response.into_body(), ANSWER_BYTES);
    if let Ok(body) = body.collect().await {
        let mut reader = FactReader::default();
        reader.push(&body.to_bytes());
        answer.error_type = reader.facts().error_type;
        answer.complete = true;
        lease.release();
    }
}
