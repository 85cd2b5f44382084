//! Sends the new executions of one session to claude-api, one at a time in the order received. This
//! continues after the end of the session: a disconnect alone cancels nothing, not even an execute
//! that claude-api has not accepted yet.
//!
//! Each execute is a separate task that waits for the previous one. Therefore an execute that is
//! cancelled while claude-api is failing can end before its turn.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::rpc::RpcError;
use protocol::{Status, TraceContext};
use telemetry::Span;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::departures::ViewRequest;
use super::owed_cancels::{cancel, depart};
use super::{Context, Handover};
use crate::access::grant::Grant;
use crate::budget::inbound::InboundCharge;
use crate::upstream::accept::{PutRequest, owes_cancel};
use crate::upstream::call_span::note_result;

/// How long an execute may still wait for claude-api's answer when the bridge stops. It is short,
/// because the whole stop has a time limit (`shutdownMs`).
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The outcome of a client's execute: claude-api accepted it or refused it, or the bridge gave it
/// up.
#[derive(Debug)]
pub struct CompletedExecute {
    /// The status of the new execution if claude-api accepted it, otherwise the JSON-RPC error for
    /// the client.
    pub result: Result<Status, RpcError>,
    /// The request for the view that follows, if the client chose the id; `None` for an id that the
    /// bridge generated. Until the view opens, it prevents an older session's departure from
    /// cancelling the execution.
    pub view_request: Option<ViewRequest>,
    /// The span of the execute, to which the streams of the view belong. `None` without a trace.
    pub trace: Option<TraceContext>,
}

/// The queue of a session's executes on their way to claude-api. Each execute is a task. This type
/// holds the end of the queue, and can stop the retries of each task.
#[derive(Debug)]
pub struct Executor {
    /// The id of the session.
    session: Arc<str>,
    /// The grant of the session. Its token is sent also after the end of the session.
    grant: Arc<Grant>,
    /// Completes when the youngest execute is done, because the task then drops the sender. `None`
    /// before the first execute.
    last: Option<oneshot::Receiver<()>>,
    /// Stops the retries of each execute that has no result yet, by the number of its request.
    stops: HashMap<u64, CancellationToken>,
    /// Whether claude-api has failed since its last answer to this session. `None` before the first
    /// execute, so that an idle session needs no memory for it.
    failing: Option<Arc<watch::Sender<bool>>>,
}

impl Executor {
    /// Creates the empty queue of a session with this id and this grant.
    #[must_use]
    pub fn new(session: Arc<str>, grant: Arc<Grant>) -> Self {
        Self {
            session,
            grant,
            last: None,
            stops: HashMap::new(),
            failing: None,
        }
    }

    /// Starts the task that sends an execute to claude-api, after the earlier executes of the
    /// session. `request` is the number of the client's request in its session. `charges` are the
    /// execute's bytes in the bridge's memory budget and in the session's limit, released when
    /// claude-api has answered. `span` is the span of the execute; it ends with the result.
    /// `deliver` is called with the result, and returns false if the session has ended.
    pub fn execute(
        &mut self,
        request: u64,
        handover: Handover,
        charges: (InboundCharge, InboundCharge),
        span: Span,
        context: &Arc<Context>,
        deliver: impl FnOnce(CompletedExecute) -> bool + Send + 'static,
    ) {
        let stop = CancellationToken::new();
        // The client chose the id, so the client may have returned to an earlier execution.
        let may_reattach = !handover.fresh;
        let view_request = may_reattach.then(|| {
            let principal = self.grant.principal().cloned();
            context.departures.request_view(handover.id, principal)
        });
        self.stops.insert(request, stop.clone());
        let (done, next) = oneshot::channel();
        let task = ExecuteTask {
            handover,
            span,
            session: self.session.clone(),
            grant: self.grant.clone(),
            view_request,
            stop,
            turn: self.last.replace(next),
            failing: self.failing.get_or_insert_default().clone(),
            context: context.clone(),
        };
        let shutdown = context.shutdown.clone();
        context.tracker.spawn(async move {
            let grace_is_over = async {
                shutdown.cancelled().await;
                tokio::time::sleep(STOP_GRACE).await;
            };
            tokio::select! {
                () = task.run(charges, deliver) => {}
                () = grace_is_over => {}
            }
            drop(done);
        });
    }

