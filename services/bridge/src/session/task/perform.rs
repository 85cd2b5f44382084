//! What a session does of what its machine decides: sends, calls, views, and what these take of the inbound budget.

use std::future::Future;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::Session;
use crate::session::action::{Action, Call};
use crate::session::replies::Token;
use crate::session::room::Charge;
use crate::session::{Event, Executed, Shared, call, inbound_full};
use crate::viewer;

impl<T: AsyncRead + AsyncWrite + Unpin> Session<T> {
    /// Charges inputs when they are read; the input of a large message uses that message's charge.
    /// An input without room is refused.
    pub(super) fn charge_inputs(&mut self, actions: &mut Vec<Action>) {
        let held = self.machine.inputs();
        self.inputs.retain(|token, _| held.contains_key(token));
        let mut refused = Vec::new();
        for (token, bytes) in held {
            if self.inputs.contains_key(token) {
                continue;
            }
            let charge = match &mut self.charge {
                Some(message) => Some(message.split(*bytes)),
                None => self.shared.charge(*bytes),
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
            let error = inbound_full(self.shared.own.inbound_bytes);
            actions.extend(self.machine.on_called(token, Err(error), &[]));
        }
    }

    pub(super) fn act(&mut self, actions: Vec<Action>) {
        for reason in self.machine.take_refused() {
            self.shared.viewer.metrics.refused(&reason);
        }
        for action in actions {
            match action {
                Action::Send(text) => self.socket.queue(text),
                Action::StopRetrying(token) => self.executor.stop(token),
                Action::Execute(job) => {
                    let (shared, events) = (&self.shared, &self.event_sender);
                    let bytes = job.execute.body.len();
                    let own = self
                        .own_inbound
                        .get_or_insert_with(|| shared.session_inbound());
                    let [large, small] = &*own;
                    let (charge, own) = match &mut self.charge {
                        // Its message was large, and has its place already.
                        Some(message) => (Some(message.split(bytes)), large),
                        None => (shared.charge(bytes), small),
                    };
                    // No session alone can take the whole budget.
                    match charge.zip(own.take(bytes as u64)) {
                        Some(charges) => self
                            .executor
                            .execute(job, charges, shared, events, &self.name),
                        None => {
                            let error = inbound_full(shared.own.inbound_bytes)
                                .with("executionId", job.execute.id.to_string());
                            let executed = Executed {
                                result: Err(error),
                                asking: None,
                            };
                            // Our own receiver is there.
                            let _ = events.send(Event::Executed(job.token, Box::new(executed)));
                        }
                    }
                }
                Action::Call(token, what) => {
                    // Only an input has a charge.
                    let charge = self.inputs.get(&token).cloned();
                    let (shared, events) = (&self.shared, &self.event_sender);
                    make_call(shared, events, token, what, self.pages.turns(), charge);
                }
                Action::View(view, start) => {
                    let id = start.status.execution_id;
                    let mut context = self.shared.viewer.clone();
                    context.upstream = context.upstream.for_viewer(self.name.clone());
                    let to = self.message_sender.clone();
                    let task = tokio::spawn(watched(
                        viewer::run(context, *start, view, to, self.share.clone()),
                        self.event_sender.clone(),
                    ));
                    let guard = self.shared.departures.view(id);
                    self.asking.remove(&id);
                    self.shared.viewer.metrics.viewers.inc();
                    self.views
                        .insert(view, (AbortOnDropHandle::new(task), guard));
                }
                Action::Unview(view) => {
                    if self.views.remove(&view).is_some() {
                        self.shared.viewer.metrics.viewers.dec();
                    }
                }
            }
        }
    }
}

/// Runs a view, and tells when it panics: nobody would miss its messages otherwise.
async fn watched(view: impl Future<Output = ()>, events: mpsc::UnboundedSender<Event>) {
    struct Watch(mpsc::UnboundedSender<Event>);
    impl Drop for Watch {
        fn drop(&mut self) {
            if std::thread::panicking() {
                // The session may be gone.
                let _ = self.0.send(Event::ViewFailed);
            }
        }
    }
    let _watch = Watch(events);
    view.await;
}

pub(super) fn make_call(
    shared: &Arc<Shared>,
    events: &mpsc::UnboundedSender<Event>,
    token: Token,
    what: Call,
    lists: Arc<Semaphore>,
    charge: Option<Arc<Charge>>,
) {
    let (tracker, shared, events) = (&shared.tracker, shared.clone(), events.clone());
    tracker.spawn(async move {
        let called = Box::new(call(shared, what, lists).await);
        drop(charge);
        // The session may be gone; the call was made all the same.
        let _ = events.send(Event::Called(token, called));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_view_that_panics_is_told_and_one_that_ends_is_not() {
        let (sender, mut events) = mpsc::unbounded_channel();
        tokio::spawn(watched(async {}, sender.clone()))
            .await
            .unwrap();
        let pending = tokio::spawn(watched(std::future::pending(), sender.clone()));
        pending.abort();
        assert!(pending.await.unwrap_err().is_cancelled());
        assert!(events.try_recv().is_err());
        let panics = tokio::spawn(watched(async { panic!("as the test wants") }, sender));
        assert!(panics.await.unwrap_err().is_panic());
        assert!(matches!(events.try_recv(), Ok(Event::ViewFailed)));
    }
}
