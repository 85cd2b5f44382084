//! The HTTP server: accepts connections on a listening TCP socket until a shutdown begins. A
//! shutdown lets running executions and open responses finish within a time limit; then the rest is
//! cut off.

mod excess;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use protocol::ProblemType;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::access::guarded::AuditRecord;
use crate::checks;
use crate::http;
use crate::http::boxed::{ConnectionPeer, KnownPeers};
pub use crate::net::Listeners;
use crate::net::activity::{Activity, Answered, Received, Timeouts};
use crate::net::{Accepted, Connection, Connections};
use crate::reach;
use crate::service::Service;
use crate::webhooks::Post;

/// How long HTTP responses may still be sent after every execution has ended during a shutdown. Two
/// seconds are enough to send the last bytes to a client that reads. The limit of the whole
/// shutdown, `shutdownMs`, may cut this time short.
const LAST_RESPONSES_WAIT: Duration = Duration::from_secs(2);
/// The size of the read buffer of one HTTP connection, in bytes. It also bounds the request line
/// and the headers of a request, which must fit into the buffer.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// Serves HTTP on `listeners` until `shutdown` resolves, then stops the service.
///
/// During the stop, new executions are refused with 503 `stopping`, and open streams continue.
/// Executions that still run at the end of the grace period become `interrupted` with the reason
/// `service_stopped`, except those whose answer is complete (docs/protocol.md, "Ends"). The stop
/// takes at most `shutdownMs` (docs/protocol.md, "Limits").
///
/// # Errors
/// The network addresses of this machine cannot be read.
pub async fn run(
    service: Arc<Service>,
    mut listeners: Listeners,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let known_peers = Arc::new(KnownPeers::new(&service.engine.settings.args.network)?);
    let token = service.stop_token();
    tokio::spawn(checks::keep_checking(Arc::clone(&service.engine), token));
    tokio::spawn(Arc::clone(&service).run_retention());
    let courier = match &service.engine.credentials {
        Some(credentials) => Post::of_credentials(credentials),
        None => Post::without_connection(),
    };
    service.background(Arc::clone(&service).run_webhooks(Arc::new(courier)));
    reach::warn_of_shared_address(&service);
    tokio::spawn(reach::call_published_port(Arc::clone(&service)));
    tokio::spawn(Arc::clone(&service).watch_tokens());
    if let (Some(credentials), Some(listener)) =
        (&service.engine.credentials, listeners.credentials.take())
    {
        // Without the stop's token: executions that end during the stop still use their grants.
        tokio::spawn(credentials.clone().serve(listener));
        tokio::spawn(Arc::clone(&service).watch_budgets());
    }
    let args = &service.engine.settings.args.connections;
    let timeouts = Timeouts {
        head: Duration::from_millis(args.head_ms),
        keep_alive: Duration::from_millis(args.keep_alive_ms),
    };
    let router = http::router(Arc::clone(&service));
    let max_per_peer = args.connections_per_peer;
    let mut connections = Connections::new(listeners, service.connection_limit, max_per_peer);
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    // The listener stays open while running executions drain: their readers may reconnect, and new
    // executions are refused with `stopping`.
    let mut stop_executions = std::pin::pin!(async {
        shutdown.await;
        Arc::clone(&service).stop().await
    });
    let shutdown_end = loop {
        tokio::select! {
            biased;
            shutdown_end = &mut stop_executions => break shutdown_end,
            accepted = connections.accept() => {
                let Accepted { peer, is_proxy_port, .. } = accepted;
                let peer = ConnectionPeer::new(&service, &known_peers, peer, is_proxy_port);
                let (service, router, stop) = (Arc::clone(&service), router.clone(), stop.clone());
                tracker.spawn(serve_or_refuse(service, accepted, peer, timeouts, router, stop));
            }
        }
    };
    drop(connections);
    stop.cancel();
    tracker.close();
    // Streams that are still open after this time are cut.
    let deadline = shutdown_end.min(Instant::now() + LAST_RESPONSES_WAIT);
    let _ = tokio::time::timeout_at(deadline, tracker.wait()).await;
    Ok(())
}

/// Serves the HTTP requests of a new connection until it closes. A connection beyond the limit of
/// its peer is refused instead, unless the peer is exempt. The permit of the connection, which
/// counts against the limits of open connections, is released at the end.
async fn serve_or_refuse(
    service: Arc<Service>,
    accepted: Accepted,
    peer: ConnectionPeer,
    timeouts: Timeouts,
    router: Router,
    stop: CancellationToken,
) {
    let Accepted {
        connection,
        is_excess,
        activity,
        permit,
        peer: _,
        is_proxy_port: _,
    } = accepted;
    if is_excess && !peer.is_exempt().await {
        service
            .engine
            .metrics
            .refused(ProblemType::TooManyConnections);
        let record = AuditRecord {
            token: "-",
            principal: None,
            peer: peer.address(),
            method: "CONNECT",
            path: "-",
            outcome: ProblemType::TooManyConnections,
        };
        let guarded = &service.engine.access.guarded;
        guarded.log(record, std::time::Instant::now());
        let limit = service.engine.settings.limits.connections_per_peer;
        tokio::select! {
            () = excess::refuse(connection, limit, READ_BUFFER_BYTES) => {}
            _ = activity.close_due(timeouts) => {}
            () = stop.cancelled() => {}
        }
    } else {
        serve(connection, peer, activity, timeouts, router, stop).await;
    }
    drop(permit);
}

/// Serves the HTTP requests of one connection until it closes. A connection that exceeds one of
/// `timeouts` is closed. When `stop` is cancelled, the response in progress is finished and no
/// further request is read.
async fn serve(
    stream: Connection,
    peer: ConnectionPeer,
    activity: Activity,
    timeouts: Timeouts,
    router: Router,
    stop: CancellationToken,
) {
    let requests = activity.clone();
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (activity, router, peer) = (requests.clone(), router.clone(), peer.clone());
        let exchange = activity.begin();
        async move {
            let received = activity.clone();
            let mut request = request.map(|body| {
                Body::new(Received {
                    body,
                    activity: received,
                })
            });
            request.extensions_mut().insert(peer);
            let Ok(response) = router.oneshot(request).await;
            if http::is_stream(&response) {
                activity.stream();
            }
            Ok::<_, Infallible>(response.map(|body| Answered {
                body,
                _exchange: exchange,
            }))
        }
    });
    let connection = http1::Builder::new()
        // `Activity` enforces the time limits. hyper has one limit alone, which would treat an idle
        // connection as a late head.
        .header_read_timeout(None)
        .max_buf_size(READ_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        reason = activity.close_due(timeouts) => {
            tracing::debug!(why = reason, "closed the connection of a client");
            Ok(())
        }
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "the connection of a client ended with an error");
    }
}

#[cfg(test)]
mod tests;
