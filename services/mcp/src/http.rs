//! The MCP server over streamable HTTP, the HTTP transport of MCP, as a service for one path (the
//! bridge's `/mcp`).
//!
//! MCP versions before 2026-07-28 have sessions. A session begins with `initialize`. It ends with
//! DELETE or after an idle hour. The number of sessions is limited, so a new session may also end
//! one that is idle. Later versions have no sessions; each request is complete in itself.
//!
//! A stop has two steps ([`Service::drain`]). First each running `execute`, `wait` and `output` is
//! answered with an error that says how to continue. Then all streams and sessions end.

mod bodies;
mod sessions;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use protocol::ExecutionId;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use crate::caller::Caller;
use crate::caller::Owner;
use crate::message::{self, Envelope, Malformed};
use crate::running_calls::StreamClosed;
use crate::{Server, Settings, methods};
pub(crate) use bodies::Charge;
use bodies::{BODY_TIME, Bodies, SMALL_BYTES};
use sessions::{ForeignSession, Sessions};

/// The time without any message after which an MCP session over HTTP ends. Progress notifications
/// count as messages, so a long call keeps its session open.
const SESSION_IDLE: Duration = Duration::from_secs(3600);
/// The maximum time that the server waits for clients to read their last answers when it stops.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// The header with the id of an MCP session.
const SESSION_ID: &str = "mcp-session-id";

/// The settings of the MCP server that apply only over HTTP, such as limits on memory and sessions.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The maximum size of one HTTP request body, in bytes. A larger body is refused.
    pub body_bytes: usize,
    /// The maximum memory for the bodies of all HTTP requests that are being received or handled,
    /// in bytes. Further bodies wait, and are refused after 10 s.
    pub inbound_bytes: usize,
    /// The maximum number of open MCP sessions. One more session ends an idle one, or is refused if
    /// none is idle.
    pub sessions: usize,
    /// The maximum number of open MCP sessions of one principal. One more session ends an idle one
    /// of the same principal, or is refused. Without tokens there is no such limit.
    pub sessions_per_principal: usize,
    /// The token that stops the server. Cancelling it ends all calls, and lets [`Service::drain`]
    /// end all sessions and streams.
    pub stop: CancellationToken,
}

/// The reason why an HTTP request is refused before any MCP method is called.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request body is larger than this limit, in bytes.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// The request body did not arrive completely within 60 s, or ended early.
    #[error("the body did not arrive completely within {} s", BODY_TIME.as_secs())]
    Incomplete,
    /// The request body is not a valid MCP message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The bodies of other requests use all the memory for request bodies. The request may be
    /// retried.
    #[error("other MCP requests leave no memory for this body; try again later")]
    InboundFull,
    /// All MCP sessions that a limit allows are open, and none of them may be ended for another:
    /// the limit of all sessions, or of one principal. Holds the limit.
    #[error("{0} MCP sessions are in use (the limit); end one with DELETE, or try again later")]
    TooManySessions(usize),
    /// The server is stopping, and the request body had not arrived completely.
    #[error("the bridge is stopping; send the request again when the bridge is back")]
    Stopping,
}

