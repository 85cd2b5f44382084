//! The server over streamable HTTP, as a service for one path.
//!
//! Protocol versions before 2026-07-28 have sessions: they begin with `initialize`, and end with
//! DELETE, after an idle hour, or when a new one needs the place of an idle one. Later versions
//! have none; each request is complete in itself.
//!
//! A stop has two steps ([`Service::drain`]). First each running `execute`, `wait` and `output` is
//! answered with an error that says how to continue. Then all streams and sessions end.

mod bodies;
mod sessions;

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::running::Closed;
use crate::{Server, Settings};
pub(crate) use bodies::Charge;
use bodies::{BODY_TIME, Bodies, SMALL_BYTES};
use sessions::Sessions;

/// Without any message for so long, a session ends. A call that sends progress keeps its session.
const SESSION_IDLE: Duration = Duration::from_secs(3600);
/// The longest time that clients may take to read their last answer at a stop.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Settings of the HTTP side.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The largest request body, in bytes.
    pub body_bytes: usize,
    /// The memory for bodies that are being received or handled, in bytes.
    pub inbound_bytes: usize,
    /// The most MCP sessions at once.
    pub sessions: usize,
    /// Ends all calls; [`Service::drain`] then ends all sessions and streams.
    pub stop: CancellationToken,
}

/// Why a request was refused before MCP saw it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The body is longer than allowed.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// The body did not arrive in time, or not whole.
    #[error("the body did not arrive whole within {} s", BODY_TIME.as_secs())]
    Incomplete,
    /// The body is no JSON of which every object has each member once.
    #[error("the body is not acceptable JSON: {0}")]
    Json(String),
    /// The bodies of other requests leave no memory for this one.
    #[error("other MCP requests leave no memory for this body; try again later")]
    InboundFull,
    /// Too many MCP sessions are in use.
    #[error("{0} MCP sessions are in use (the limit); end one with DELETE, or try again later")]
    TooManySessions(usize),
    /// The server stops, and the body was not there yet.
    #[error("the bridge is stopping; send the request again when it is back")]
    Stopping,
}

/// The service. The caller checks `Host` and `Origin` before (`protocol::guard::Guard`).
#[derive(Clone)]
pub struct Service {
    inner: StreamableHttpService<Server, Sessions>,
    sessions: Arc<Sessions>,
    most_sessions: usize,
    bodies: Bodies,
    /// Responses to POST requests.
    responses: TaskTracker,
    stop: CancellationToken,
    /// Ends the library's sessions and streams.
    end: CancellationToken,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Service {
    /// A service with its own places for calls.
    #[must_use]
    pub fn new(settings: Settings, http: HttpSettings) -> Self {
        let HttpSettings {
            body_bytes,
            inbound_bytes,
            sessions: most_sessions,
            stop,
        } = http;
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(SESSION_IDLE);
        let sessions = Sessions::new(sessions, most_sessions, settings.on_refusal.clone());
        let sessions = Arc::new(sessions);
        let end = CancellationToken::new();
        let config = StreamableHttpServerConfig::default()
            // The caller has checked both. The library would refuse pages of the service's own origin.
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
            most_sessions,
            bodies: Bodies::new(body_bytes, inbound_bytes, stop.clone()),
            responses: TaskTracker::new(),
            stop,
            end,
        }
    }

    /// Waits for the stop, lets the clients read the answers to their calls for at most 2 s, and
    /// then ends all sessions and streams. Dropping the future leaves them open.
    pub async fn drain(self) {
        self.stop.cancelled().await;
        self.responses.close();
        let read = tokio::time::timeout(ANSWER_TIME, self.responses.wait());
        if read.await.is_err() {
            let left = self.responses.len();
            tracing::warn!(
                left,
                "MCP clients did not read their answers; ending the streams"
            );
        }
        self.end.cancel();
    }

    /// Answers one request.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn handle<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (mut parts, body) = request.into_parts();
        let (body, charge) = self.bodies.receive(body).await?;
        check_members(&body)?;
        let method = parts.method.clone();
        let session = session(&parts.headers);
        if method == Method::POST && session.is_none() && is_initialize(&body) {
            if body.len() > SMALL_BYTES {
                // A session keeps what its `initialize` said.
                return Err(Refusal::TooLarge(SMALL_BYTES));
            }
            let place = self.sessions.place().await;
            let place = place.ok_or(Refusal::TooManySessions(self.most_sessions))?;
            parts.extensions.insert(place);
        }
        let session = session.and_then(|id| self.sessions.enter(id)).map(Arc::new);
        if let Some(session) = &session {
            parts.extensions.insert(session.clone());
        }
        let closed = CancellationToken::new();
        parts.extensions.insert(Closed(closed.clone()));
        parts.extensions.insert(charge);
        let request = Request::from_parts(parts, Full::new(body));
        let open = (method == Method::POST).then(|| self.responses.token());
        let response = self.inner.handle(request).await;
        // Dropped with the response's body, which hyper drops when the connection is gone.
        let held = (closed.drop_guard(), open, session);
        Ok(response.map(|body| {
            let body = body.map_frame(move |frame| {
                let _ = &held;
                frame
            });
            body.boxed()
        }))
    }
}

/// The session that a request names. The library ignores an id that is not ASCII.
fn session(headers: &HeaderMap) -> Option<&str> {
    headers.get("mcp-session-id")?.to_str().ok()
}

/// Refuses a body in which one object has two members of one name, whatever its type is called: the
/// library would take the last one.
fn check_members(body: &[u8]) -> Result<(), Refusal> {
    let text = std::str::from_utf8(body).map_err(|e| Refusal::Json(e.to_string()))?;
    protocol::json::refuse_repeated_members(text).map_err(|e| Refusal::Json(e.to_string()))
}

/// Whether this body is an `initialize`, whatever protocol version it names.
fn is_initialize(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        method: Cow<'a, str>,
    }
    serde_json::from_slice::<Envelope<'_>>(body).is_ok_and(|message| message.method == "initialize")
}
