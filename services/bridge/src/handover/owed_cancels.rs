//! Owed cancels: cancels that no client waits for, because their session has left or was already
//! answered. Each is a task of its own that retries until claude-api has the cancel, does not know
//! the execution, or a client views it again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use protocol::ExecutionId;

use super::Context;
use super::departures::Audience;
use crate::upstream::cancel::Cancel;
use crate::upstream::retry::Delays;

/// The interval at which a departure checks whether a requested view has begun.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// The outcome of an owed cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// claude-api has the cancel.
    Sent,
    /// claude-api knows no such execution.
    Unknown,
    /// A client views the execution again.
    Viewed,
}

impl Settled {
    fn of(sent: bool) -> Self {
        if sent { Self::Sent } else { Self::Unknown }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "claude-api has a cancel that was owed",
            Self::Unknown => "claude-api does not know the execution; no cancel is owed",
            Self::Viewed => "a viewer came back; no cancel is owed",
        }
    }
}

/// Cancels an execution, and retries until claude-api has answered. `burn`: the bridge gave up the
/// PUT, and claude-api may still read it later.
pub fn cancel(context: &Arc<Context>, id: ExecutionId, burn: bool) {
    let upstream = context.upstream.clone();
    owe(context, id, Duration::ZERO, async move {
        let cancel = Cancel::Now { burn };
        Settled::of(upstream.cancel_surely(id, &cancel).await)
    });
}

/// Asks claude-api to cancel an execution when nobody views it for the grace (docs/protocol.md,
/// "Reconnect"). A client that reconnects while claude-api is unreachable keeps its execution. A
/// stop of the bridge is no departure. `accepted`: whether claude-api is known to have the
/// execution; if not, the bridge gives up the PUT after the grace.
pub fn depart(context: &Arc<Context>, id: ExecutionId, session: Arc<str>, accepted: bool) {
    let departure = context.departures.depart(id);
    let grace = context.disconnect_grace;
    let upstream = context.upstream.clone();
    owe(context, id, grace, async move {
        if !accepted {
            // Burning the id at once would lock out a client that reconnects within the grace.
            tokio::time::sleep(grace).await;
        }
        let cancel = Cancel::Unviewed {
            after: grace,
            session,
            burn: !accepted,
        };
        let mut delays = Delays::default();
        let mut sent = false;
        loop {
            let failure = match departure.audience() {
                Audience::Viewer => break,
                Audience::Requested => {
                    tokio::time::sleep(CHECK_INTERVAL).await;
                    continue;
                }
                Audience::Nobody => match upstream.cancel_once(id, &cancel).await {
                    Ok(_) if departure.audience() == Audience::Viewer => {
                        sent = true;
                        break;
                    }
                    Ok(_) => return Settled::Sent,
                    Err(failure) => failure,
                },
            };
            if !failure.leaves_cancel_owed() {
                return Settled::Unknown;
            }
            // claude-api may have acted on a request whose answer was lost.
            sent |= failure.may_have_acted();
            tokio::time::sleep(delays.after(failure.retry_after())).await;
            upstream.retries.cancel.inc();
        }
        // The viewer's streams may be older than the cancel: only a newer stream clears it.
        if sent && let Err(error) = upstream.withdraw_unviewed(id).await {
            tracing::warn!(execution = %id, ?error, "could not withdraw a cancel");
        }
        Settled::Viewed
    });
}

/// Runs an owed cancel until it is settled or the bridge stops. Without a place (`OWED_CANCELS`)
/// the cancel is given up when the time of an execute has passed.
fn owe(
    context: &Arc<Context>,
    id: ExecutionId,
    grace: Duration,
    cancel: impl Future<Output = Settled> + Send + 'static,
) {
    let context = context.clone();
    context.tracker.clone().spawn(async move {
        let place = context.owed.try_acquire();
        let time_is_over = async {
            match &place {
                Ok(_) => std::future::pending().await,
                Err(_) => tokio::time::sleep(grace + context.upstream.times.accept).await,
            }
        };
        tokio::select! {
            biased;
            () = context.shutdown.cancelled() => {}
            settled = cancel => tracing::info!(execution = %id, "{}", settled.as_str()),
            () = time_is_over => {
                tracing::warn!(execution = %id, "too many cancels are owed; this one was given up");
            }
        }
    });
}
