//! The HTTP server of the bridge. It accepts connections, upgrades them to WebSocket sessions, and
//! serves MCP, health and metrics. When the bridge stops, it closes all sessions in order.

mod access;
pub mod app;
mod audit;
mod boxed;
mod connections;
mod cors;
mod guard;
mod limits;
pub mod mcp;
pub mod pages;
mod peer;
mod problems;
mod tickets;
pub mod upgrade;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use addresses::{ExemptPeers, OwnAddresses, TrustedProxies};
use anyhow::Context as _;
use axum::Router;
use axum::routing::{any, get, post};
use protocol::Guard;
use telemetry::Tracer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::judge::Judge;
use crate::budget::session_counts::SessionCounts;
use crate::config::{Config, Settings};
use crate::session::shared::Shared;
use crate::upstream::Upstream;
use access::Access;
use app::App;
use boxed::BoxRule;
use connections::{Accepted, Connections, set_options};

/// The most surplus WebSocket sessions that are refused politely at the same time: they are opened,
/// get the JSON-RPC error -32001 (`TOO_MANY_SESSIONS`), and close. Further ones get HTTP 503
/// (Service Unavailable), which costs no WebSocket.
const REFUSALS: usize = 256;
/// The divisor of `inboundBytes` that gives the memory for HTTP request bodies of `/mcp`: a quarter
/// of it. This memory is additional. While a body is held, its content also becomes a WebSocket
/// message to this bridge, which needs memory of its own.
const MCP_DIVISOR: u64 = 4;
/// The pause after a failed accept(2), for example when no file descriptor is left (EMFILE).
/// Without it the accept loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The host name of the bridge in compose.yaml. Clients in that network may use it in the HTTP
/// header `Host`. It is also the name of this service in traces.
const SERVICE_NAME: &str = "bridge";

/// The sockets on which a bridge listens.
#[derive(Debug)]
pub struct Listeners {
    /// The socket for clients.
    pub clients: TcpListener,
    /// The socket for reverse proxies, whose header `X-Forwarded-For` is required and believed.
    /// `None` if there is none.
    pub proxies: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(clients: TcpListener) -> Self {
        Self {
            clients,
            proxies: None,
        }
    }
}

/// Accepts a connection, or waits forever for `None`.
async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Returns whether the bridge needs tokens because other machines reach it. `listens` is the
/// address on which it listens. The address of `--published-on` counts instead, if there is one.
/// False if the operator allows clients without a token.
fn requires_tokens(config: &Config, listens: IpAddr) -> bool {
    let reached = config
        .network
        .published_on
        .unwrap_or(listens)
        .to_canonical();
    !reached.is_loopback() && !config.network.allow_unauthenticated
}

