//! The HTTP client for claude-api: short calls with a time limit, and the two streams of an
//! execution (statuses, output), which hide retries and broken connections. No other module of the
//! bridge sends or retries requests.
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

/// How long a TCP connection to claude-api may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval of TCP keepalive probes to claude-api. Without them a stream of output would wait
/// forever for a host that is gone, because an execution may write nothing for long.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long an unused connection is kept. Shorter than the idle timeout of common proxies, so the
/// bridge does not send a request on a connection that they have closed.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// How long calls to claude-api may take, and how long its streams may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The limit of a short call (control, status, list, events or input), its retries included.
    pub call: Duration,
    /// How long an execute is retried until claude-api has accepted it.
    pub accept: Duration,
    /// The limit of one attempt to hand an execute to claude-api.
    pub attempt: Duration,
    /// How long a stream's answer may take to begin. Then the bridge reconnects.
    pub head: Duration,
    /// How long a stream of statuses may be silent before the bridge reconnects. Longer if
    /// claude-api's heartbeat requires it.
    pub silence: Duration,
    /// How long no byte of output may arrive, although claude-api is known to have more, before the
    /// bridge reconnects.
    pub stall: Duration,
    /// How often a view repeats the last status to its client while claude-api cannot be reached.
    pub heartbeat: Duration,
}

/// The client for one claude-api. A clone uses the same connections and counters.
#[derive(Debug, Clone)]
pub struct Upstream {
    client: reqwest::Client,
    base: String,
    /// The id of the session for which the streams are read, sent to claude-api. `None` for other
    /// calls.
    viewer: Option<Arc<str>>,
    /// The time limits of calls and streams.
    pub times: Times,
    /// How often claude-api repeats a status, in milliseconds; 0 while unknown.
    heartbeat_ms: Arc<AtomicU64>,
    /// The numbers of repeated requests, for `/metrics`.
    pub retries: Retries,
}

impl Upstream {
    /// Creates the client for the claude-api at `base`, which is `http://host:port` without a path.
    /// Nothing is sent yet, and no proxy is used.
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

    /// Returns a copy whose streams name `session` as their viewer. So claude-api recognizes a late
    /// stream of an ended session, and does not count that stream as a new viewer.
    #[must_use]
    pub fn for_viewer(&self, session: Arc<str>) -> Self {
        Self {
            viewer: Some(session),
            ..self.clone()
        }
    }

    /// Stores how often claude-api repeats a status, in milliseconds. All clones use it to judge
    /// silent streams.
    pub fn learn_heartbeat(&self, milliseconds: u64) {
        self.heartbeat_ms.store(milliseconds, Ordering::Relaxed);
    }

    /// Returns how long a stream of statuses may be silent before it counts as dead: two and a
    /// quarter heartbeats, the bridge's or claude-api's, whichever is longer.
    fn silence(&self) -> Duration {
        let theirs = Duration::from_millis(self.heartbeat_ms.load(Ordering::Relaxed));
        self.times.silence.max(silence(theirs))
    }

    /// Returns the base URL of the service that has this execution. There is only one service, so
    /// the id does not matter.
    fn service_url(&self, _id: ExecutionId) -> &str {
        &self.base
    }

    fn execution_url(&self, id: ExecutionId, rest: &str) -> String {
        format!("{}{}", self.service_url(id), path(id, rest))
    }
}

/// Returns how long a stream may be silent before it counts as dead: two and a quarter heartbeats.
#[must_use]
pub fn silence(heartbeat: Duration) -> Duration {
    heartbeat.saturating_mul(2).saturating_add(heartbeat / 4)
}

fn path(id: ExecutionId, rest: &str) -> String {
    format!("/v1/executions/{id}{rest}")
}
