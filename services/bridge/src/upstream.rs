//! claude-api as the rest of the bridge sees it: calls that end within their time, and the two
//! streams of an execution (statuses, output) that hide retries and cuts. Nothing else in the
//! bridge knows how requests are sent and retried.
//!
//! - [`accept`]: an execute until claude-api has accepted it
//! - [`calls`], [`events`], `attach`: the short calls of requests
//! - [`cancel`]: cancels that the bridge sends by itself
//! - [`follow`], [`output`]: the streams of a view; `stream` is a slow GET on its own connection
//! - `response`, [`errors`], [`retry`]: answers, failures and delays of all of them

pub mod accept;
mod attach;
pub mod calls;
pub mod cancel;
pub mod errors;
pub mod events;
pub mod follow;
pub mod output;
mod response;
pub mod retry;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::ExecutionId;

use crate::metrics::Retries;

/// How long a TCP connection to claude-api may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The kernel asks a silent claude-api for a sign of life this often, so that a stream without
/// traffic of its own (output) does not wait for ever for a host that is gone.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Idle connections are closed before common proxies close them.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// The longest times of calls to claude-api and of its streams.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// A control, status, list, events or input call, its retries included.
    pub call: Duration,
    /// How long an execute is retried before acceptance.
    pub accept: Duration,
    /// One attempt to hand over an execute.
    pub attempt: Duration,
    /// The head of a stream's answer; a stream without a head by then is dead.
    pub head: Duration,
    /// A follow stream that is silent for longer is dead, unless claude-api's heartbeat is longer.
    pub silence: Duration,
    /// The output stream reconnects when bytes are known to be there and none arrived for this
    /// long.
    pub stall: Duration,
    /// The interval at which a status is repeated while claude-api cannot be reached.
    pub heartbeat: Duration,
}

/// The way to claude-api. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstream {
    client: reqwest::Client,
    base: String,
    /// The session that reads the streams.
    viewer: Option<Arc<str>>,
    /// The times of calls and streams.
    pub times: Times,
    /// claude-api's own heartbeat in milliseconds, as far as known.
    heartbeat_ms: Arc<AtomicU64>,
    /// Counters of repeated requests.
    pub retries: Retries,
}

impl Upstream {
    /// Creates the way to one claude-api. `base` is `http://host:port`, without a path.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(base: &str, times: Times) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .http1_only()
            // The operator's HTTP_PROXY is for the CLI, never for this hop.
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

    /// Returns a copy whose streams name this session. claude-api then knows a late stream of a
    /// session that left, and does not count it as a new viewer.
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

    /// Returns the address of the service that holds this execution. There is only one service.
    fn home(&self, _id: ExecutionId) -> &str {
        &self.base
    }

    fn execution_url(&self, id: ExecutionId, rest: &str) -> String {
        format!("{}{}", self.home(id), path(id, rest))
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
