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
use super::departures::Found;
use super::replies::Token;
use super::room::Charge;
use super::{Event, Shared};
use crate::upstream::accept::owes_cancel;

/// Cancels that are owed and retried for as long as it takes, in all sessions.
pub const OWED: usize = 1024;
/// A grace that begins again is at least so long.
const NEXT_GRACE: Duration = Duration::from_millis(100);
/// How long a PUT under way may go on when the bridge stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The session's end of it.
#[derive(Debug)]
pub struct Executor {
    /// Of the last one: it is dropped when that one had its turn.
    last: Option<oneshot::Receiver<()>>,
    stops: HashMap<Token, CancellationToken>,
    failing: Arc<watch::Sender<bool>>,
}

impl Default for Executor {
    fn default() -> Self {
        Self {
            last: None,
            stops: HashMap::new(),
            failing: Arc::new(watch::channel(false).0),
        }
    }
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
    ) {
        let stop = CancellationToken::new();
        self.stops.insert(job.token, stop.clone());
        let (had, next) = oneshot::channel();
        let task = Task {
            job,
            stop,
            turn: self.last.replace(next),
            failing: self.failing.clone(),
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
                metrics.executes.add(1);
                !status.state.is_terminal()
            }
            Err(error) => {
                metrics.executes_refused.add(1);
                error.data["accepted"] == "unknown"
            }
        };
        let id = job.execute.id;
        let owes_cancel = result.as_ref().is_err_and(owes_cancel);
        let told = events.send(Event::Executed(job.token, Box::new(result)));
        if stop.is_cancelled() && may_live && (owes_cancel || told.is_err()) {
            // claude-api could not be told, or the session asked for a cancel and left: nobody else makes it.
            cancel(&shared, id);
        } else if told.is_err() && may_live && job.cancel_on_disconnect {
            depart(&shared, id);
        }
        if !has_turn && let Some(turn) = turn {
            // The next one still goes behind those before this one.
            let _ = turn.await;
        }
    }
}

fn cancel(shared: &Arc<Shared>, id: ExecutionId) {
    let upstream = shared.viewer.upstream.clone();
    owe(shared, id, Duration::ZERO, async move {
        upstream.cancel_surely(id, || true).await;
    });
}

/// Cancels when nobody attaches within the grace; who tries to, while claude-api is away, has another one. A stop of the
/// bridge never counts.
pub fn depart(shared: &Arc<Shared>, id: ExecutionId) {
    let mut departing = shared.departures.depart(id);
    let grace = shared.disconnect_grace;
    let upstream = shared.viewer.upstream.clone();
    owe(shared, id, grace, async move {
        let mut wait = grace;
        loop {
            tokio::time::sleep(wait).await;
            wait = grace.max(NEXT_GRACE);
            match departing.look() {
                Found::Viewer => return,
                Found::Asking => {}
                Found::Nobody => {
                    let cancelled = upstream.cancel_surely(id, || departing.is_deserted());
                    if cancelled.await.is_some() {
                        return;
                    }
                }
            }
        }
    });
}

/// Runs what is owed until it is done or the bridge stops; where too much is owed already, for as long as an execute is tried.
fn owe(
    shared: &Arc<Shared>,
    id: ExecutionId,
    grace: Duration,
    what: impl Future<Output = ()> + Send + 'static,
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
            () = what => tracing::info!(execution = %id, "a cancel that was owed is settled"),
            () = over => tracing::warn!(execution = %id, "too many cancels are owed; this one was given up"),
        }
    });
}
