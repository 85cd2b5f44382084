//! The service as a whole.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::check;
use crate::config::{ModelAccess, Settings};
use crate::control::Control;
use crate::forward::Forwarder;
use crate::forward::record::Ledger;
use crate::reports::Reports;
use crate::server;
use crate::server::context::Context;
use crate::table::Table;
use crate::upstream::Upstream;
use crate::upstream::origin::Origin;

/// Runs the service on `listener` until `shutdown` completes. Then waits for the open requests, and
/// cuts those that are left after the shutdown time.
///
/// # Errors
/// The listener has no address, or the API without TLS has a public address.
pub async fn run(
    listener: TcpListener,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let Settings {
        host,
        port: _,
        claude_api,
        allowed,
        prices,
        access,
        check,
        shutdown_time,
        log_format: _,
        webhooks,
        timing,
    } = settings;
    let ModelAccess {
        secrets,
        custom,
        connector,
    } = access;
    refuse_public(connector.origin()).await?;
    let forwarder = Arc::new(Forwarder {
        upstream: Upstream::new(connector),
        secrets,
        custom,
        allowed,
        ledger: Arc::new(Ledger {
            prices,
            reports: Reports::default(),
        }),
    });
    let table = Table::default();
    tracing::info!(
        addr = %address,
        %claude_api,
        upstream = %forwarder.upstream.origin(),
        credential = ?forwarder.secrets.state(),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    let control = Control {
        claude_api,
        own: host,
        table: table.clone(),
        forwarder: Arc::clone(&forwarder),
        webhooks: Arc::new(webhooks),
        timing,
    };
    let context = Context {
        table,
        forwarder: Arc::clone(&forwarder),
    };
    // The control connection outlives the open requests, whose reports it takes.
    let (stop, stop_background) = (CancellationToken::new(), CancellationToken::new());
    let background = TaskTracker::new();
    background.spawn(control.run(stop_background.clone()));
    let checks = check::run(forwarder, check);
    background.spawn(stop_background.clone().run_until_cancelled_owned(checks));
    background.close();
    let serving = server::run(context, listener, shutdown_time, stop.clone());
    let stopping = async {
        shutdown.await;
        tracing::info!("stopping");
        stop.cancel();
    };
    tokio::join!(serving, stopping);
    stop_background.cancel();
    background.wait().await;
    tracing::info!("stopped");
    Ok(())
}

/// Refuses a start with an API that would get the credential in plain text. A name that cannot be
/// resolved yet is accepted: each connection checks its address again.
async fn refuse_public(origin: &Origin) -> anyhow::Result<()> {
    let Ok(addresses) = tokio::net::lookup_host((origin.host(), origin.port())).await else {
        return Ok(());
    };
    let addresses: Vec<IpAddr> = addresses.map(|address| address.ip()).collect();
    let is_allowed = addresses.iter().any(|address| origin.allows(*address));
    if is_allowed || addresses.is_empty() {
        return Ok(());
    }
    Err(BadUpstream).with_context(|| format!("ANTHROPIC_BASE_URL {origin}"))
}

/// The error for an API without TLS that has only public addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host has public addresses only, to which the credential is not sent without TLS")]
pub struct BadUpstream;
