//! Cancels of executions for which no client waits, because its session has ended or already has an
//! answer. They are called owed cancels. Each is a task that retries until claude-api has the
//! cancel, claude-api does not know the execution, or a client views the execution again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use protocol::ExecutionId;

use super::departures::Audience;
use super::{Context, OWED_CANCELS};
use crate::access::grant::Grant;
use crate::upstream::cancel::Cancel;
use crate::upstream::retry::delays;

/// How often a pending cancel checks whether a view that a client has requested is open. While a
/// request is pending, the cancel is not sent, because the client may have returned.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// The reason why an owed cancel ends without further retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settlement {
    /// claude-api has answered the cancel, so it need not be sent again.
    Sent,
    /// claude-api refused the cancel, usually because it does not have the execution. A retry would
    /// be refused, too.
    Refused,
    /// A client views the execution again, so it is not cancelled.
    Viewed,
}

impl Settlement {
    /// Returns the reason to end after claude-api answered: `sent` is false if it refused the
    /// cancel.
    fn from_sent(sent: bool) -> Self {
        if sent { Self::Sent } else { Self::Refused }
    }

    /// Returns the text for the log.
    fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "claude-api accepted the cancel of an abandoned execution",
            Self::Refused => "claude-api refused the cancel of an execution; it is not sent again",
            Self::Viewed => "a client views the execution again; it is not cancelled",
        }
    }
}

/// Starts a background task that cancels an execution immediately, and retries until claude-api has
/// answered. `burn` is true if the bridge gave up the execute although claude-api may still receive
/// its PUT later. claude-api then burns an id that it does not know: it refuses every later execute
/// with that id. `grant` is that of the session that owes the cancel.
pub fn cancel(context: &Arc<Context>, grant: &Arc<Grant>, id: ExecutionId, burn: bool) {
    let upstream = grant.upstream().clone();
    let longest = upstream.times.accept;
    spawn_owed(context, grant, id, longest, async move {
        let cancel = Cancel::Now { burn };
        Settlement::from_sent(upstream.cancel_until_answered(id, &cancel).await)
    });
}

/// Starts a background task for an execution with `onDisconnect: "cancel"` whose `session` has
/// ended. claude-api cancels the execution if no client views it during the grace period
/// (docs/protocol.md, "Reconnect"). A client that reconnects in time keeps its execution, even
/// while claude-api is unreachable. `accepted` is false if claude-api is not known to have the
/// execution. The bridge then gives up the execute after the grace period. `grant` is the one of
/// the session. If its token ends before the cancel is sent, the execution continues. Not for
/// sessions that end because the bridge stops: a stop cancels no execution.
pub fn depart(
    context: &Arc<Context>,
    grant: &Arc<Grant>,
    id: ExecutionId,
    session: Arc<str>,
    accepted: bool,
) {
    let departure = context.departures.depart(id, grant.principal().cloned());
    let grace = context.disconnect_grace;
    let upstream = grant.upstream().clone();
    let longest = grace + upstream.times.accept;
    spawn_owed(context, grant, id, longest, async move {
        if !accepted {
            // Burning the id earlier would lock out a client that reconnects during the grace
            // period.
            tokio::time::sleep(grace).await;
        }
        let cancel = Cancel::Unviewed {
            unviewed_for: grace,
            session,
            burn: !accepted,
        };
        let mut delays = delays();
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
                    Ok(_) => return Settlement::Sent,
                    Err(failure) => failure,
                },
            };
            if !failure.leaves_cancel_owed() {
                return Settlement::Refused;
            }
            // The answer may have been lost after claude-api acted on the request.
            sent |= failure.may_have_acted();
            tokio::time::sleep(delays.next_delay(failure.retry_after())).await;
            upstream.retries.cancel.inc();
        }
        // The viewer's streams may be older than the cancel, and only a newer stream withdraws it.
        if sent && let Err(error) = upstream.withdraw_unviewed(id).await {
            tracing::warn!(
                execution = %id,
                ?error,
                "could not withdraw the cancel of an execution that a client views again; \
                 claude-api may still cancel it"
            );
        }
        Settlement::Viewed
    });
}

/// Starts the task of an owed cancel, which runs until it is settled or the bridge stops. If
/// `OWED_CANCELS` others are running, or half as many of the same principal, the task may take at
/// most the time `longest`. After that it is given up with a warning in the log.
fn spawn_owed(
    context: &Arc<Context>,
    grant: &Arc<Grant>,
    id: ExecutionId,
    longest: Duration,
    cancel: impl Future<Output = Settlement> + Send + 'static,
) {
    // The grant is held until the cancel is settled: its end would end the token of a ticket.
    let (context, grant) = (context.clone(), grant.clone());
    context.tracker.clone().spawn(async move {
        let of_principal = grant.quota().cloned().map(|principal| {
            let limit = OWED_CANCELS as u64 / 2;
            context.owed_by_principal.take(principal, limit)
        });
        let permit = match &of_principal {
            Some(None) => None,
            _ => context.owed_permits.try_acquire().ok(),
        };
        let time_is_over = async {
            match &permit {
                Some(_) => std::future::pending().await,
                None => tokio::time::sleep(longest).await,
            }
        };
        tokio::select! {
            biased;
            () = context.shutdown.cancelled() => {}
            settled = cancel => tracing::info!(execution = %id, "{}", settled.as_str()),
            () = time_is_over => {
                tracing::warn!(
                    execution = %id,
                    "gave up the cancel of an execution, because claude-api did not answer in time \
                     and too many other cancels are being retried; the execution may continue"
                );
            }
        }
    });
}