/// Runs the bridge on `listeners` until `shutdown` completes. Then closes all WebSocket sessions
/// with the close code 1012 (service restart), and waits up to `shutdownMs` for their tasks.
/// Returns `Ok` also if some tasks did not end in time.
///
/// # Errors
/// Returns an error if an HTTP client or the export of traces cannot be created, the addresses of
/// this machine cannot be read, or the listener has no address.
pub async fn run(
    listeners: impl Into<Listeners>,
    config: &Config,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let Listeners { clients, proxies } = listeners.into();
    let own_limits = settings.limits.clone();
    let spans = telemetry::Counters::default();
    let tracer = match &settings.traces {
        None => Tracer::default(),
        Some(traces) => Tracer::start(SERVICE_NAME, traces.clone(), spans.clone())?,
    };
    let upstream =
        Upstream::new(&config.claude_api_url, settings.times)?.with_tracer(tracer.clone());
    let own_addresses =
        || OwnAddresses::read().context("cannot read the addresses of this machine");
    let boxed = BoxRule::new(&config.claude_api_url, upstream.clone(), own_addresses()?);
    let boxed = Arc::new(boxed);
    let (known, limits) = watch::channel(None);
    let stop = CancellationToken::new();
    let tracker = TaskTracker::new();
    let shutdown_time = Duration::from_millis(own_limits.shutdown_ms);
    let user_timeout = u32::try_from(own_limits.ping_ms.saturating_mul(2)).unwrap_or(u32::MAX);
    let judge = Judge::new(upstream.clone(), limits.clone(), stop.clone());
    let trusted_proxies = Arc::new(TrustedProxies::new(&settings.trusted_proxies));
    let exempt = ExemptPeers::new(own_addresses()?, trusted_proxies.clone(), &[]);
    let exempt = Arc::new(exempt);
    let address = clients.local_addr()?;
    let shared = Shared::new(
        &settings,
        &upstream.retries,
        &spans,
        limits,
        tracker.clone(),
        stop.clone(),
    );
    let mcp = mcp::Endpoint {
        address,
        settings: settings.mcp,
        body_bytes: usize::try_from(shared.own_limits.message_bytes).unwrap_or(usize::MAX),
        inbound_bytes: usize::try_from(own_limits.inbound_bytes / MCP_DIVISOR)
            .unwrap_or(usize::MAX),
    };
    let mut hosts: Vec<_> = std::iter::once(SERVICE_NAME.to_owned())
        .chain(trimmed(&config.allowed_hosts))
        .collect();
    hosts.extend(mcp.own_host());
    let origins: Vec<_> = trimmed(&config.allowed_origins).collect();
    let metrics = shared.viewer.metrics.clone();
    let mcp_stop = CancellationToken::new();
    let mcp = mcp.service(metrics.clone(), mcp_stop.clone());
    tracker.spawn(mcp.clone().drain());
    let connections = Connections::new(settings.connections, exempt.clone(), metrics, stop.clone());
    let app = App {
        shared,
        upstream: upstream.clone(),
        open_sessions: Arc::default(),
        session_counts: SessionCounts::default(),
        refusals: Arc::new(Semaphore::new(REFUSALS)),
        access: Access::new(judge.clone(), exempt, requires_tokens(config, address.ip())),
        proxies: trusted_proxies,
        audit: Arc::default(),
        guard: Arc::new(Guard::new(hosts, origins)),
        boxed: Arc::clone(&boxed),
        mcp,
    };
    tracing::info!(addr = %address, claude_api = %config.claude_api_url, "listening");
    tracker.spawn(limits::keep_fresh(
        upstream,
        own_limits,
        known,
        stop.clone(),
    ));
    let background = async move {
        tokio::join!(boxed.warn_of_shared_address(), judge.revoke_unjudged());
    };
    tracker.spawn(stop.clone().run_until_cancelled_owned(background));
    let router = router(app);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (accepted, is_proxy_port) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = clients.accept() => (accepted, false),
            accepted = accept(proxies.as_ref()) => (accepted, true),
        };
        match accepted {
            Ok((stream, peer)) => {
                set_options(&stream, user_timeout);
                let accepted = Accepted {
                    stream,
                    peer: peer.ip().to_canonical(),
                    is_proxy_port,
                };
                tracker.spawn(connections.handle(accepted, router.clone()));
            }
            Err(error) => {
                tracing::warn!(
                    %error,
                    "could not accept a connection; the next attempt follows in 100 ms"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    tracing::info!("stopping; closing all sessions");
    // MCP first, so that its calls end because of the stop and not because of lost sessions.
    mcp_stop.cancel();
    stop.cancel();
    drop((clients, proxies));
    tracker.close();
    if tokio::time::timeout(shutdown_time, tracker.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            left = tracker.len(),
            "some sessions or calls did not end within --shutdown-ms; exiting without them"
        );
    }
    tracer.shutdown().await;
    tracing::info!("stopped");
    Ok(())
}

/// Returns the items of a setting's list without surrounding blanks and without empty items.
fn trimmed(list: &[String]) -> impl Iterator<Item = String> {
    let list = list.iter().map(|item| item.trim().to_owned());
    list.filter(|item| !item.is_empty())
}

/// Creates the table of the bridge's HTTP paths. The access checks run before every handler.
fn router(app: App) -> Router {
    let cors = || cors::layer(app.guard.clone());
    let ticket = post(tickets::ticket).fallback(problems::only_post);
    Router::new()
        .route("/", get(pages::front))
        .route("/ws", get(upgrade::upgrade))
        .route("/ws/mcp", get(upgrade::upgrade))
        .route("/ws-ticket", ticket.layer(cors()))
        .route("/mcp", any(mcp::handle).layer(cors()))
        .route("/health/live", get(pages::live))
        .route("/health/ready", get(pages::ready))
        .route("/health", get(pages::ready))
        .route("/metrics", get(pages::metrics))
        .route("/protocol.json", get(pages::protocol).layer(cors()))
        .fallback(problems::unknown_path)
        .method_not_allowed_fallback(problems::method_not_allowed)
        // Around all routes and fallbacks, so that the guard runs before any upgrade.
        .layer(axum::middleware::from_fn_with_state(
            app.clone(),
            guard::guard,
        ))
        .with_state(app)
}