/// The MCP server as an HTTP service. The caller must check the headers `Host` and `Origin` first
/// (`protocol::guard::Guard`), because otherwise a web page in the user's browser could run
/// prompts.
#[derive(Clone)]
pub struct Service {
    inner: StreamableHttpService<Server, Sessions>,
    sessions: Arc<Sessions>,
    bodies: Bodies,
    /// The open HTTP responses to POST requests. [`Self::drain`] waits until clients have read
    /// them.
    responses: TaskTracker,
    stop: CancellationToken,
    /// A token that ends the sessions and streams of the MCP library when it is cancelled.
    end: CancellationToken,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Service {
    /// Creates the HTTP service. It has its own limit on concurrent calls, which it does not share
    /// with another service.
    #[must_use]
    pub fn new(settings: Settings, http: HttpSettings) -> Self {
        let HttpSettings {
            body_bytes,
            inbound_bytes,
            sessions: max_sessions,
            sessions_per_principal,
            stop,
        } = http;
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(SESSION_IDLE);
        let on_refusal = settings.on_refusal.clone();
        let sessions = Sessions::new(sessions, max_sessions, sessions_per_principal, on_refusal);
        let sessions = Arc::new(sessions);
        let end = CancellationToken::new();
        let config = StreamableHttpServerConfig::default()
            // The caller has checked both. The library would refuse pages of the service's own
            // origin.
            .disable_allowed_hosts()
            .disable_allowed_origins()
            .with_max_request_body_bytes(body_bytes)
            .with_cancellation_token(end.clone());
        let server = Server::new(settings).stopped_by(stop.clone());
        let inner =
            StreamableHttpService::new(move || Ok(server.session()), sessions.clone(), config);
        Self {
            inner,
            sessions,
            bodies: Bodies::new(body_bytes, inbound_bytes, stop.clone()),
            responses: TaskTracker::new(),
            stop,
            end,
        }
    }

    /// Waits until the token [`HttpSettings::stop`] is cancelled, and then ends the service.
    /// Clients have at most 2 s to read the answers to their calls, and then all sessions and
    /// streams end. Dropping the future leaves them open.
    pub async fn drain(self) {
        self.stop.cancelled().await;
        self.responses.close();
        let read = tokio::time::timeout(ANSWER_TIME, self.responses.wait());
        if read.await.is_err() {
            let open = self.responses.len();
            tracing::warn!(
                left = open,
                "stopping: MCP clients did not read their answers within 2 s; ending their streams"
            );
        }
        self.end.cancel();
    }

    /// Handles one HTTP request to the MCP server and returns the response. Receives the body,
    /// checks that it is a valid MCP message, and calls the MCP method.
    ///
    /// The caller of this function must have judged the token of the request, and have put a
    /// [`Caller`] into its extensions. A request without a [`Caller`] counts as one without a
    /// token.
    ///
    /// # Errors
    /// [`Refusal`] if the request is refused before any MCP method is called. The caller answers
    /// with the HTTP status that fits the reason.
    pub async fn handle<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (mut parts, body) = request.into_parts();
        let caller = parts.extensions.get::<Caller>();
        let owner = caller.map(Owner::from).unwrap_or_default();
        let (body, charge) = self.bodies.receive(body, &owner).await?;
        let is_post = parts.method == Method::POST;
        let is_delete = parts.method == Method::DELETE;
        let kind = Kind::of(&parts.headers);
        let envelope = match message::read(&body) {
            Ok(envelope) => envelope,
            Err(malformed) if is_post && kind != Kind::Other => return Err(malformed.into()),
            // The library refuses a POST of another type; other methods have no body.
            Err(_) => Envelope::default(),
        };
        let session = session(&parts.headers).map(str::to_owned);
        if is_post && session.is_none() && envelope.method.as_deref() == Some("initialize") {
            if body.len() > SMALL_BYTES {
                // A session keeps its `initialize` in memory.
                return Err(Refusal::TooLarge(SMALL_BYTES));
            }
            if let Some(mistake) = mistake(&body) {
                return Err(Malformed::params(envelope, mistake).into());
            }
            let slot = self.sessions.acquire_slot(&owner).await;
            let slot = slot.map_err(Refusal::TooManySessions)?;
            parts.extensions.insert(slot);
        }
        let session = session.map(|id| self.sessions.enter(&id, &owner));
        let is_foreign = matches!(session, Some(Err(ForeignSession)));
        let session = session.and_then(Result::ok).flatten().map(Arc::new);
        if is_foreign {
            // The library answers as it does for an id that was never used.
            if let Ok(unknown) = ExecutionId::random().to_string().parse() {
                parts.headers.insert(SESSION_ID, unknown);
            }
        }
        if let Some(session) = &session {
            parts.extensions.insert(session.clone());
        }
        let closed = CancellationToken::new();
        parts.extensions.insert(StreamClosed(closed.clone()));
        // Dropped with the response's body, which hyper drops when the connection ends.
        let closed = closed.drop_guard();
        parts.extensions.insert(charge);
        let request = Request::from_parts(parts, Full::new(body));
        let open = is_post.then(|| self.responses.token());
        let mut response = self.inner.handle(request).await;
        if is_delete && response.status() == StatusCode::ACCEPTED {
            // The official Python SDK reports 202 as a failure to the user.
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE && kind == Kind::Json {
            // The library's answer to JSON that is not a message.
            return Err(Malformed::shape(envelope).into());
        }
        let held = (closed, open, session);
        Ok(response.map(|body| {
            let body = body.map_frame(move |frame| {
                let _ = &held;
                frame
            });
            body.boxed()
        }))
    }
}

/// Returns the MCP session id in the headers of a request. `None` if the header is missing or not
/// ASCII; the MCP library ignores such a header too.
fn session(headers: &HeaderMap) -> Option<&str> {
    headers.get(SESSION_ID)?.to_str().ok()
}

/// Returns what is wrong with the parameters of an `initialize` request, as a message for people.
/// `None` if they are valid. Without this check the MCP library would answer that the session id is
/// missing.
fn mistake(body: &[u8]) -> Option<String> {
    let Ok(ClientJsonRpcMessage::Request(request)) = serde_json::from_slice(body) else {
        return None;
    };
    let ClientRequest::CustomRequest(request) = request.request else {
        return None;
    };
    methods::mistake(&request.method, request.params.as_ref())
}

/// The content type of an HTTP request, which is JSON, another type, or missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Other,
    None,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Self {
        let Some(kind) = headers.get(CONTENT_TYPE) else {
            return Self::None;
        };
        let kind = kind.to_str().unwrap_or_default();
        let (kind, _parameters) = kind.split_once(';').unwrap_or((kind, ""));
        match kind.trim().eq_ignore_ascii_case("application/json") {
            true => Self::Json,
            false => Self::Other,
        }
    }
}
