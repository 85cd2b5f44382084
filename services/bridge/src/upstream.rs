//! The HTTP client for claude-api. It makes short calls with a time limit, and reads the two
//! streams of an execution (its statuses and its output). It hides retries and broken connections.
//! No other module of the bridge sends or retries requests.
//!
//! - [`accept`]: the PUT of an execute, until claude-api has accepted it
//! - [`calls`], [`events`], `attach`: the short calls for requests
//! - [`call_span`]: the span of a client's request
//! - [`access`]: to whom a token belongs, tickets, shares, and the limits
//! - [`cancel`]: cancels that the bridge sends on its own
//! - [`questions`]: the questions that a view announces, and the answers of clients
//! - [`follow`], [`output`]: the streams of a view. `dedicated_stream` is a GET on its own
//!   connection.
//! - `request`: a request with its span
//! - `response`, [`errors`], [`retry`]: the answers, failures and delays of all of them

pub mod accept;
pub mod access;
mod attach;
pub mod call_span;
pub mod calls;
pub mod cancel;
mod dedicated_stream;
pub mod errors;
pub mod events;
pub mod follow;
pub mod output;
pub mod questions;
mod request;
mod response;
pub mod retry;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};
use protocol::{ExecutionId, TraceContext};
use telemetry::{Span, Tracer};
use tokio::sync::Semaphore;

use crate::metrics::Retries;
use request::Request;

/// The number of lists of questions that one bridge reads at the same time (8). It bounds their
/// memory, because every view of an execution needs the list when a question is asked.
///
/// - A turn is taken for one attempt. The attempt, with its wait for the turn, ends within
///   `callMs`.
/// - Views wait for each other, in the order of their requests. They wait for no client.
const SIMULTANEOUS_LISTS: usize = 8;

/// How long a TCP connection to claude-api may take to open (5 s).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval of TCP keepalive probes to claude-api (10 s). An execution may write nothing for
/// long. Without probes, a stream of its output would wait forever for a host that is gone.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long an unused connection to claude-api is kept open for later calls (20 s). Common proxies
/// close idle connections later than that. So the bridge does not send a request on a connection
/// that a proxy has closed.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// How long calls to claude-api may take, and how long its streams may be silent. All values are
/// derived from the settings of the bridge.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The limit of a short call (pause, resume, cancel, status, list, events or input), including
    /// its retries.
    pub call: Duration,
    /// How long an execute is retried while claude-api has not accepted it. After that the client
    /// gets an error.
    pub accept: Duration,
    /// The limit of one attempt to send an execute to claude-api. It is a quarter of `accept`, so
    /// that an attempt whose packets are lost leaves time for others.
    pub attempt: Duration,
    /// How long the head of a stream's HTTP answer may take to arrive. After that the bridge
    /// reconnects.
    pub head: Duration,
    /// How long a stream of statuses may be silent before the bridge reconnects. A longer time
    /// applies if claude-api repeats its statuses less often than the bridge expects.
    pub silence: Duration,
    /// How long a stream of output may be without a byte, although claude-api is known to have
    /// more. After that the bridge reconnects.
    pub stall: Duration,
    /// How often the bridge repeats an execution's last status to the client while claude-api
    /// cannot be reached.
    pub heartbeat: Duration,
}

/// The HTTP client for claude-api. A clone uses the same connections and counters.
#[derive(Debug, Clone)]
pub struct Upstream {
    client: reqwest::Client,
    /// The base URL of claude-api, `http://host:port` without a slash at the end.
    base: Arc<str>,
    /// The header `Authorization` of every call and stream, marked as sensitive. `None` for calls
    /// that are made for no client, and for clients without a token.
    authorization: Option<HeaderValue>,
    /// The id of the session for which streams are read. It is sent to claude-api as the viewer.
    /// `None` for calls that are made for no session.
    viewer: Option<Arc<str>>,
    /// Starts the spans of calls and requests.
    tracer: Tracer,
    /// The span of the call to which the requests belong. `None` for requests that belong to no
    /// call, and without a trace.
    trace: Option<TraceContext>,
    /// The time limits of calls and streams.
    pub times: Times,
    /// Bounds the number of lists of questions that are read at the same time. All clones share it.
    question_lists: Arc<Semaphore>,
    /// How often claude-api repeats a status, in milliseconds. 0 while claude-api has not said it.
    heartbeat_ms: Arc<AtomicU64>,
    /// Counts the requests that were sent again after a failure, for `/metrics`.
    pub retries: Retries,
}

