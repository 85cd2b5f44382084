//! The server over streamable HTTP, as a service for one path.
//!
//! Protocol versions before 2026-07-28 have sessions: they begin with `initialize`, and end with
//! DELETE or after an idle hour. Later versions have none; each request is complete in itself.
//!
//! Large bodies being received (`LARGE` places, for bodies over 64 KiB or of unknown length):
//! - Taken when: the head of a request is there; released when its body is, after `BODY_TIME` at
//!   most.
//! - Who waits behind whom: nobody. Without a place the request is refused with 503.
//! - The other direction: a response is a stream that pauses while the client does not read it.
//!
//! A stop has two steps ([`Service::drain`]). First each running `execute`, `wait` and `output` is
//! answered with an error that says how to continue. Then all streams and sessions end.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::running::Closed;
use crate::{Server, Settings};

/// Without any message for so long, a session ends. A call that sends progress keeps its session.
const SESSION_IDLE: Duration = Duration::from_secs(3600);
/// The most large bodies that are received at once.
const LARGE: usize = 16;
/// A body of at most this size is not large, in bytes.
const SMALL_BYTES: u64 = 64 * 1024;
/// The longest time that a body may take.
const BODY_TIME: Duration = Duration::from_secs(60);
/// The longest time that clients may take to read their last answer at a stop.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Settings of the HTTP side.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The largest request body, in bytes.
    pub body_bytes: usize,
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
    /// Too many large bodies are being received.
    #[error("{LARGE} large requests are being received (the limit); try again later")]
    TooManyBodies,
    /// Too many MCP sessions are open.
    #[error("{0} MCP sessions are open (the limit); end one with DELETE, or try again later")]
    TooManySessions(usize),
}

/// The service. The caller checks `Host` and `Origin` before (`protocol::guard::Guard`).
#[derive(Clone)]
pub struct Service {
    inner: StreamableHttpService<Server, LocalSessionManager>,
    sessions: Arc<LocalSessionManager>,
    large: Arc<Semaphore>,
    body_bytes: usize,
    most_sessions: usize,
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
            sessions: most_sessions,
            stop,
        } = http;
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(SESSION_IDLE);
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
            large: Arc::new(Semaphore::new(LARGE)),
            body_bytes,
            most_sessions,
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
        let body = self.receive(&parts.headers, body).await?;
        let method = parts.method.clone();
        if method == Method::POST
            && begins_session(&parts.headers, &body)
            && self.sessions.sessions.read().await.len() >= self.most_sessions
        {
            return Err(Refusal::TooManySessions(self.most_sessions));
        }
        let closed = CancellationToken::new();
        parts.extensions.insert(Closed(closed.clone()));
        let request = Request::from_parts(parts, Full::new(body));
        let open = (method == Method::POST).then(|| self.responses.token());
        let response = self.inner.handle(request).await;
        // Dropped with the response's body, which hyper drops when the connection is gone.
        let held = (closed.drop_guard(), open);
        Ok(response.map(|body| {
            let body = body.map_frame(move |frame| {
                let _ = &held;
                frame
            });
            body.boxed()
        }))
    }

    async fn receive<B>(&self, headers: &HeaderMap, body: B) -> Result<Bytes, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let large = body
            .size_hint()
            .upper()
            .is_none_or(|most| most > SMALL_BYTES);
        let _place = match large {
            true => Some(
                self.large
                    .try_acquire()
                    .map_err(|_| Refusal::TooManyBodies)?,
            ),
            false => None,
        };
        let body = Limited::new(body, self.body_bytes).collect();
        let body = match tokio::time::timeout(BODY_TIME, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return Err(Refusal::TooLarge(self.body_bytes));
            }
            Ok(Err(_)) | Err(_) => return Err(Refusal::Incomplete),
        };
        let json = headers
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        if json && !body.is_empty() {
            // rmcp would take the last of two members with one name.
            let text = std::str::from_utf8(&body).map_err(|e| Refusal::Json(e.to_string()))?;
            protocol::json::refuse_repeated_members(text)
                .map_err(|e| Refusal::Json(e.to_string()))?;
        }
        Ok(body)
    }
}

/// Whether this POST is an `initialize`, whatever protocol version it names.
fn begins_session(headers: &HeaderMap, body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        method: Cow<'a, str>,
    }
    let named = headers.contains_key("mcp-session-id");
    !named
        && serde_json::from_slice::<Envelope<'_>>(body)
            .is_ok_and(|message| message.method == "initialize")
}
