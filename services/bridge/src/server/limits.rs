//! claude-api's limits, merged with the bridge's own for `connected` (docs/protocol.md, "Limits").

use std::time::Duration;

use protocol::Limits;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::upstream::Upstream;

/// How often the bridge asks for claude-api's limits: while they are unknown, and once known.
const LIMITS_EVERY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Keeps the limits for `connected` fresh until the bridge stops. No session waits for them.
pub(super) async fn learn(
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

/// Returns claude-api's limits, with those that the bridge enforces in their place.
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
