//! The HTTP server of the bridge. It accepts connections, upgrades them to WebSocket sessions, and
//! serves MCP, health and metrics. When the bridge stops, it closes all sessions in order.

pub mod app;
mod boxed;
mod connections;
mod limits;
pub mod mcp;
pub mod pages;
mod problems;
pub mod upgrade;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::routing::{any, get};
use protocol::Guard;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Settings};
use crate::session::shared::Shared;
use crate::upstream::Upstream;
use app::App;
use boxed::BoxRule;
use connections::{ConnectionSlots, serve, set_options};

/// The most surplus WebSocket sessions that are refused politely at the same time: they are opened,
/// get the JSON-RPC error -32001 (`TOO_MANY_SESSIONS`), and close. Further ones get HTTP 503
/// (Service Unavailable), which costs no WebSocket.
const REFUSALS: usize = 256;
/// The divisor of `inboundBytes` that gives the memory for HTTP request bodies of `/mcp`: a quarter
/// of it. This memory is additional. While a body is held, its content also becomes a WebSocket
/// message to this bridge, which needs memory of its own.
const MCP_SHARE: u64 = 4;
/// The pause after a failed accept(2), for example when no file descriptor is left (EMFILE).
/// Without it the accept loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The host name of the bridge in compose.yaml. Clients in that network may use it in the HTTP
/// header `Host`.
const SERVICE_NAME: &str = "bridge";

/// Runs the bridge on `listener` until `shutdown` completes. Then closes all WebSocket sessions
/// with the close code 1012 (service restart), and waits up to `shutdownMs` for their tasks.
/// Returns `Ok` also if some tasks did not end in time.
///
/// # Errors
/// Returns an error if the HTTP client cannot be created, the addresses of this machine cannot be
/// read, or the listener has no address.
pub async fn run(
    listener: TcpListener,
    config: &Config,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let own_limits = settings.limits.clone();
    let upstream = Upstream::new(&config.claude_api_url, settings.times)?;
    let boxed = BoxRule::new(&config.claude_api_url, upstream.clone());
    let boxed = Arc::new(boxed.context("cannot read the addresses of this machine")?);
    let (known, limits) = watch::channel(None);
    let stop = CancellationToken::new();
    let tracker = TaskTracker::new();
    let shutdown_time = Duration::from_millis(own_limits.shutdown_ms);
    let user_timeout = u32::try_from(own_limits.ping_ms.saturating_mul(2)).unwrap_or(u32::MAX);
    let shared = Shared::new(
        &settings,
        upstream.clone(),
        limits,
        tracker.clone(),
        stop.clone(),
    );
    let mcp = mcp::Endpoint {
        address: listener.local_addr()?,
        settings: settings.mcp,
        body_bytes: usize::try_from(shared.own_limits.message_bytes).unwrap_or(usize::MAX),
        inbound_bytes: usize::try_from(own_limits.inbound_bytes / MCP_SHARE).unwrap_or(usize::MAX),
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
        open_sessions: Arc::default(),
        refusals: Arc::new(Semaphore::new(REFUSALS)),
        guard: Arc::new(guard),
        boxed: Arc::clone(&boxed),
        mcp,
    };
    let slots = ConnectionSlots::new(own_limits.sessions);
    let (addr, claude_api) = (listener.local_addr()?, &config.claude_api_url);
    tracing::info!(%addr, %claude_api, "listening");
    tracker.spawn(limits::keep_fresh(
        upstream,
        own_limits,
        known,
        stop.clone(),
    ));
    let warning = async move { boxed.warn_of_shared_address().await };
    tracker.spawn(stop.clone().run_until_cancelled_owned(warning));
    let router = router(app);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    set_options(&stream, user_timeout);
                    let slot = slots.take();
                    let (router, stop) = (router.clone(), stop.clone());
                    tracker.spawn(serve(stream, peer.ip(), router, stop, slot));
                }
                Err(error) => {
                    tracing::warn!(
                        %error,
                        "could not accept a connection; the next attempt follows in 100 ms"
                    );
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    tracing::info!("stopping; closing all sessions");
    // MCP first, so that its calls end because of the stop and not because of lost sessions.
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
            "some sessions or calls did not end within --shutdown-ms; exiting without them"
        );
    }
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
    Router::new()
        .route("/", get(pages::front))
        .route("/ws", get(upgrade::upgrade))
        .route("/ws/mcp", get(upgrade::upgrade))
        .route("/mcp", any(mcp::handle))
        .route("/health/live", get(pages::live))
        .route("/health/ready", get(pages::ready))
        .route("/health", get(pages::ready))
        .route("/metrics", get(pages::metrics))
        .fallback(problems::unknown_path)
        .method_not_allowed_fallback(problems::method_not_allowed)
        // Around all routes and fallbacks, so that the guard runs before any upgrade.
        .layer(axum::middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

/// Checks the access of every HTTP request before its handler runs. Refuses requests from
/// claude-api's container, and requests whose `Host` or `Origin` header is not allowed. Also counts
/// each refused request in `/metrics`.
async fn guard(
    axum::extract::State(app): axum::extract::State<App>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    let response = match app.boxed.refusal(&request).await {
        Some(refusal) => refusal,
        None => match app.guard.check(request.uri(), request.headers()) {
            Ok(()) => next.run(request).await,
            Err(foreign) => problems::foreign(&foreign),
        },
    };
    if let Some(problems::Refused(kind)) = response.extensions().get() {
        app.shared.viewer.metrics.refused(kind);
    }
    response
}
