//! The limits that a client reads in `connected`, the greeting of its session. They are
//! claude-api's limits, but with the bridge's own values for the limits that the bridge enforces
//! (docs/protocol.md, "Limits").

use std::time::Duration;

use protocol::Limits;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::upstream::Upstream;

/// The time between two requests for claude-api's limits: 1 s until they are known, then 5 s. They
/// change only when claude-api restarts, but then it may have tokens, and sessions without one must
/// end soon.
const INTERVALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Requests claude-api's limits repeatedly until the bridge stops, and publishes them in `known`,
/// merged with `own_limits`. After a failure the last known limits stay. Sessions never wait for
/// the limits: the greeting has none while they are unknown.
pub(super) async fn keep_fresh(
    upstream: Upstream,
    own_limits: Limits,
    known: watch::Sender<Option<Limits>>,
    stop: CancellationToken,
) {
    let mut pause = INTERVALS[0];
    let refresh = async {
        loop {
            match upstream.limits().await {
                Ok(upstream_limits) => {
                    upstream.learn_heartbeat(upstream_limits.heartbeat_ms);
                    let merged = Some(merge_limits(upstream_limits, &own_limits));
                    known.send_if_modified(|known| {
                        let is_changed = *known != merged;
                        *known = merged;
                        is_changed
                    });
                    pause = INTERVALS[1];
                }
                Err(error) => tracing::debug!(
                    %error,
                    "could not read claude-api's limits; new sessions get the last known ones"
                ),
            }
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = refresh => {}
    }
}

/// Combines the limits that a client must observe: the bridge's values for the limits that the
/// bridge enforces, and claude-api's values for all others. Of the two values for the longest
/// status, the smaller one counts.
fn merge_limits(upstream_limits: Limits, own_limits: &Limits) -> Limits {
    Limits {
        sessions: own_limits.sessions,
        sessions_per_principal: own_limits.sessions_per_principal,
        connections_per_peer: own_limits.connections_per_peer,
        frames_per_second: own_limits.frames_per_second,
        frames_burst: own_limits.frames_burst,
        message_bytes: own_limits.message_bytes,
        inbound_bytes: own_limits.inbound_bytes,
        outbound_bytes: own_limits.outbound_bytes,
        batch: own_limits.batch,
        status_bytes: own_limits.status_bytes.min(upstream_limits.status_bytes),
        ping_ms: own_limits.ping_ms,
        skip_bytes: own_limits.skip_bytes,
        skip_lines: own_limits.skip_lines,
        ..upstream_limits
    }
}
