//! The HTTP server for the sandbox. Each connection serves one request, so that no byte of one
//! request can become part of another.

mod admit;
mod connection;
pub mod context;
mod head_slots;
mod linger;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use context::Context;
use head_slots::HeadSlots;
use linger::LingerPlaces;

/// The pause after a failed accept(2), for example when no file descriptor is left (EMFILE).
/// Without it the accept loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the connections of `listener` until `stop` is cancelled. Then waits for the open
/// requests, and cuts those that are left after `shutdown_time`.
pub async fn run(
    context: Context,
    listener: TcpListener,
    shutdown_time: Duration,
    stop: CancellationToken,
) {
    let context = Arc::new(context);
    let slots = HeadSlots::default();
    let places = LingerPlaces::default();
    let cut = CancellationToken::new();
    let tracker = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let local = stream.local_addr().ok();
                let task = connection::handle(
                    Arc::clone(&context),
                    stream,
                    is_local(peer, local),
                    slots.take(),
                    places.clone(),
                );
                tracker.spawn(cut.clone().run_until_cancelled_owned(task));
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
    drop(listener);
    tracker.close();
    if tokio::time::timeout(shutdown_time, tracker.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            open = tracker.len(),
            "cut the requests that were still open"
        );
        cut.cancel();
        tracker.wait().await;
    }
}

/// Returns whether a client runs on this machine or in this container: its address is loopback, or
/// the one that it called.
fn is_local(peer: SocketAddr, local: Option<SocketAddr>) -> bool {
    let peer = peer.ip().to_canonical();
    peer.is_loopback() || local.is_some_and(|local| local.ip().to_canonical() == peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_local_from_loopback_or_from_the_address_that_it_called() {
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 1);
        let own = Some(address("10.0.0.5"));
        for (peer, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.5", true),
            ("::ffff:10.0.0.5", true),
            ("10.0.0.6", false),
            ("::ffff:10.0.0.6", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(is_local(address(peer), own), expected, "{peer}");
        }
        assert!(!is_local(address("10.0.0.5"), None));
    }
}
