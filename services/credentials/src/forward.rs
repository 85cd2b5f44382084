//! The forwarding of one request to the API, and of its answer back. Both are forwarded piece by
//! piece as they arrive, without a limit for the total time.
//!
//! - [`request_body`] checks a body while it passes.
//! - [`answer`] reads the cost of an answer while it passes, and cuts it when the grant is revoked.
//! - [`upload`] is the progress of a body.
//! - [`record`] charges and reports a request to claude-api.

pub mod answer;
pub mod record;
pub mod request_body;
pub mod upload;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use grants::Endpoint;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;

use crate::request::body::{BodyCheck, Field};
use crate::request::headers::{Added, answered, forwarded};
use crate::request::refusal::Refusal;
use crate::secret::{Credential, Secrets};
use crate::table::OpenRequest;
use crate::upstream::Upstream;
use crate::upstream::body::RequestBody;
use crate::upstream::pool::Owner;
use crate::usage::facts::Facts;
use answer::{AnswerBody, AnswerError};
use record::{Ledger, Record};
use request_body::CheckedBody;
use upload::Upload;

/// The body of an answer to a client.
pub type ResponseBody = UnsyncBoxBody<Bytes, AnswerError>;

/// The forwarder of requests to the API, which all requests share.
#[derive(Debug)]
pub struct Forwarder {
    /// The API.
    pub upstream: Upstream,
    /// The credential.
    pub secrets: Secrets,
    /// The operator's own headers.
    pub custom: HeaderMap,
    /// The members that bodies may have although they reach beyond one request.
    pub allowed: BTreeSet<Field>,
    /// The price list and the reports to claude-api.
    pub ledger: Arc<Ledger>,
}

/// A request that may be forwarded.
#[derive(Debug)]
pub struct Admitted {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Whether the request has a body.
    pub has_body: bool,
    /// The path and the query.
    pub path: String,
    /// The guard by which the grant counts this open request.
    pub open: OpenRequest,
}

impl Forwarder {
    /// Forwards a request, and returns the answer for the client. Dropping the future or the answer
    /// ends the request to the API.
    pub async fn forward(
        self: Arc<Self>,
        admitted: Admitted,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        match self.answer(admitted, request).await {
            Ok(response) => response,
            Err(refusal) => {
                tracing::debug!(%refusal, "refused a request of the sandbox");
                refused(&refusal)
            }
        }
    }

    async fn answer(
        self: Arc<Self>,
        admitted: Admitted,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let Admitted {
            endpoint,
            has_body,
            path,
            open,
        } = admitted;
        let credential = self.secrets.credential().map_err(|_| {
            Refusal::unavailable(
                "credentials has no usable credential; see its log and claude-api's",
            )
        })?;
        let upload = Upload::default();
        let (parts, body) = request.into_parts();
        let body: RequestBody = if has_body {
            let check = BodyCheck::new(&self.allowed);
            CheckedBody::new(body, check, upload.clone()).boxed_unsync()
        } else {
            upload.finish(None, false);
            Empty::new().map_err(|never| match never {}).boxed_unsync()
        };
        let is_head = parts.method == Method::HEAD;
        let request = self.outgoing(parts.method, &path, &parts.headers, &credential, body)?;
        let owner = Owner {
            execution_id: open.execution_id().to_owned(),
            ended: open.cut().clone(),
        };
        let ledger = Arc::clone(&self.ledger);
        let mut record = Record::new(ledger, open, endpoint, upload.clone());
        let mut sending = std::pin::pin!(self.upstream.send(request, &owner));
        let mut is_counted = false;
        let sent = loop {
            tokio::select! {
                biased;
                () = owner.ended.cancelled() => return Err(Refusal::unauthorized()),
                sent = &mut sending => break sent,
                () = upload.whole(), if !is_counted => {
                    is_counted = true;
                    record.count(Facts::default());
                }
            }
        };
        let (response, lease) = match sent {
            Ok(answer) => answer,
            Err(error) => {
                if let Some(refusal) = upload.failure() {
                    return Err(refusal);
                }
                record.fail();
                tracing::warn!(%error, "could not get an answer from the API");
                return Err(Refusal::bad_gateway(format!("cc-bridge: {error}")));
            }
        };
        let (parts, body) = response.into_parts();
        record.head(parts.status, &parts.headers);
        check_answer(parts.status, &parts.headers, endpoint)?;
        let body = AnswerBody::new(body, &parts.headers, is_head, record, lease);
        let mut response = Response::new(body.boxed_unsync());
        *response.status_mut() = parts.status;
        let secret = credential.expose().as_bytes();
        *response.headers_mut() = answered(&parts.headers, secret, &self.custom);
        Ok(response)
    }

    /// Creates the request to the API.
    fn outgoing(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        credential: &Credential,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, Refusal> {
        let origin = self.upstream.origin();
        let has_body = method == Method::POST;
        let added = Added {
            host: &origin.host_header(),
            credential: credential.header(),
            beta: credential.beta(),
            custom: &self.custom,
        };
        let headers = forwarded(headers, added, has_body);
        let request = Request::builder().method(method).uri(origin.target(path));
        let mut request = request
            .body(body)
            .map_err(|error| Refusal::bad_gateway(format!("cc-bridge: {error}")))?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Checks that an answer can be forwarded.
fn check_answer(
    status: StatusCode,
    headers: &HeaderMap,
    endpoint: Endpoint,
) -> Result<(), Refusal> {
    if status.is_informational() || status.is_redirection() {
        let code = status.as_u16();
        return Err(Refusal::bad_gateway(format!(
            "cc-bridge: the API answered {code}; redirects are not followed; check \
             ANTHROPIC_BASE_URL"
        )));
    }
    let is_encoded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if is_encoded && status.is_success() && endpoint == Endpoint::Messages {
        return Err(Refusal::bad_gateway(
            "cc-bridge: the API compressed its answer, against the request, so its cost is \
             unknown",
        ));
    }
    Ok(())
}

/// Converts a refusal to the answer for the client.
#[must_use]
pub fn refused(refusal: &Refusal) -> Response<ResponseBody> {
    let body = Full::from(refusal.body());
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = refusal.status;
    for (name, value) in refusal.headers() {
        let value = http::HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}