    /// Stops the retries of the execute of this request, because the client cancels it. Its result
    /// may still be a success, if claude-api had accepted it. Does nothing if the execute already
    /// has its result.
    pub fn stop(&self, request: u64) {
        if let Some(stop) = self.stops.get(&request) {
            stop.cancel();
        }
    }

    /// Removes the execute of this request, which has its result, from the executes that can be
    /// stopped.
    pub fn done(&mut self, request: u64) {
        self.stops.remove(&request);
    }
}

/// One execute on its way to claude-api, with everything that its task needs.
struct ExecuteTask {
    handover: Handover,
    /// The span of the execute.
    span: Span,
    session: Arc<str>,
    /// The grant of the session, with the client for claude-api.
    grant: Arc<Grant>,
    /// The client's request for a view of the execution, if the client chose the id.
    view_request: Option<ViewRequest>,
    /// Cancelled when the client cancels the execute.
    stop: CancellationToken,
    /// Completes when the previous execute of the session is done. `None` for the first one.
    turn: Option<oneshot::Receiver<()>>,
    /// Whether claude-api has failed since its last answer to this session. An execute that is
    /// cancelled meanwhile does not wait for its turn.
    failing: Arc<watch::Sender<bool>>,
    context: Arc<Context>,
}

impl ExecuteTask {
    /// Sends the execute when it has its turn, and delivers the result. Then starts the cancel of
    /// the execution if one is still needed. That is so if the client has cancelled but no cancel
    /// has reached claude-api, or if the session has ended and the execution has `onDisconnect:
    /// "cancel"`.
    async fn run(
        self,
        charges: (InboundCharge, InboundCharge),
        deliver: impl FnOnce(CompletedExecute) -> bool,
    ) {
        let Self {
            handover,
            mut span,
            session,
            grant,
            view_request,
            stop,
            mut turn,
            failing,
            context,
        } = self;
        let Handover {
            id,
            fresh,
            body,
            cancel_on_disconnect,
            trace: _,
        } = handover;
        let put = PutRequest { id, fresh, body };
        let upstream = grant.upstream().in_span(&span);
        let stopped_while_failing = async {
            stop.cancelled().await;
            // The channel cannot close, because this task holds its sender.
            let _ = failing.subscribe().wait_for(|failing| *failing).await;
        };
        let its_turn = async {
            if let Some(turn) = &mut turn {
                // The sender is dropped when the previous execute is done.
                let _ = turn.await;
            }
        };
        let has_turn = tokio::select! {
            biased;
            () = its_turn => true,
            () = stopped_while_failing => false,
        };
        let result = if has_turn {
            upstream.accept(&put, &stop, &failing).await
        } else {
            upstream.give_up(&put, false).await
        };
        drop((put, charges));
        let trace = span.context().cloned();
        note_result(&mut span, result.as_ref().err());
        drop(span);
        let may_live = match &result {
            Ok(status) => {
                context.metrics.executes.inc();
                !status.state.is_terminal()
            }
            Err(error) => {
                context.metrics.executes_refused.inc();
                error.data["accepted"] == "unknown"
            }
        };
        let accepted = result.is_ok();
        let owes_cancel = result.as_ref().is_err_and(owes_cancel);
        // If the session has ended, its request for a view is dropped here with the result.
        let is_delivered = deliver(CompletedExecute {
            result,
            view_request,
            trace,
        });
        if stop.is_cancelled() && may_live && (owes_cancel || !is_delivered) {
            // The cancel did not reach claude-api, or the session has ended. Only this task can
            // still send it.
            cancel(&context, &grant, id, owes_cancel);
        } else if !is_delivered && may_live && cancel_on_disconnect {
            depart(&context, &grant, id, session, accepted);
        }
        if !has_turn && let Some(turn) = turn {
            // The next execute still waits for all earlier ones.
            let _ = turn.await;
        }
    }
}
