//! The task of one session: socket, machine, views, executor.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use protocol::PROTOCOL;
use protocol::rpc::{RpcError, close, code, method, notification};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::WaitForCancellationFuture;
use tokio_util::task::AbortOnDropHandle;

use super::action::{Action, Call};
use super::departures::Viewing;
use super::executor::{Executor, depart};
use super::machine::{Bounds, Machine};
use super::pages::Pages;
use super::replies::Token;
use super::request::binary;
use super::socket::{Inbound, Pulse, Socket};
use super::transport;
use super::{Called, Event, Shared, call, inbound_full};
use crate::viewer;

/// Messages of views that wait for the socket. Each view may have one more in the making.
const VIEW_MESSAGES: usize = 1;

/// What happened.
enum Happened {
    Inbound(Inbound),
    Event(Event),
    View(Box<viewer::Message>),
    Tick,
    Stop,
    Broken,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The peer closed, or vanished; with a code if there was one.
    Peer(Option<u16>),
    /// We close with this code.
    Ours(u16, &'static str),
    /// We drop a connection that nothing can be sent on.
    Dropped,
}

struct Session<T> {
    shared: Arc<Shared>,
    socket: Socket<T>,
    machine: Machine,
    executor: Executor,
    events: mpsc::UnboundedReceiver<Event>,
    event_sender: mpsc::UnboundedSender<Event>,
    messages: mpsc::Receiver<Box<viewer::Message>>,
    message_sender: mpsc::Sender<Box<viewer::Message>>,
    views: HashMap<u64, (AbortOnDropHandle<()>, Viewing)>,
    pages: Pages,
    /// What inputs that are not answered yet have taken of the inbound budget.
    inputs: HashMap<Token, Arc<OwnedSemaphorePermit>>,
    ping: Interval,
    /// What the message in hand has taken of the inbound budget.
    charge: Option<OwnedSemaphorePermit>,
    read_first: bool,
    messages_in: u64,
    bytes_in: u64,
    executes: u64,
}

/// Tells a client that there are too many sessions, and closes.
pub async fn refuse<T: AsyncRead + AsyncWrite + Unpin>(io: T, sessions: u64) {
    let mut socket = Socket::new(io, 64 * 1024, None).await;
    let error = RpcError::new(
        code::TOO_MANY_SESSIONS,
        "too_many_sessions",
        "there are too many sessions; try again later",
    )
    .with("limit", sessions);
    socket.queue(protocol::rpc::error(&Value::Null, &error).to_string());
    socket
        .close(close::TRY_AGAIN_LATER, "too many sessions")
        .await;
}

/// Runs a session to its end.
pub async fn run<T: AsyncRead + AsyncWrite + Unpin>(io: T, shared: Arc<Shared>) {
    let id = uuid::Uuid::new_v4().to_string();
    let start = Instant::now();
    let own = &shared.own;
    let message_bytes = usize::try_from(own.message_bytes).unwrap_or(usize::MAX);
    let (large, _) = transport::budgets(own.inbound_bytes);
    let inbound = transport::Inbound::new(shared.inbound.clone(), large, own.message_bytes);
    // Boxed, here and at the end: what is needed for a moment is no part of a task that lives for hours.
    let mut socket = Box::pin(Socket::new(io, message_bytes, Some(inbound))).await;
    socket.queue(connected(&id, &shared));
    let status_bytes = shared.viewer.status_bytes;
    let (event_sender, events) = mpsc::unbounded_channel();
    let (message_sender, messages) = mpsc::channel(VIEW_MESSAGES);
    let every = Duration::from_millis(own.ping_ms.max(1));
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut session = Session {
        machine: Machine::new(
            id.clone(),
            Bounds {
                batch: own.batch,
                status_bytes,
                views: shared.views,
            },
        ),
        shared: shared.clone(),
        socket,
        executor: Executor::default(),
        events,
        event_sender,
        messages,
        message_sender,
        views: HashMap::new(),
        pages: Pages::default(),
        inputs: HashMap::new(),
        ping,
        charge: None,
        read_first: true,
        messages_in: 0,
        bytes_in: 0,
        executes: 0,
    };
    let end = session.run().await;
    Box::pin(session.end(end, &id, start)).await;
}

impl<T: AsyncRead + AsyncWrite + Unpin> Session<T> {
    async fn run(&mut self) -> End {
        let shared = self.shared.clone();
        let mut stop = pin!(shared.shutdown.cancelled());
        loop {
            let happened = poll_fn(|cx| self.poll(cx, stop.as_mut())).await;
            let actions = match happened {
                Happened::Stop => return End::Ours(close::RESTARTING, "restarting"),
                Happened::Broken => return End::Peer(None),
                Happened::Tick => match self.socket.pulse() {
                    Ok(Pulse::Alive) => continue,
                    Ok(Pulse::Dead | Pulse::Stuck) => return End::Dropped,
                    Ok(Pulse::Starved) => {
                        return End::Ours(close::TRY_AGAIN_LATER, "no room for this message");
                    }
                    Err(_) => return End::Peer(None),
                },
                Happened::Inbound(inbound) => {
                    self.read_first = false;
                    match inbound {
                        Inbound::Text(text) => {
                            self.count(text.len());
                            let limits = self.shared.limits.borrow().clone();
                            let actions = self.machine.on_text(&text, limits.as_ref());
                            drop(text);
                            self.charge = self.socket.take_charge();
                            actions
                        }
                        Inbound::Binary => {
                            self.count(0);
                            self.charge = self.socket.take_charge();
                            self.machine.on_bad(&binary())
                        }
                        Inbound::Alive => continue,
                        Inbound::Closed(code) => return End::Peer(code.or(Some(1005))),
                        Inbound::Broken(Some(code)) => return End::Ours(code, ""),
                        Inbound::Broken(None) => return End::Peer(None),
                    }
                }
                Happened::Event(Event::Executed(token, result)) => {
                    self.executor.done(token);
                    self.executes += u64::from(result.is_ok());
                    self.machine.on_executed(token, *result)
                }
                Happened::Event(Event::Called(token, called)) => {
                    let Called {
                        result,
                        ended,
                        page,
                    } = *called;
                    let held = self.machine.held_bytes();
                    let actions = self.machine.on_called(token, result, &ended);
                    if let Some(page) = page {
                        let held = self.machine.held_bytes().saturating_sub(held);
                        self.pages.keep(page, &actions, held);
                    }
                    actions
                }
                Happened::Event(Event::ViewFailed) => {
                    return End::Ours(close::INTERNAL_ERROR, "a view failed; attach again");
                }
                Happened::View(message) => {
                    self.read_first = true;
                    let viewer::Message { view, text, last } = *message;
                    if !self.views.contains_key(&view) {
                        continue;
                    }
                    if self.socket.send(text).is_err() {
                        return End::Peer(None);
                    }
                    if last {
                        self.views.remove(&view);
                        self.machine.on_view_ended(view);
                        self.shared.viewer.metrics.viewers.take(1);
                    }
                    continue;
                }
            };
            self.charge_inputs();
            self.act(actions);
            self.charge = None;
        }
    }

