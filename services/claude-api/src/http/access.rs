//! The check of the token of every request, and the calls about tokens: who the client is, tickets
//! and shares (docs/protocol.md, "Access").

mod arrival;
mod until_revoked;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use protocol::access::{Redeem, Redeemed, ShareRequest, TicketRequest};
use protocol::guard::reads_health;
use protocol::{Problem, ProblemType, Secret};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use arrival::Arrival;

use super::boxed::Peer;
use super::description;
use super::output::is_stream;
use super::query::{Id, NoQuery};
use super::reply::{App, Reply, json, json_response};
use crate::access::session_tokens::NewSession;
use crate::access::{Caller, Right};
use crate::service::{NoCaller, Service};

/// The path of the call that uses up a ticket. It needs no token, because the ticket is one.
pub(super) const REDEEM_PATH: &str = "/v1/tickets/redeem";

/// The path of the calls that renew and end a session token. They have its renewal secret in place
/// of a token.
pub(super) const SESSION_PATH: &str = "/v1/tickets/session";

/// The paths that a token of the role `metrics` opens. A bridge asks `/v1/me` before it shows its
/// own metrics.
const METRICS_PATHS: [&str; 2] = ["/metrics", "/v1/me"];

/// The longest body of the calls of this module, in bytes.
const BODY_BYTES: usize = 4096;
/// The shortest time from the last byte of a request until its client gets 404, 409, or 401 for its
/// token (3 ms). The lookup of an execution of somebody else takes less, but may take another time
/// than that of an unknown id. With this delay, the time does not tell which of the two it was.
const NOT_FOUND_AFTER: Duration = Duration::from_millis(3);

/// Middleware that determines the client of a request before the request is handled. The handlers
/// get the [`Caller`] as an extension. Health pages, the OpenAPI document, the redemption of a
/// ticket, and the renewal and the end of a session token need no token.
///
/// Answers 401 `unauthorized` without a valid token, and 429 `too-many-attempts` after too many
/// wrong ones from one address. Answers 403 `forbidden` if the token has the role `metrics` and the
/// path is another one. A stream ends when its client's token or share ends.
pub(super) async fn check(State(service): App, request: Request, next: Next) -> Response {
    if reads_health(request.method(), request.uri()) {
        return next.run(request).await;
    }
    if is_public(request.method(), request.uri().path()) {
        return next.run(request).await;
    }
    let (arrival, mut request) = Arrival::watch(request);
    let peer = request.extensions().get::<Peer>().copied();
    let caller = match authenticate(&service, request.headers(), peer).await {
        Ok(caller) => caller,
        Err(problem) => {
            // The check of a made-up share reads the files of the execution that it names.
            tokio::time::sleep_until(arrival.time() + NOT_FOUND_AFTER).await;
            return Reply(problem).into_response();
        }
    };
    if caller.has_only_metrics() && !METRICS_PATHS.contains(&request.uri().path()) {
        let detail = "this token reads /metrics and nothing else; use another token";
        let mut refused = Reply(Problem::new(ProblemType::Forbidden, detail)).into_response();
        refused.extensions_mut().insert(caller);
        return refused;
    }
    request.extensions_mut().insert(caller.clone());
    let mut response = next.run(request).await;
    let may_tell = [StatusCode::NOT_FOUND, StatusCode::CONFLICT].contains(&response.status());
    if may_tell && !caller.sees_all() {
        tokio::time::sleep_until(arrival.time() + NOT_FOUND_AFTER).await;
    }
    // For the audit log.
    response.extensions_mut().insert(caller.clone());
    if is_stream(&response) && caller.subject().is_some() {
        return until_revoked::end(response, service, caller);
    }
    response
}

/// Returns whether a request needs no token. It is checked like all others otherwise: its `Host`,
/// its `Origin`, and whether it comes from the box.
fn is_public(method: &Method, path: &str) -> bool {
    match path {
        REDEEM_PATH => *method == Method::POST,
        SESSION_PATH => matches!(*method, Method::PUT | Method::DELETE),
        description::PATH => matches!(*method, Method::GET | Method::HEAD),
        _ => false,
    }
}

/// Determines the client of a request.
///
/// # Errors
/// 401 `unauthorized` without a valid token; 429 `too-many-attempts` after too many wrong ones.
async fn authenticate(
    service: &Arc<Service>,
    headers: &HeaderMap,
    peer: Option<Peer>,
) -> Result<Caller, Problem> {
    let secret = bearer(headers);
    match service.authenticate(secret.as_ref()).await {
        Ok(caller) => Ok(caller),
        Err(NoCaller::Missing) => Err(NoCaller::Missing.problem()),
        Err(NoCaller::Wrong) => Err(failure(service, peer)),
    }
}

/// Returns the secret in the header `Authorization: Bearer`. `None` if the header is missing,
/// repeated, or of another form.
fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    secret.trim().parse().ok()
}

/// Counts a wrong token, and returns the problem for the client. Nothing is counted for a peer that
/// is exempt from the limit, or if the peer is unknown, which happens on no connection.
fn failure(service: &Service, peer: Option<Peer>) -> Problem {
    let guarded = &service.engine.access.guarded;
    let counted = match peer {
        Some(peer) if !peer.is_exempt => guarded.failed(peer.address, Instant::now()),
        _ => Ok(()),
    };
    counted.err().unwrap_or_else(|| NoCaller::Wrong.problem())
}

/// `GET /v1/me`: answers with the client's principal, role and expiry.
pub(super) async fn me(
    State(service): App,
    Extension(caller): Extension<Caller>,
    _: NoQuery,
) -> Response {
    json_response(StatusCode::OK, json(&service.me(&caller)))
}

