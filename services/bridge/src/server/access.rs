//! Decides whether a request may use the bridge. Takes the credential of the request, and asks the
//! judge about it before any upgrade or other work.
//!
//! | claude-api has tokens | the request has a credential | result |
//! |---|---|---|
//! | no | any | served as admin; the credential is passed on |
//! | not known yet | no | served; claude-api judges its calls |
//! | not known yet | yes | waits up to 3 s to know it, then "try again later" |
//! | yes | no, or a wrong one | 401; after 20 wrong ones in a minute 429 |
//! | yes | accepted by claude-api | served, or 403 if its role does not permit the request |
//! | yes | claude-api does not answer for 3 s | "try again later" |
//!
//! A bridge that other machines reach never serves clients without a token, unless the operator
//! allows it (`--allow-unauthenticated`).

mod presented;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use addresses::{ExemptPeers, FailedAttempts, RetryAfter};
use axum::response::Response;
use http::header::{ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use protocol::{Problem, ProblemType, Role};

use super::problems::{AuditedAs, Refused, problem_page};
use crate::access::grant::Grant;
use crate::access::judge::Judge;
use crate::access::judgement::Judgement;
pub(super) use presented::{Presented, SUBPROTOCOL, presented};

/// The remedy for a bridge that other machines reach although claude-api has no tokens.
const REMEDY: &str = "set CLAUDE_API_TOKENS_FILE; or listen and publish on 127.0.0.1 only \
                      (BRIDGE_HOST, BRIDGE_PUBLISHED_ON); or, if a firewall limits access, set \
                      BRIDGE_ALLOW_UNAUTHENTICATED=true";

/// The purpose of a request, which decides the roles that are permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A WebSocket session or an MCP request. Every role but `metrics` may open them, because
    /// claude-api judges each of their calls.
    Executions,
    /// The page `/metrics`, for the roles `admin` and `metrics`.
    Metrics,
    /// A ticket for a WebSocket session, which claude-api makes or refuses.
    Ticket,
}

impl Purpose {
    fn permits(self, role: Role) -> bool {
        match self {
            Self::Executions => role.may_view(),
            Self::Metrics => role.may_read_metrics(),
            Self::Ticket => true,
        }
    }
}

/// The decision about a request.
#[derive(Debug)]
pub(super) enum Admission {
    /// The client may use the bridge.
    Granted(Arc<Grant>),
    /// The client gets this response.
    Refused(Box<Response>),
    /// claude-api did not answer in time. The client may try again.
    NoAnswer,
}

/// The access check of a bridge, which admits its clients or refuses them.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) judge: Arc<Judge>,
    /// The wrong tokens of each peer. A plain lock, never held across an await.
    failures: Mutex<FailedAttempts>,
    /// The peers whose wrong tokens are not counted.
    exempt: Arc<ExemptPeers>,
    /// Whether other machines reach the bridge, and the operator does not allow clients without a
    /// token.
    requires_tokens: bool,
}

