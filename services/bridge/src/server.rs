//! The listener: connections in, sessions and pages out, and an orderly stop.

mod boxed;
pub mod mcp;
pub mod pages;
pub mod upgrade;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::routing::{any, get};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use protocol::{Guard, Limits};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::config::{Config, Settings};
use crate::metrics::Metrics;
use crate::session::Shared;
use crate::session::departures::Departures;
use crate::session::executor::OWED;
use crate::session::outbound::{self, Outbound};
use crate::session::room::{self, Room};
use crate::upstream::Upstream;
use crate::viewer;
use crate::viewer::buffer::Skip;
use boxed::{Peer, Rule};

/// A request's head must be here in this time.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The longest head of a request, and the size of a connection's read and write buffers, in bytes.
const HEAD_BYTES: usize = 32 * 1024;
/// Connections without a session at once, beside one for each session: all of them may reconnect at
/// the same time.
const WAITING: usize = 512;
/// The most connections at once that are being refused for too many sessions.
const REFUSALS: usize = 256;
/// Request bodies of `/mcp` may take one part in so many of `inboundBytes`, beside the messages. They
/// have a budget of their own: what they carry becomes a message to this bridge, which must find
/// room while its body is still held.
const MCP_SHARE: u64 = 4;
/// A message waits for this fraction of the ping interval (one in so many) before it evicts
/// another.
const PATIENCE: u32 = 20;
/// What the kernel holds for a peer that does not read, in bytes (it doubles this).
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// How often claude-api's limits are asked for, while unknown and then.
const LIMITS_EVERY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// After an error of accept(2), as when descriptors are out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The service name in compose.yaml.
const SERVICE_NAME: &str = "bridge";

/// What all requests share.
#[derive(Debug, Clone)]
pub struct App {
    /// What sessions share.
    pub shared: Arc<Shared>,
    /// Open sessions.
    pub open: Arc<AtomicU64>,
    /// Places for connections that are refused with -32001. A place is taken at the upgrade, for 3
    /// s at most. Nobody waits for a place: without one the answer is 503.
    pub refusals: Arc<Semaphore>,
    guard: Arc<Guard>,
    boxed: Arc<Rule>,
    mcp: ::mcp::http::Service,
}

/// A place among the sessions, until dropped.
#[derive(Debug)]
pub struct Place(App);