    /// Everything that a session waits for. Reading and writing take turns in being first, so that neither a
    /// flood of requests nor a flood of output starves the other.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stop: Pin<&mut WaitForCancellationFuture<'_>>,
    ) -> Poll<Happened> {
        if stop.poll(cx).is_ready() {
            return Poll::Ready(Happened::Stop);
        }
        if self.ping.poll_tick(cx).is_ready() {
            return Poll::Ready(Happened::Tick);
        }
        if self.read_first
            && let Poll::Ready(happened) = self.poll_read(cx)
        {
            return Poll::Ready(happened);
        }
        if let Poll::Ready(Some(event)) = self.events.poll_recv(cx) {
            return Poll::Ready(Happened::Event(event));
        }
        match self.socket.poll_room(cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(Happened::Broken),
            Poll::Ready(Ok(())) => {
                self.pages.sent(self.machine.held_bytes() == 0);
                if let Poll::Ready(Some(message)) = self.messages.poll_recv(cx) {
                    return Poll::Ready(Happened::View(message));
                }
                // Nothing more for now: what is buffered goes out.
                if let Poll::Ready(Err(_)) = self.socket.poll_flush(cx) {
                    return Poll::Ready(Happened::Broken);
                }
            }
            Poll::Pending => {}
        }
        if self.read_first {
            Poll::Pending
        } else {
            self.read_first = true;
            self.poll_read(cx)
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        if self.socket.may_read() && !self.machine.is_full() {
            self.socket.poll_read(cx).map(Happened::Inbound)
        } else {
            // What ends the wait (an answer sent, a call back) wakes the task itself.
            self.socket.read_later();
            Poll::Pending
        }
    }

    fn count(&mut self, bytes: usize) {
        self.messages_in += 1;
        self.bytes_in += bytes as u64;
        let metrics = &self.shared.viewer.metrics;
        metrics.messages_in.add(1);
        metrics.bytes_in.add(bytes as u64);
    }

    /// Those of a large message keep its place until they are answered; those of a small one are charged when they are called.
    fn charge_inputs(&mut self) {
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

    fn act(&mut self, actions: Vec<Action>) {
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
                        Ok(charge) => self.executor.execute(job, charge, shared, events),
                        Err(()) => {
                            let error = inbound_full(shared.own.inbound_bytes)
                                .with("executionId", job.execute.id.to_string());
                            let result = Box::new(Err(error));
                            // Our own receiver is there.
                            let _ = events.send(Event::Executed(job.token, result));
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
                    let context = self.shared.viewer.clone();
                    let to = self.message_sender.clone();
                    let task = tokio::spawn(watched(
                        viewer::run(context, *start, view, to),
                        self.event_sender.clone(),
                    ));
                    let guard = self.shared.departures.view(id);
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

    async fn end(self, end: End, id: &str, start: Instant) {
        let Self {
            shared,
            socket,
            mut machine,
            mut events,
            event_sender,
            views,
            pages,
            messages_in,
            bytes_in,
            executes,
            ..
        } = self;
        let metrics = &shared.viewer.metrics;
        metrics.viewers.take(views.len() as u64);
        // Their guards must be gone before a departure looks for viewers.
        drop(views);
        let (messages_out, bytes_out) = socket.sent;
        metrics.messages_out.add(messages_out);
        metrics.bytes_out.add(bytes_out);
        // Results that came too late to be told still say what was accepted.
        events.close();
        while let Ok(event) = events.try_recv() {
            if let Event::Executed(token, result) = event {
                // What waited for it is not answered any more, but a signal is sent all the same.
                for action in machine.on_executed(token, *result) {
                    if let Action::Call(token, what @ Call::Control(..)) = action {
                        make_call(&shared, &event_sender, token, what, pages.turns(), None);
                    }
                }
            }
        }
        if !shared.shutdown.is_cancelled() {
            for id in machine.departing() {
                depart(&shared, id);
            }
        }
        let close_code = match end {
            End::Peer(code) => code.unwrap_or(1006),
            End::Ours(code, _) => code,
            End::Dropped => 1006,
        };
        tracing::info!(
            session = id,
            duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            executes, messages_in, bytes_in, messages_out, bytes_out, close_code,
            end = ?end,
            "session ended"
        );
        match end {
            End::Ours(code, reason) => socket.close(code, reason).await,
            End::Peer(Some(_)) => socket.finish().await,
            End::Peer(None) | End::Dropped => {}
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

fn make_call(
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

/// The first message of a session.
fn connected(session: &str, shared: &Shared) -> String {
    let limits = shared.limits.borrow().as_ref().map(|limits| {
        let mut limits = json!(limits);
        limits["views"] = shared.views.into();
        limits
    });
    let params = json!({
        "sessionId": session,
        "protocol": PROTOCOL,
        "version": env!("CARGO_PKG_VERSION"),
        "capabilities": {
            "methods": [
                method::EXECUTE, method::CONTROL, method::ATTACH, method::DETACH, method::STATUS,
                method::LIST, method::INPUT, method::PING,
            ],
            "control": ["PAUSE", "RESUME", "CANCEL"],
            "formats": ["text", "events"],
            "onSlow": ["wait", "skip"],
            "onDisconnect": ["continue", "cancel"],
            "batch": true,
            "input": true,
        },
        "limits": limits,
    });
    notification(method::CONNECTED, &params).to_string()
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

    /// What a session's task and its channels hold from their first moment, for as long as it lives.
    #[test]
    fn an_idle_session_is_small() {
        type Io = hyper_util::rt::TokioIo<hyper::upgrade::Upgraded>;
        fn size<T, F>(_: impl Fn(T, Arc<Shared>) -> F) -> usize {
            size_of::<F>()
        }
        let task = size(run::<Io>);
        assert!(task <= 3 * 1024, "{task} bytes");
        assert!(size_of::<Event>() <= 24 && size_of::<Box<viewer::Message>>() <= 8);
    }
}
