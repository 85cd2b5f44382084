//! Performs the actions that the machine has decided on: it sends answers, hands over executes,
//! starts calls, and begins and ends views. The memory of executes and inputs is charged here.

use std::future::Future;
use std::sync::Arc;

use protocol::rpc::{RpcError, code, method};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::calls;
use crate::budget::SessionInbound;
use crate::handover::Handover;
use crate::handover::executor::CompletedExecute;
use crate::session::Session;
use crate::session::completion::Completion;
use crate::session::machine::action::Action;
use crate::session::machine::open_requests::Token;
use crate::upstream::call_span::note_result;
use crate::viewer;
use crate::viewer::ViewStart;

impl<T: AsyncRead + AsyncWrite + Unpin> Session<T> {
    /// Reserves memory for the inputs (lines for a CLI's stdin) and answers that were just read, in
    /// the budget for incoming messages. One in a message over 64 KiB takes its part of the memory
    /// of that message.
    ///
    /// One that does not fit is refused with -32004 (queue full, `inbound_bytes`), and its call is
    /// removed from `actions`. Also releases the memory of those that claude-api has answered.
    pub(in crate::session) fn charge_inputs(&mut self, actions: &mut Vec<Action>) {
        let unanswered = self.machine.inputs();
        self.inputs
            .retain(|token, _| unanswered.contains_key(token));
        let mut refused = Vec::new();
        for (token, bytes) in unanswered {
            if self.inputs.contains_key(token) {
                continue;
            }
            let charge = match &mut self.charge {
                Some(message) => Some(message.split(*bytes)),
                None => self
                    .shared
                    .budgets
                    .charge_small(*bytes, self.principal.as_deref()),
            };
            match charge {
                Some(charge) => {
                    self.inputs.insert(*token, Arc::new(charge));
                }
                None => refused.push(*token),
            }
        }
        for token in refused {
            let is_refused = |a: &Action| matches!(a, Action::Call(called, _) if *called == token);
            actions.retain(|action| !is_refused(action));
            let error = inbound_full(self.shared.own_limits.inbound_bytes);
            actions.extend(self.machine.on_called(token, Err(error), &[]));
        }
    }

    /// Performs the actions of the machine in their order, because a view must begin after its
    /// answer. Also adds the requests that the machine has refused to the metrics.
    pub(in crate::session) fn perform(&mut self, actions: Vec<Action>) {
        for reason in self.machine.take_refused() {
            self.shared.viewer.metrics.refused(&reason);
        }
        for action in actions {
            match action {
                Action::Send(text) => self.socket.queue(text),
                Action::StopRetrying(token) => self.executor.stop(token),
                Action::Execute(token, handover) => self.hand_over(token, handover),
                Action::Call(token, call) => {
                    // Only an input and an answer have a charge.
                    let charge = self.inputs.get(&token).cloned();
                    let turns = self.lists.turns();
                    let (shared, completions) = (&self.shared, &self.completion_sender);
                    calls::start(shared, &self.grant, completions, token, call, turns, charge);
                }
                Action::View(view, start) => self.begin_view(view, *start),
                Action::Unview(view) => {
                    if self.views.remove(&view).is_some() {
                        self.shared.viewer.metrics.viewers.dec();
                    }
                }
            }
        }
    }

    /// Hands an execute to the executor, which sends it to claude-api. Its body is first charged to
    /// the memory budget for incoming messages. If the budget or the session's own limit has no
    /// room, the execute is refused with -32004 (queue full, `inbound_bytes`).
    fn hand_over(&mut self, token: Token, handover: Handover) {
        let (shared, completions) = (&self.shared, self.completion_sender.clone());
        let (id, trace) = (Some(handover.id), handover.trace.as_ref());
        let mut span = self.grant.upstream().call_span(method::EXECUTE, id, trace);
        let deliver = move |executed| {
            let completion = Completion::Executed(token, Box::new(executed));
            completions.send(completion).is_ok()
        };
        let bytes = handover.body.len();
        let session_inbound = self
            .own_inbound
            .get_or_insert_with(|| Box::new(SessionInbound::new(&shared.own_limits)));
        let (charge, session_limit) = match &mut self.charge {
            // The message was large, so its bytes are already charged.
            Some(message) => (Some(message.split(bytes)), &session_inbound.large),
            None => {
                let charge = shared
                    .budgets
                    .charge_small(bytes, self.principal.as_deref());
                (charge, &session_inbound.small)
            }
        };
        // The session's own limit keeps one session from spending the whole budget.
        match charge.zip(session_limit.take(bytes as u64)) {
            Some(charges) => {
                self.executor
                    .execute(token, handover, charges, span, &shared.handover, deliver)
            }
            None => {
                let error = inbound_full(shared.own_limits.inbound_bytes)
                    .with("executionId", handover.id.to_string());
                note_result(&mut span, Some(&error));
                // This session is the receiver.
                deliver(CompletedExecute {
                    result: Err(error),
                    view_request: None,
                    trace: None,
                });
            }
        }
    }

    /// Starts the task of a view, which sends its messages to this session under the number `view`.
    /// From now on the session counts as a viewer of the execution.
    fn begin_view(&mut self, view: u64, start: ViewStart) {
        let id = start.status.execution_id;
        let context = self.shared.viewer.clone();
        let trace = self.traces.remove(&id);
        let upstream = self.grant.upstream().with_trace(trace);
        let upstream = upstream.for_viewer(self.name.clone());
        let messages = self.message_sender.clone();
        let task = tokio::spawn(watched(
            viewer::run(context, upstream, start, view, messages, self.share.clone()),
            self.completion_sender.clone(),
        ));
        let guard = self.shared.handover.departures.view(id);
        self.view_requests.remove(&id);
        self.shared.viewer.metrics.viewers.inc();
        self.views
            .insert(view, (AbortOnDropHandle::new(task), guard));
    }
}

/// Runs the task of a view, and reports a panic to its session as `Completion::ViewFailed`. Without
/// that report, the client would wait forever for output. A normal end or an abort is not reported.
async fn watched(view: impl Future<Output = ()>, completions: mpsc::UnboundedSender<Completion>) {
    struct Watch(mpsc::UnboundedSender<Completion>);
    impl Drop for Watch {
        fn drop(&mut self) {
            if std::thread::panicking() {
                // The session may have ended.
                let _ = self.0.send(Completion::ViewFailed);
            }
        }
    }
    let _watch = Watch(completions);
    view.await;
}

/// Returns the JSON-RPC error for an execute or an input that does not fit into the memory budget
/// for incoming messages (-32004, queue full). `budget` is the size of that budget in bytes.
fn inbound_full(budget: u64) -> RpcError {
    RpcError::new(
        code::QUEUE_FULL,
        "inbound_bytes",
        "too many bytes wait for claude-api; try again later",
    )
    .with("limit", budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_a_view_is_reported_and_its_end_is_not() {
        let (sender, mut completions) = mpsc::unbounded_channel();
        tokio::spawn(watched(async {}, sender.clone()))
            .await
            .unwrap();
        let pending = tokio::spawn(watched(std::future::pending(), sender.clone()));
        pending.abort();
        assert!(pending.await.unwrap_err().is_cancelled());
        assert!(completions.try_recv().is_err());
        let panics = tokio::spawn(watched(async { panic!("on purpose") }, sender));
        assert!(panics.await.unwrap_err().is_panic());
        assert!(matches!(completions.try_recv(), Ok(Completion::ViewFailed)));
    }
}