impl App {
    /// None when there are too many sessions.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        let most = self.shared.own.sessions;
        let more = |n: u64| (n < most).then_some(n + 1);
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .ok()?;
        let metrics = &self.shared.viewer.metrics;
        metrics.sessions_opened.inc();
        Some(Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves until `shutdown`; then closes all sessions with 1012 and drains within `shutdownMs`.
///
/// # Errors
/// When the HTTP client cannot be made, or the listener has no address.
pub async fn run(
    listener: TcpListener,
    config: &Config,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let Settings {
        port: _,
        log_format: _,
        limits: own,
        times,
        disconnect_grace,
        views,
        mcp,
    } = settings;
    let upstream = Upstream::new(&config.claude_api_url, times)?;
    let boxed = Rule::new(&config.claude_api_url, upstream.clone());
    let boxed = Arc::new(boxed.context("the addresses of this machine cannot be read")?);
    let (known, limits) = watch::channel(None);
    let stop = CancellationToken::new();
    let tracker = TaskTracker::new();
    let (large, small) = room::shares(own.inbound_bytes);
    let patience = Duration::from_millis(own.ping_ms) / PATIENCE;
    let outbound = outbound::Limits::new(own.outbound_bytes, own.sessions, own.status_bytes);
    let shutdown_time = Duration::from_millis(own.shutdown_ms);
    let user_timeout = u32::try_from(own.ping_ms.saturating_mul(2)).unwrap_or(u32::MAX);
    let shared = Arc::new(Shared {
        viewer: viewer::Context {
            upstream: upstream.clone(),
            skip: Skip {
                bytes: own.skip_bytes,
                lines: own.skip_lines,
            },
            status_bytes: usize::try_from(own.status_bytes).unwrap_or(usize::MAX),
            metrics: Arc::new(Metrics::new(&upstream.retries)),
        },
        limits,
        own: own.clone(),
        views,
        inbound: Room::new(large, patience),
        small: Room::new(small, patience),
        outbound: Outbound::new(outbound),
        lists: Arc::new(Semaphore::new(crate::session::pages::BUDGET_BYTES)),
        disconnect_grace,
        owed: Semaphore::new(OWED),
        departures: Departures::default(),
        tracker: tracker.clone(),
        shutdown: stop.clone(),
    });
    let mcp = mcp::Local {
        address: listener.local_addr()?,
        settings: mcp,
        body_bytes: usize::try_from(shared.own.message_bytes).unwrap_or(usize::MAX),
        inbound_bytes: usize::try_from(own.inbound_bytes / MCP_SHARE).unwrap_or(usize::MAX),
    };
    let mut hosts: Vec<_> = std::iter::once(SERVICE_NAME.to_owned())
        .chain(trimmed(&config.allowed_hosts))
        .collect();
    hosts.extend(mcp.own_host());
    let origins: Vec<_> = trimmed(&config.allowed_origins).collect();
    let metrics = shared.viewer.metrics.clone();
    let mcp_stop = CancellationToken::new();
    let mcp = mcp.service(metrics, mcp_stop.clone());
    tracker.spawn(mcp.clone().drain());
    let guard = Guard::new(hosts, origins);
    let app = App {
        shared,
        open: Arc::default(),
        refusals: Arc::new(Semaphore::new(REFUSALS)),
        guard: Arc::new(guard),
        boxed: Arc::clone(&boxed),
        mcp,
    };
    let waiting = Waiting {
        most: WAITING.saturating_add(usize::try_from(own.sessions).unwrap_or(usize::MAX)),
        places: Arc::default(),
    };
    tracing::info!(addr = %listener.local_addr()?, claude_api = %config.claude_api_url, "listening");
    tracker.spawn(learn_limits(upstream, own, known, stop.clone()));
    let warns = async move { boxed.warn_of_shared_address().await };
    tracker.spawn(stop.clone().run_until_cancelled_owned(warns));
    let router = router(app);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    prepare(&stream, user_timeout);
                    let place = waiting.enter();
                    let (router, stop) = (router.clone(), stop.clone());
                    tracker.spawn(connection(stream, peer.ip(), router, stop, place));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    tracing::info!("stopping");
    // First, so that the MCP calls know why they lose their sessions and get no new ones.
    mcp_stop.cancel();
    stop.cancel();
    drop(listener);
    tracker.close();
    if tokio::time::timeout(shutdown_time, tracker.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            left = tracker.len(),
            "not everything ended within shutdown-ms"
        );
    }
    tracing::info!("stopped");
    Ok(())
}

fn trimmed(list: &[String]) -> impl Iterator<Item = String> {
    let list = list.iter().map(|item| item.trim().to_owned());
    list.filter(|item| !item.is_empty())
}

fn router(app: App) -> Router {
    Router::new()
        .route("/", get(pages::front))
        .route("/ws", get(upgrade::upgrade))
        .route("/ws/mcp", get(upgrade::upgrade))
        .route("/mcp", any(mcp::handle))
        .route("/health/live", get(pages::live))
        .route("/health/ready", get(pages::ready))
        .route("/health", get(pages::ready))
        .route("/metrics", get(pages::metrics))
        .fallback(pages::unknown_path)
        .method_not_allowed_fallback(pages::method_not_allowed)
        // Around everything, the fallbacks too: before any upgrade.
        .layer(axum::middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

async fn guard(
    axum::extract::State(app): axum::extract::State<App>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    let response = match app.boxed.refusal(&request).await {
        Some(refusal) => refusal,
        None => match app.guard.check(request.uri(), request.headers()) {
            Ok(()) => next.run(request).await,
            Err(foreign) => pages::foreign(&foreign),
        },
    };
    if let Some(pages::Refused(kind)) = response.extensions().get() {
        app.shared.viewer.metrics.refused(kind);
    }
    response
}

/// None of these is vital, so a failure is only said.
fn prepare(stream: &TcpStream, user_timeout_ms: u32) {
    let set = || {
        stream.set_nodelay(true)?;
        rustix::net::sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER_BYTES)?;
        rustix::net::sockopt::set_tcp_user_timeout(stream, user_timeout_ms)?;
        std::io::Result::Ok(())
    };
    if let Err(error) = set() {
        tracing::debug!(%error, "socket options");
    }
}

/// Connections without a session: in a handshake, in a request, or idle.
///
/// - Taken when: accept(2) returns; released by the upgrade or the end.
/// - Who waits behind whom: nobody. When all places are taken, the oldest connection is closed. A
///   request's head must arrive within 10 s; an idle connection has as long.
/// - The other direction: hyper reads no further while the client does not read its answer, and the
///   kernel drops a peer that acknowledges no data for two pings.
#[derive(Debug, Clone)]
struct Waiting {
    most: usize,
    // A plain lock: held for a look into the table, never over an await.
    places: Arc<Mutex<(u64, BTreeMap<u64, CancellationToken>)>>,
}

#[derive(Debug)]
struct WaitingPlace(Waiting, u64, CancellationToken);

impl Waiting {
    fn enter(&self) -> WaitingPlace {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, open) = &mut *places;
        if open.len() >= self.most
            && let Some((_, oldest)) = open.pop_first()
        {
            oldest.cancel();
        }
        *last += 1;
        let close = CancellationToken::new();
        open.insert(*last, close.clone());
        WaitingPlace(self.clone(), *last, close)
    }
}

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        let Self(waiting, number, _) = self;
        let mut places = waiting
            .places
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        places.1.remove(number);
    }
}

async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    router: Router,
    stop: CancellationToken,
    place: WaitingPlace,
) {
    let router = router.map_request(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request
    });
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = place.2.cancelled() => {
            tracing::debug!("too many connections without a session; closed the oldest");
            return;
        }
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended in an error");
    }
}

/// Keeps `connected.limits` fresh; nobody waits for it.
async fn learn_limits(
    upstream: Upstream,
    own: Limits,
    known: watch::Sender<Option<Limits>>,
    stop: CancellationToken,
) {
    let mut pause = LIMITS_EVERY[0];
    let learn = async {
        loop {
            match upstream.limits().await {
                Ok(theirs) => {
                    upstream.learn_heartbeat(theirs.heartbeat_ms);
                    known.send_replace(Some(merge(theirs, &own)));
                    pause = LIMITS_EVERY[1];
                }
                Err(error) => tracing::debug!(%error, "claude-api's limits are not known"),
            }
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = learn => {}
    }
}

/// claude-api's, but for what the bridge itself enforces.
fn merge(theirs: Limits, own: &Limits) -> Limits {
    Limits {
        sessions: own.sessions,
        message_bytes: own.message_bytes,
        inbound_bytes: own.inbound_bytes,
        outbound_bytes: own.outbound_bytes,
        batch: own.batch,
        status_bytes: own.status_bytes.min(theirs.status_bytes),
        ping_ms: own.ping_ms,
        skip_bytes: own.skip_bytes,
        skip_lines: own.skip_lines,
        ..theirs
    }
}
