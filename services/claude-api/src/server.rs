//! Serving: from a bound listener to the end of the drain.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::http;
use crate::net::Connections;
use crate::readiness;
use crate::service::Service;

/// How long open responses may go on after the stop, when every execution has ended; never beyond
/// `shutdownMs`.
const LAST_RESPONSES: Duration = Duration::from_secs(2);

/// Serves until `shutdown` resolves, then stops as the contract says.
///
/// # Errors
/// The listener failed.
pub async fn run(
    service: Arc<Service>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    tokio::spawn(readiness::keep_checking(
        Arc::clone(&service),
        service.stop_token(),
    ));
    tokio::spawn(Arc::clone(&service).keep_expiring());
    let router = http::router(Arc::clone(&service));
    let (stopped, all_stopped) = tokio::sync::oneshot::channel();
    let stopping = Arc::clone(&service);
    // The listener stays open while running executions drain: their readers may come back, and new ones are told to wait.
    let graceful = async move {
        shutdown.await;
        let over = stopping.stop().await;
        let _ = stopped.send(over);
    };
    let listener = Connections::new(listener);
    let serve = axum::serve(listener, router).with_graceful_shutdown(graceful);
    let limit = async move {
        // A sender that is gone means that serving ended by itself.
        let over = all_stopped.await;
        let last = Instant::now() + LAST_RESPONSES;
        tokio::time::sleep_until(over.map_or(last, |over| over.min(last))).await;
    };
    tokio::select! {
        result = serve => result,
        () = limit => Ok(()),
    }
}
