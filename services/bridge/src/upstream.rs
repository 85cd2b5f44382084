//! The client for claude-api: calls that end within their time, and the two streams of an execution
//! (statuses, output), which hide retries and broken connections. No other module of the bridge
//! sends or retries requests.
//!
//! - [`accept`]: the PUT of an execute, until claude-api has accepted it
//! - [`calls`], [`events`], `attach`: the short calls for requests
//! - [`cancel`]: cancels that the bridge sends on its own
//! - [`follow`], [`output`]: the streams of a view. `dedicated_stream` is a GET on its own
//!   connection.
//! - `response`, [`errors`], [`retry`]: the answers, failures and delays of all of them

pub mod accept;
mod attach;
pub mod calls;
pub mod cancel;
mod dedicated_stream;
pub mod errors;
pub mod events;
pub mod follow;
pub mod output;
mod response;
pub mod retry;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::ExecutionId;

use crate::metrics::Retries;

/// The longest time to open a TCP connection to claude-api.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval of TCP keepalive probes to a silent claude-api. Without them an idle stream
/// (output) would wait forever for a host that is gone.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// The idle time after which a connection is closed, shorter than that of common proxies.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// The longest times of calls to claude-api and of its streams.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// A control, status, list, events or input call, its retries included.
    pub call: Duration,
    /// The time for which an execute is retried before acceptance.
    pub accept: Duration,
    /// One attempt of the PUT of an execute.
    pub attempt: Duration,
    /// The head of a stream's answer. A stream without a head by then is dead.
    pub head: Duration,
    /// The silence after which a follow stream is dead, unless claude-api's heartbeat is longer.
    pub silence: Duration,
    /// The time without a byte after which an output stream reconnects, if claude-api is known to
    /// have more bytes.
    pub stall: Duration,
    /// The interval at which a status is repeated while claude-api cannot be reached.
    pub heartbeat: Duration,
}

/// The client for claude-api. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstream {
    client: reqwest::Client,
    base: String,
    /// The session that reads the streams.
    viewer: Option<Arc<str>>,
    /// The times of calls and streams.
    pub times: Times,
    /// claude-api's heartbeat in milliseconds; 0 while unknown.
    heartbeat_ms: Arc<AtomicU64>,
    /// Counters of repeated requests.
    pub retries: Retries,
}

impl Upstream {
    /// Creates the client for one claude-api. `base` is `http://host:port`, without a path.
    ///
    /// # Errors
    /// The HTTP client cannot be created.
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
            base: base.trim_end_matches('/').to_owned(),
            viewer: None,
            times,
            heartbeat_ms: Arc::default(),
            retries: Retries::default(),
        })
    }

    /// Returns a copy whose streams name this session. So claude-api recognizes a late stream of an
    /// ended session, and does not count that stream as a new viewer.
    #[must_use]
    pub fn for_viewer(&self, session: Arc<str>) -> Self {
        Self {
            viewer: Some(session),
            ..self.clone()
        }
    }

    /// Notes claude-api's heartbeat, in milliseconds.
    pub fn learn_heartbeat(&self, milliseconds: u64) {
        self.heartbeat_ms.store(milliseconds, Ordering::Relaxed);
    }

    /// Returns the time after which a silent follow stream is dead: a little more than two
    /// heartbeats, the bridge's or claude-api's, whichever is longer.
    fn silence(&self) -> Duration {
        let theirs = Duration::from_millis(self.heartbeat_ms.load(Ordering::Relaxed));
        self.times.silence.max(silence(theirs))
    }

    /// Returns the base URL of the service that holds this execution. There is only one service.
    fn service_url(&self, _id: ExecutionId) -> &str {
        &self.base
    }

    fn execution_url(&self, id: ExecutionId, rest: &str) -> String {
        format!("{}{}", self.service_url(id), path(id, rest))
    }
}

/// Returns the time after which a silent stream is dead: two heartbeats and a quarter.
#[must_use]
pub fn silence(heartbeat: Duration) -> Duration {
    heartbeat.saturating_mul(2).saturating_add(heartbeat / 4)
}

fn path(id: ExecutionId, rest: &str) -> String {
    format!("/v1/executions/{id}{rest}")
}
