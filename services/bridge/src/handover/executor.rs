//! The executes of one session, handed to claude-api one at a time in the order received. They outlive the
//! session: a disconnect is not a cancel, not even of what was not accepted yet.
//!
//! Each is a task of its own that waits for the one before; so one that is cancelled while claude-api fails
//! need not wait for its turn.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use protocol::ExecutionId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::action::Job;
use super::departures::{Asking, Found};
use super::replies::Token;
use super::room::Charge;
use super::{Event, Executed, Shared};
use crate::upstream::accept::owes_cancel;
use crate::upstream::call::Cancel;
use crate::upstream::retry::Delays;

/// The most owed cancels that are retried without a time limit, over all sessions.
///
/// - Taken when: a cancel is owed; released when claude-api has answered it.
/// - Who waits behind whom: nobody. A cancel without a place is retried only as long as an execute
///   is.
/// - The other direction: each cancel sends one request at a time.
pub const OWED: usize = 1024;
/// The interval at which a departure checks whether a requested view has begun.
const LOOK: Duration = Duration::from_millis(250);
/// How long a PUT under way may go on when the bridge stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The session's end of it.
#[derive(Debug, Default)]
pub struct Executor {
    /// Of the last one: it is dropped when that one had its turn.
    last: Option<oneshot::Receiver<()>>,
    stops: HashMap<Token, CancellationToken>,
    /// Whether claude-api failed since it last answered. None before the first execute, so that an
    /// idle session needs no memory for it.
    failing: Option<Arc<watch::Sender<bool>>>,
}

impl Executor {
    /// Hands over a job; its result arrives as an event. `charges`: its bytes in the inbound budget
    /// and in its session's part of it.
    pub fn execute(
        &mut self,
        job: Job,
        charges: (Charge, Charge),
        shared: &Arc<Shared>,
        events: &mpsc::UnboundedSender<Event>,
        session: &Arc<str>,
    ) {
        let stop = CancellationToken::new();
        // The client chose the id: an earlier session of it may have left, and this one is its
        // return.
        let asking = (!job.execute.fresh).then(|| shared.departures.ask(job.execute.id));
        self.stops.insert(job.token, stop.clone());
        let (had, next) = oneshot::channel();
        let task = Task {
            job,
            session: session.clone(),
            asking,
            stop,
            turn: self.last.replace(next),
            failing: self.failing.get_or_insert_default().clone(),
            shared: shared.clone(),
            events: events.clone(),
        };
        let late = shared.clone();
        shared.tracker.spawn(async move {
            let late = async {
                late.shutdown.cancelled().await;
                tokio::time::sleep(STOP_GRACE).await;
            };
            tokio::select! {
                () = task.run(charges) => {}
                () = late => {}
            }
            drop(had);
        });
    }

    /// Ends the retrying of one.
    pub fn stop(&self, token: Token) {
        if let Some(stop) = self.stops.get(&token) {
            stop.cancel();
        }
    }

    /// One came back.
    pub fn done(&mut self, token: Token) {
        self.stops.remove(&token);
    }
}

struct Task {
    job: Job,
    session: Arc<str>,
    asking: Option<Asking>,
    stop: CancellationToken,
    turn: Option<oneshot::Receiver<()>>,
    failing: Arc<watch::Sender<bool>>,
    shared: Arc<Shared>,
    events: mpsc::UnboundedSender<Event>,
}

impl Task {
    async fn run(self, charges: (Charge, Charge)) {
        let Self {
            job,
            session,
            asking,
            stop,
            mut turn,
            failing,
            shared,
            events,
        } = self;
        let upstream = &shared.viewer.upstream;
        let given_up = async {
            stop.cancelled().await;
            // It cannot end: the other side of the channel is held here.
            let _ = failing.subscribe().wait_for(|failing| *failing).await;
        };
        let its_turn = async {
            if let Some(turn) = &mut turn {
                // Dropped, when the one before is done.
                let _ = turn.await;
            }
        };
        let has_turn = tokio::select! {
            biased;
            () = its_turn => true,
            () = given_up => false,
        };
        let result = if has_turn {
            upstream.accept(&job.execute, &stop, &failing).await
        } else {
            upstream.give_up(&job.execute, false).await
        };
        drop(charges);
        let metrics = &shared.viewer.metrics;
        let may_live = match &result {
            Ok(status) => {
                metrics.executes.inc();
                !status.state.is_terminal()
            }
            Err(error) => {
                metrics.executes_refused.inc();
                error.data["accepted"] == "unknown"
            }
        };
        let id = job.execute.id;
        let accepted = result.is_ok();
        let owes_cancel = result.as_ref().is_err_and(owes_cancel);
        let executed = Box::new(Executed { result, asking });
        // When the session is gone, its request for a view is dropped with the event here.
        let is_delivered = events.send(Event::Executed(job.token, executed)).is_ok();
        if stop.is_cancelled() && may_live && (owes_cancel || !is_delivered) {
            // The cancel did not reach claude-api, or the session asked for it and left: only
            // this task can still send it.
            cancel(&shared, id, owes_cancel);
        } else if !is_delivered && may_live && job.cancel_on_disconnect {
            depart(&shared, id, session, accepted);
        }
        if !has_turn && let Some(turn) = turn {
            // The next one still goes behind those before this one.
            let _ = turn.await;
        }
    }
}

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

/// Owes a cancel at once. `burn`: the bridge gave up the PUT, and claude-api may still read it
/// later.
fn cancel(shared: &Arc<Shared>, id: ExecutionId, burn: bool) {
    let upstream = shared.viewer.upstream.clone();
    owe(shared, id, Duration::ZERO, async move {
        let cancel = Cancel::Now { burn };
        Settled::of(upstream.cancel_surely(id, &cancel).await)
    });
}

/// Asks claude-api to cancel the execution when nobody views it for the grace. A client that
/// reconnects while claude-api is unreachable keeps its execution. A stop of the bridge is no
/// departure. `accepted`: claude-api is known to have the execution; otherwise the bridge gives up
/// the PUT after the grace.
pub fn depart(shared: &Arc<Shared>, id: ExecutionId, session: Arc<str>, accepted: bool) {
    let departing = shared.departures.depart(id);
    let grace = shared.disconnect_grace;
    let upstream = shared.viewer.upstream.clone();
    owe(shared, id, grace, async move {
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
            let failure = match departing.found() {
                Found::Viewer => break,
                Found::Asking => {
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
                Found::Nobody => match upstream.cancel_once(id, &cancel).await {
                    Ok(_) if departing.found() == Found::Viewer => {
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

/// Runs an owed cancel until it is settled or the bridge stops. Without a place ([`OWED`]) it is
/// given up when the time of an execute has passed.
fn owe(
    shared: &Arc<Shared>,
    id: ExecutionId,
    grace: Duration,
    cancel: impl Future<Output = Settled> + Send + 'static,
) {
    let shared = shared.clone();
    shared.tracker.clone().spawn(async move {
        let place = shared.owed.try_acquire();
        let over = async {
            match &place {
                Ok(_) => std::future::pending().await,
                Err(_) => tokio::time::sleep(grace + shared.viewer.upstream.times.accept).await,
            }
        };
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => {}
            settled = cancel => tracing::info!(execution = %id, "{}", settled.as_str()),
            () = over => tracing::warn!(execution = %id, "too many cancels are owed; this one was given up"),
        }
    });
}