impl Upstream {
    /// Creates the client for the claude-api at `base`, which is `http://host:port` without a path.
    /// Sends nothing yet. Never uses a proxy, because `HTTP_PROXY` is meant for the CLI.
    ///
    /// # Errors
    /// Returns an error if the HTTP client cannot be created.
    pub fn new(base: &str, times: Times) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .http1_only()
            // The operator's HTTP_PROXY is for the CLI, never for requests to claude-api.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .tcp_keepalive(KEEPALIVE)
            .tcp_keepalive_interval(KEEPALIVE)
            .tcp_keepalive_retries(3)
            .tcp_user_timeout(KEEPALIVE * 3)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE)
            .build()?;
        Ok(Self {
            client,
            base: base.trim_end_matches('/').into(),
            authorization: None,
            viewer: None,
            tracer: Tracer::default(),
            trace: None,
            times,
            question_lists: Arc::new(Semaphore::new(SIMULTANEOUS_LISTS)),
            heartbeat_ms: Arc::default(),
            retries: Retries::default(),
        })
    }

    /// Returns a copy of the client that names `session` as the viewer of its streams. So
    /// claude-api recognizes a late stream of an ended session, and does not count that stream as a
    /// new viewer.
    #[must_use]
    pub fn for_viewer(&self, session: Arc<str>) -> Self {
        Self {
            viewer: Some(session),
            ..self.clone()
        }
    }

    /// Returns a copy of the client that sends this header `Authorization` with every call and
    /// stream. `None` removes the header. The value should be marked as sensitive.
    #[must_use]
    pub fn with_authorization(&self, authorization: Option<HeaderValue>) -> Self {
        Self {
            authorization,
            ..self.clone()
        }
    }

    /// Returns a copy of the client that starts its spans with this tracer.
    #[must_use]
    pub fn with_tracer(&self, tracer: Tracer) -> Self {
        Self {
            tracer,
            ..self.clone()
        }
    }

    /// Returns the tracer, for the spans of calls.
    #[must_use]
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Returns a copy of the client whose requests belong to the call with this trace. `None` means
    /// that they belong to none.
    #[must_use]
    pub fn with_trace(&self, trace: Option<TraceContext>) -> Self {
        Self {
            trace,
            ..self.clone()
        }
    }

    /// Returns the client for the requests of the call with this span. Without a trace it is this
    /// client itself.
    #[must_use]
    pub fn in_span(&self, span: &Span) -> Cow<'_, Self> {
        match span.context() {
            None => Cow::Borrowed(self),
            Some(context) => Cow::Owned(self.with_trace(Some(context.clone()))),
        }
    }

    /// Returns a request to claude-api with the header `Authorization` of this client. Every
    /// request of this module is made here, except those of `dedicated_stream`.
    fn request(&self, method: Method, url: &str) -> Request {
        let span = self.request_span(match method {
            Method::GET => "GET",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            _ => "POST",
        });
        let request = Request::new(self.client.request(method, url), span);
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        }
    }

    /// Returns a GET request to claude-api.
    fn get(&self, url: &str) -> Request {
        self.request(Method::GET, url)
    }

    /// Returns a POST request to claude-api.
    fn post(&self, url: &str) -> Request {
        self.request(Method::POST, url)
    }

    /// Stores how often claude-api repeats a status, in milliseconds. This client and all its
    /// clones use the value to decide when a silent stream is dead.
    pub fn learn_heartbeat(&self, milliseconds: u64) {
        self.heartbeat_ms.store(milliseconds, Ordering::Relaxed);
    }

    /// Returns how long a stream of statuses may be silent before it counts as dead. It is two and
    /// a quarter heartbeats, of the bridge or of claude-api, whichever is longer.
    fn silence(&self) -> Duration {
        let theirs = Duration::from_millis(self.heartbeat_ms.load(Ordering::Relaxed));
        self.times.silence.max(silence(theirs))
    }

    /// Returns the base URL of the service that has this execution. There is only one service, so
    /// the id does not matter.
    fn service_url(&self, _id: ExecutionId) -> &str {
        &self.base
    }

    /// Returns the URL of an execution. `rest` is the part after the id: a path, a query or empty.
    fn execution_url(&self, id: ExecutionId, rest: &str) -> String {
        format!("{}{}", self.service_url(id), path(id, rest))
    }
}

/// Returns how long a stream of statuses may be silent before it counts as dead: two and a quarter
/// times `heartbeat`, which is the interval at which statuses are repeated. So one lost heartbeat
/// is tolerated.
#[must_use]
pub fn silence(heartbeat: Duration) -> Duration {
    heartbeat.saturating_mul(2).saturating_add(heartbeat / 4)
}

/// Returns the path of an execution. `rest` is the part after the id: a longer path, a query or
/// empty.
fn path(id: ExecutionId, rest: &str) -> String {
    format!("/v1/executions/{id}{rest}")
}