/// `POST /v1/tickets`: creates a ticket for the client, with which a web page opens one WebSocket
/// session. Answers 409 `wrong-state` without a token file: no session needs a ticket then. Answers
/// 403 `forbidden` to a session token, which could outlive its session by further tickets.
pub(super) async fn create_ticket(
    State(service): App,
    Extension(caller): Extension<Caller>,
    _: NoQuery,
    body: Body,
) -> Result<Response, Reply> {
    let request: TicketRequest = read(body).await?;
    let Some(subject) = caller.subject() else {
        return Err(Reply(Problem::new(
            ProblemType::WrongState,
            "this service has no token file, so a session needs no ticket",
        )));
    };
    if caller.session_token().is_some() {
        return Err(Reply(Problem::new(
            ProblemType::Forbidden,
            "the token of a session cannot request a ticket; use the client's own token",
        )));
    }
    let tickets = &service.engine.access.tickets;
    let ticket = tickets.create(subject, caller.quota(), request.origin, Instant::now());
    let ticket = ticket.map_err(|error| Problem::new(ProblemType::Internal, error.to_string()))?;
    Ok(no_store(StatusCode::CREATED, json(&ticket)))
}

/// `POST /v1/tickets/redeem`: uses up a ticket, and answers with a token for the session. Answers
/// 401 `unauthorized` if the ticket is unknown, used, late, or made for another origin.
pub(super) async fn redeem_ticket(
    State(service): App,
    peer: Option<Extension<Peer>>,
    _: NoQuery,
    body: Body,
) -> Result<Response, Reply> {
    let Redeem { ticket, origin } = read(body).await?;
    let access = &service.engine.access;
    let subject = access
        .tickets
        .redeem(&ticket, origin.as_deref(), Instant::now());
    let caller = match subject {
        Some(subject) => service.resolve(subject).await,
        None => None,
    };
    let Some((caller, subject)) = caller.zip(subject) else {
        // A bridge redeems the tickets of many clients, so its failures are not counted.
        let peer = peer.filter(|Extension(peer)| !peer.is_exempt);
        if let Some(Extension(peer)) = peer {
            access.guarded.failed(peer.address, Instant::now())?;
        }
        return Err(Reply(Problem::new(
            ProblemType::Unauthorized,
            "the ticket is unknown, used or older than 30 s, or the page has another origin; \
             request a new one with POST /ws-ticket",
        )));
    };
    let tokens = &access.session_tokens;
    let session = tokens.create(subject, caller.quota(), Instant::now());
    let internal = |error: std::io::Error| Problem::new(ProblemType::Internal, error.to_string());
    let NewSession { token, renewal } = session.map_err(internal)?;
    let redeemed = Redeemed {
        token,
        renewal,
        me: service.me(&caller),
    };
    Ok(no_store(StatusCode::OK, json(&redeemed)))
}

/// `PUT /v1/tickets/session`: renews the session token whose renewal secret is in the header
/// `Authorization: Bearer`, and answers 204. Answers 401 `unauthorized` if the token has ended.
pub(super) async fn renew_session(
    State(service): App,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    _: NoQuery,
) -> Result<Response, Reply> {
    let renewal = bearer(&headers).ok_or_else(|| NoCaller::Missing.problem())?;
    let access = &service.engine.access;
    if access.session_tokens.renew(&renewal, Instant::now()) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Err(Reply(failure(&service, peer.map(|Extension(peer)| peer))))
}

/// `DELETE /v1/tickets/session`: ends the session token whose renewal secret is in the header
/// `Authorization: Bearer`, and answers 204. Also answers 204 if it has ended already.
pub(super) async fn end_session(
    State(service): App,
    headers: HeaderMap,
    _: NoQuery,
) -> Result<Response, Reply> {
    let renewal = bearer(&headers).ok_or_else(|| NoCaller::Missing.problem())?;
    let access = &service.engine.access;
    access.session_tokens.end(&renewal, Instant::now());
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST .../share`: creates a token that opens this one execution, and answers 201 with it.
pub(super) async fn share(
    State(service): App,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    _: NoQuery,
    body: Body,
) -> Result<Response, Reply> {
    caller.check(Right::Own)?;
    let request: ShareRequest = read(body).await?;
    let share = service.share(&caller, id, request).await?;
    Ok(no_store(StatusCode::CREATED, json(&share)))
}

/// `DELETE .../share/{share}`: ends a share, and answers 204.
pub(super) async fn end_share(
    State(service): App,
    Extension(caller): Extension<Caller>,
    Path((id, share)): Path<(String, String)>,
    _: NoQuery,
) -> Result<Response, Reply> {
    let id = super::query::id(&id)?;
    let share = Uuid::try_parse(&share).map_err(|_| {
        let detail = "the id of a share is a UUID; use shareId of the answer that created it";
        Problem::new(ProblemType::InvalidId, detail)
    })?;
    service.end_share(&caller, id, share).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Reads a short JSON body. An empty body is an empty object.
async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let invalid = |detail: String| Problem::new(ProblemType::InvalidBody, detail);
    let bytes = axum::body::to_bytes(body, BODY_BYTES).await.map_err(|_| {
        invalid(format!(
            "the body is incomplete or longer than {BODY_BYTES} bytes"
        ))
    })?;
    let json = if bytes.is_empty() { b"{}" } else { &bytes[..] };
    // serde would also read the fields from a list.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(invalid("the body is no JSON object".to_owned()));
    }
    protocol::json::from_slice(json).map_err(|error| invalid(error.to_string()))
}

/// Returns a response with a secret, which no cache may store.
fn no_store(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = json_response(status, body);
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    response
}
