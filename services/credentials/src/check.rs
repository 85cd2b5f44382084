//! The check of the credential by a request of the service itself. Its answer alone decides whether
//! the credential is refused, because a command of the model can cause any answer to its own
//! requests.
//!
//! - A check follows at once when the API refuses a request of an execution with 401 or 403.
//! - A check is made while nothing runs, so that a revoked credential is known before the next
//!   execution fails.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grants::{Answer, Endpoint, Usage};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::forward::Forwarder;
use crate::request::headers::{Added, forwarded};
use crate::upstream::body::RequestBody;
use crate::upstream::pool::Owner;
use crate::usage::facts::FactReader;
use crate::usage::limits::resets_at_ms;

/// The path and query of the check. Such a request costs nothing.
const PATH: &str = "/v1/models?limit=1";
/// The pause between two checks. So a command of the model cannot cause a flood of them.
const PAUSE: Duration = Duration::from_secs(10);
/// The time for the whole check.
const CHECK_TIME: Duration = Duration::from_secs(30);
/// The maximum number of bytes of the answer that are read.
const ANSWER_BYTES: usize = 64 * 1024;

/// Checks the credential after each refusal of an execution's request, and whenever no request has
/// succeeded for `period`; `None` turns the latter off. Two checks have a pause of 10 s between
/// them. Runs until the future is dropped.
pub async fn run(forwarder: Arc<Forwarder>, period: Option<Duration>) {
    let reports = &forwarder.ledger.reports;
    let (mut accepted, mut doubted) = (reports.accepted(), reports.doubted());
    let mut last_check = None;
    loop {
        let period_ends = async {
            match period {
                Some(period) => sleep(period).await,
                None => pending().await,
            }
        };
        tokio::select! {
            // A success restarts the period. The sender lives as long as the forwarder.
            Ok(()) = accepted.changed() => continue,
            Ok(()) = doubted.changed() => {
                if let Some(last_check) = last_check {
                    sleep_until(last_check + PAUSE).await;
                }
            }
            () = period_ends => {}
        }
        last_check = Some(tokio::time::Instant::now());
        // A refusal during the check causes another one.
        doubted.borrow_and_update();
        if let Some(answer) = check(&forwarder).await {
            reports.push(answer);
        }
    }
}

/// Makes one check. `None` if there is no credential to check, or if it was replaced meanwhile.
async fn check(forwarder: &Forwarder) -> Option<Answer> {
    let credential = forwarder.secrets.credential().ok()?;
    let origin = forwarder.upstream.origin();
    let mut headers = HeaderMap::new();
    headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    headers.insert("accept", HeaderValue::from_static("application/json"));
    let added = Added {
        host: &origin.host_header(),
        credential: credential.header(),
        beta: credential.beta(),
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
    (forwarder.secrets.state() == credential.state()).then_some(answer)
}

/// Sends the request, and fills in `answer` as the parts of the response arrive.
async fn ask(forwarder: &Forwarder, request: Request<RequestBody>, answer: &mut Answer) {
    let started = Instant::now();
    // The connection is not used again.
    let owner = Owner {
        execution_id: String::new(),
        ended: CancellationToken::new(),
    };
    let (response, _lease) = match forwarder.upstream.send(request, &owner).await {
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
    }
}