impl Access {
    /// Creates the access checks. With `requires_tokens` the bridge serves nobody while claude-api
    /// has no tokens.
    pub(super) fn new(
        judge: Arc<Judge>,
        exempt: Arc<ExemptPeers>,
        requires_tokens: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            judge,
            failures: Mutex::default(),
            exempt,
            requires_tokens,
        })
    }

    /// Returns whether the bridge serves nobody, because other machines reach it and claude-api has
    /// no tokens.
    pub(super) fn is_exposed(&self) -> bool {
        self.requires_tokens && self.judge.has_tokens() == Some(false)
    }

    /// Returns the 401 (Unauthorized) response to every request of a bridge that is exposed. `None`
    /// if the bridge is not exposed.
    pub(super) fn exposed_refusal(&self) -> Option<Response> {
        let detail = format!(
            "other machines reach this bridge, and claude-api has no tokens, so nobody is served: \
             {REMEDY}"
        );
        self.is_exposed().then(|| unauthorized(detail))
    }

    /// Returns the reason and the remedy for the readiness page of an exposed bridge.
    pub(super) fn exposed_reason() -> (&'static str, &'static str) {
        let message = "other machines reach this bridge, and claude-api has no tokens";
        (message, REMEDY)
    }

    /// Decides about a request with this credential from `client`. `origin` is the header `Origin`
    /// of the request, to which a ticket is bound. Waits for claude-api for up to 3 s.
    pub(super) async fn admit(
        &self,
        presented: &Presented,
        origin: Option<&str>,
        client: IpAddr,
        purpose: Purpose,
    ) -> Admission {
        if let Some(refusal) = self.exposed_refusal() {
            return Admission::Refused(Box::new(refusal));
        }
        let has_tokens = match (self.judge.has_tokens(), presented) {
            (None, Presented::Nothing) => self.requires_tokens.then_some(true),
            (None, _) => match self.judge.learn_tokens().await {
                Some(has_tokens) => Some(has_tokens),
                None => return Admission::NoAnswer,
            },
            (known, _) => known,
        };
        if has_tokens != Some(true) {
            // An exposed bridge may have learned only now that there are no tokens.
            return match self.exposed_refusal() {
                Some(refusal) => Admission::Refused(Box::new(refusal)),
                None => {
                    let credential = presented.credential();
                    Admission::Granted(self.judge.grant_unjudged(credential))
                }
            };
        }
        let grant = match self.judge_presented(presented, origin).await {
            Ok(grant) => grant,
            Err(NoGrant::NoAnswer) => return Admission::NoAnswer,
            Err(NoGrant::Missing) => {
                let detail = "this bridge needs a token; send it as Authorization: Bearer TOKEN";
                return Admission::Refused(Box::new(unauthorized(detail)));
            }
            Err(NoGrant::Refused(detail)) => {
                let refusal = self.wrong_credential(client, detail);
                return Admission::Refused(Box::new(refusal));
            }
        };
        if purpose.permits(grant.me().role) {
            Admission::Granted(grant)
        } else {
            Admission::Refused(Box::new(forbidden(&grant)))
        }
    }

    /// Returns the grant for the credential of a request. Waits for claude-api for up to 3 s.
    ///
    /// # Errors
    /// The credential is missing or wrong, or claude-api did not answer.
    async fn judge_presented(
        &self,
        presented: &Presented,
        origin: Option<&str>,
    ) -> Result<Arc<Grant>, NoGrant> {
        match presented {
            Presented::Nothing => Err(NoGrant::Missing),
            Presented::Malformed(detail) => Err(NoGrant::Refused(detail)),
            Presented::Token(credential) => match self.judge.judge(credential).await {
                Judgement::Granted(me) => Ok(self.judge.grant(credential, me)),
                Judgement::Refused => Err(NoGrant::Refused("the token is wrong or has expired")),
                Judgement::NoAnswer => Err(NoGrant::NoAnswer),
            },
            Presented::Ticket(ticket) => match self.judge.redeem(ticket, origin).await {
                Ok(grant) => Ok(grant),
                Err(Judgement::NoAnswer) => Err(NoGrant::NoAnswer),
                Err(_) => Err(NoGrant::Refused(
                    "the ticket is unknown, used, too old, or for another origin; get a new one \
                     with POST /ws-ticket",
                )),
            },
        }
    }

    /// Returns the response to a wrong credential, and counts it: 401 (Unauthorized), or 429 (Too
    /// Many Requests) if the client has sent too many.
    fn wrong_credential(&self, client: IpAddr, detail: &str) -> Response {
        if !self.exempt.include_client(client) {
            let failures = self.failures.lock();
            let mut failures = failures.unwrap_or_else(PoisonError::into_inner);
            if let Err(retry_after) = failures.may_fail(client, Instant::now()) {
                return too_many_attempts(retry_after);
            }
        }
        unauthorized(detail)
    }
}

/// The reason why a request was not granted.
enum NoGrant {
    /// The request has no credential.
    Missing,
    /// The credential is wrong. The text is for the client.
    Refused(&'static str),
    /// claude-api did not answer.
    NoAnswer,
}

/// Returns the header `Origin` of a request, to which a ticket is bound. `None` if there is none.
pub(super) fn origin(headers: &HeaderMap) -> Option<String> {
    let origin = headers.get(ORIGIN)?.to_str().ok()?;
    Some(origin.to_owned())
}

/// Creates the 401 (Unauthorized) response. `detail` tells the client what to do.
pub(super) fn unauthorized(detail: impl Into<String>) -> Response {
    with_scheme(problem_page(&Problem::new(
        ProblemType::Unauthorized,
        detail,
    )))
}

/// Adds the header `WWW-Authenticate`, which every 401 must have (RFC 9110, section 15.5.2).
pub(super) fn with_scheme(mut response: Response) -> Response {
    let scheme = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    response
}

/// Creates the 403 (Forbidden) response for a role that does not permit the request.
fn forbidden(grant: &Arc<Grant>) -> Response {
    let role = grant.me().role.as_str();
    let detail = format!("a token with the role {role} may not send this request");
    let mut response = problem_page(&Problem::new(ProblemType::Forbidden, detail));
    response.extensions_mut().insert(AuditedAs(grant.clone()));
    response
}

/// Creates the 429 (Too Many Requests) response after too many wrong tokens.
fn too_many_attempts(retry_after: RetryAfter) -> Response {
    let problem = Problem::new(ProblemType::TooManyAttempts, retry_after.to_string());
    with_retry_after(problem_page(&problem), retry_after.seconds())
}

/// Creates the 503 (Service Unavailable) response for the time in which claude-api does not judge
/// the token of a request. `Retry-After` asks the client to wait 1 s.
pub(super) fn no_answer() -> Response {
    let detail = "claude-api does not answer, so the token cannot be checked; try again";
    let mut response = problem_page(&Problem::new(ProblemType::NotReady, detail));
    let reason = Refused("claude_api_unreachable");
    response.extensions_mut().insert(reason);
    with_retry_after(response, 1)
}

/// Adds the header `Retry-After` with this number of seconds.
pub(super) fn with_retry_after(mut response: Response, seconds: u64) -> Response {
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}
