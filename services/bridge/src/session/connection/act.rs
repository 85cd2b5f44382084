//! What a session does of what its machine decides: sends, calls, views, and what these take of the inbound budget.

use std::future::Future;
use std::sync::Arc;

use protocol::rpc::RpcError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::Session;
use crate::session::action::{Action, Call};
use crate::session::replies::Token;
use crate::session::{Called, Event, Executed, Shared, call, inbound_full};
use crate::viewer;

impl<T: AsyncRead + AsyncWrite + Unpin> Session<T> {
    /// Those of a large message keep its place until they are answered; those of a small one are charged when they are called.
    pub(super) fn charge_inputs(&mut self) {
        let held = self.machine.inputs();
        self.inputs.retain(|token, _| held.contains_key(token));
        let Some(message) = &mut self.charge else {
            return;
        };
        for (token, bytes) in held {
            if !self.inputs.contains_key(token) {
                let charge = message.split(*bytes.min(&message.num_permits()));
                self.inputs
                    .extend(charge.map(|charge| (*token, Arc::new(charge))));
            }
        }
    }

    /// What a call has of the inbound budget; only an input has some.
    fn charge_call(
        &mut self,
        token: Token,
        call: &Call,
    ) -> Result<Option<Arc<OwnedSemaphorePermit>>, RpcError> {
        let Call::Input(_, data, ..) = call else {
            return Ok(None);
        };
        if let Some(charge) = self.inputs.get(&token) {
            return Ok(Some(charge.clone()));
        }
        let charge = self.shared.charge(data.len());
        let charge = charge.ok_or_else(|| inbound_full(self.shared.own.inbound_bytes))?;
        Ok(Some(
            self.inputs.entry(token).or_insert(Arc::new(charge)).clone(),
        ))
    }

    pub(super) fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(text) => self.socket.queue(text),
                Action::StopRetrying(token) => self.executor.stop(token),
                Action::Execute(job) => {
                    let (shared, events) = (&self.shared, &self.event_sender);
                    let bytes = job.execute.body.len();
                    let charge = match &mut self.charge {
                        // Its message was large, and has its place already.
                        Some(message) => Ok(message.split(bytes.min(message.num_permits()))),
                        None => shared.charge(bytes).map(Some).ok_or(()),
                    };
                    match charge {
                        Ok(charge) => self
                            .executor
                            .execute(job, charge, shared, events, &self.name),
                        Err(()) => {
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
                    let lists = self.pages.turns();
                    match self.charge_call(token, &what) {
                        Ok(charge) => {
                            let (shared, events) = (&self.shared, &self.event_sender);
                            make_call(shared, events, token, what, lists, charge);
                        }
                        Err(error) => {
                            let called = Box::new(Called::new(Err(error), Vec::new()));
                            // Our own receiver is there.
                            let _ = self.event_sender.send(Event::Called(token, called));
                        }
                    }
                }
                Action::View(view, start) => {
                    let id = start.status.execution_id;
                    let mut context = self.shared.viewer.clone();
                    context.upstream = context.upstream.for_viewer(self.name.clone());
                    let to = self.message_sender.clone();
                    let task = tokio::spawn(watched(
                        viewer::run(context, *start, view, to),
                        self.event_sender.clone(),
                    ));
                    let guard = self.shared.departures.view(id);
                    self.asking.remove(&id);
                    self.shared.viewer.metrics.viewers.add(1);
                    self.views
                        .insert(view, (AbortOnDropHandle::new(task), guard));
                }
                Action::Unview(view) => {
                    if self.views.remove(&view).is_some() {
                        self.shared.viewer.metrics.viewers.take(1);
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
    charge: Option<Arc<OwnedSemaphorePermit>>,
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
