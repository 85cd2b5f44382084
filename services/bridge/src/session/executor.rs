//! The executes of one session, handed to claude-api one at a time in the order received. It outlives the
//! session: a disconnect is not a cancel, not even of what was not accepted yet.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::Status;
use protocol::rpc::RpcError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::machine::Job;
use super::replies::Token;
use super::{Event, Shared};
use crate::metrics::Metrics;
use crate::upstream::call::Verb;

/// How long a PUT under way may go on when the bridge stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Bytes of the inbound budget, until dropped.
#[derive(Debug)]
pub struct Charge(Arc<Metrics>, u64);

impl Charge {
    /// Takes `bytes` of `budget`; None when they are not there.
    #[must_use]
    pub fn take(metrics: &Arc<Metrics>, bytes: u64, budget: u64) -> Option<Self> {
        metrics.inbound_bytes.add(bytes);
        let charge = Self(metrics.clone(), bytes);
        // Over the budget, the charge is given back by its drop. One message alone always passes.
        (metrics.inbound_bytes.get() <= budget.max(bytes)).then_some(charge)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.0.inbound_bytes.take(self.1);
    }
}

/// A job with what ends its retrying.
#[derive(Debug)]
struct Order {
    job: Job,
    stop: CancellationToken,
    charge: Charge,
}

/// The session's end of it.
#[derive(Debug, Default)]
pub struct Executor {
    jobs: Option<mpsc::UnboundedSender<Order>>,
    stops: HashMap<Token, CancellationToken>,
}

impl Executor {
    /// Hands over a job; its result comes as an event. Begins the task with the first.
    pub fn execute(
        &mut self,
        job: Job,
        charge: Charge,
        shared: &Arc<Shared>,
        events: &mpsc::UnboundedSender<Event>,
    ) {
        let stop = CancellationToken::new();
        self.stops.insert(job.token, stop.clone());
        let order = Order { job, stop, charge };
        let jobs = self.jobs.get_or_insert_with(|| {
            let (jobs, queue) = mpsc::unbounded_channel();
            let task = work(queue, shared.clone(), events.clone());
            shared.tracker.spawn(task);
            jobs
        });
        // The task ends only with the bridge; the session is closed then anyway.
        let _ = jobs.send(order);
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

async fn work(
    mut queue: mpsc::UnboundedReceiver<Order>,
    shared: Arc<Shared>,
    events: mpsc::UnboundedSender<Event>,
) {
    while let Some(Order { job, stop, charge }) = queue.recv().await {
        let late = async {
            shared.shutdown.cancelled().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        let accept = shared
            .viewer
            .upstream
            .accept(job.id, job.body.clone(), &stop);
        let result: Result<Status, RpcError> = tokio::select! {
            result = accept => result,
            () = late => return,
        };
        drop(charge);
        let metrics = &shared.viewer.metrics;
        let accepted = match &result {
            Ok(status) => {
                metrics.executes.add(1);
                !status.state.is_terminal()
            }
            Err(_) => {
                metrics.executes_refused.add(1);
                false
            }
        };
        let told = events.send(Event::Executed(job.token, Box::new(result)));
        if told.is_err() && accepted && job.cancel_on_disconnect {
            depart(&shared, job.id);
        }
    }
}

/// Cancels when nobody attaches within the grace. A stop of the bridge never counts.
pub fn depart(shared: &Arc<Shared>, id: protocol::ExecutionId) {
    let departing = shared.departures.depart(id);
    let tracker = shared.tracker.clone();
    let shared = shared.clone();
    tracker.spawn(async move {
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return,
            () = tokio::time::sleep(shared.disconnect_grace) => {}
        }
        if !departing.is_deserted() {
            return;
        }
        let result = shared.viewer.upstream.control(id, Verb::Cancel).await;
        tracing::info!(execution = %id, ok = result.is_ok(), "cancelled, its session is gone");
    });
}
