//! The task of one session: socket, machine, views, executor.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use protocol::rpc::{RpcError, close, code, method, notification};
use protocol::{Limits, PROTOCOL};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::WaitForCancellationFuture;
use tokio_util::task::AbortOnDropHandle;

use super::departures::Viewing;
use super::executor::{Charge, Executor, depart};
use super::machine::{Action, Machine};
use super::request::binary;
use super::socket::{Inbound, Pulse, Socket};
use super::{Event, Shared, call};
use crate::viewer;

/// Messages of views that wait for the socket. Each view may have one more in the making.
const VIEW_MESSAGES: usize = 1;
/// Calls under way, before no more requests are read.
const CALLS: usize = 128;

/// What happened.
enum Happened {
    Inbound(Inbound),
    Event(Event),
    View(viewer::Message),
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
    messages: mpsc::Receiver<viewer::Message>,
    message_sender: mpsc::Sender<viewer::Message>,
    views: HashMap<u64, (AbortOnDropHandle<()>, Viewing)>,
    ping: Interval,
    read_first: bool,
    messages_in: u64,
    bytes_in: u64,
    executes: u64,
}

/// Tells a client that there are too many sessions, and closes.
pub async fn refuse<T: AsyncRead + AsyncWrite + Unpin>(io: T, sessions: u64) {
    let mut socket = Socket::new(io, 64 * 1024).await;
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
    let mut socket = Socket::new(io, message_bytes).await;
    socket.queue(connected(&id, shared.limits.borrow().as_ref()));
    let status_bytes = shared.viewer.status_bytes;
    let (event_sender, events) = mpsc::unbounded_channel();
    let (message_sender, messages) = mpsc::channel(VIEW_MESSAGES);
    let every = Duration::from_millis(own.ping_ms.max(1));
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut session = Session {
        machine: Machine::new(id.clone(), own.batch, status_bytes),
        shared: shared.clone(),
        socket,
        executor: Executor::default(),
        events,
        event_sender,
        messages,
        message_sender,
        views: HashMap::new(),
        ping,
        read_first: true,
        messages_in: 0,
        bytes_in: 0,
        executes: 0,
    };
    let end = session.run().await;
    session.end(end, &id, start).await;
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
                    Err(_) => return End::Peer(None),
                },
                Happened::Inbound(inbound) => {
                    self.read_first = false;
                    match inbound {
                        Inbound::Text(text) => {
                            self.count(text.len());
                            let limits = self.shared.limits.borrow().clone();
                            self.machine.on_text(&text, limits.as_ref())
                        }
                        Inbound::Binary => {
                            self.count(0);
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
                Happened::Event(Event::Called(token, result)) => {
                    self.machine.on_called(token, result)
                }
                Happened::View(message) => {
                    self.read_first = true;
                    let viewer::Message { view, text, last } = message;
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
            self.act(actions);
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
        if self.socket.may_read() && self.machine.open_calls() < CALLS {
            self.socket.poll_read(cx).map(Happened::Inbound)
        } else {
            // What ends the wait (an answer sent, a call back) wakes the task itself.
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

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(text) => self.socket.queue(text),
                Action::StopRetrying(token) => self.executor.stop(token),
                Action::Execute(job) => {
                    let bytes = job.body.len() as u64;
                    let budget = self.shared.own.inbound_bytes;
                    match Charge::take(&self.shared.viewer.metrics, bytes, budget) {
                        Some(charge) => {
                            let (shared, events) = (&self.shared, &self.event_sender);
                            self.executor.execute(job, charge, shared, events);
                        }
                        None => {
                            let error = RpcError::new(
                                code::QUEUE_FULL,
                                "inbound_bytes",
                                "too many bytes of executes wait for claude-api; try again later",
                            );
                            let error = error
                                .with("limit", budget)
                                .with("executionId", job.id.to_string());
                            let result = Box::new(Err(error));
                            // Our own receiver is there.
                            let _ = self.event_sender.send(Event::Executed(job.token, result));
                        }
                    }
                }
                Action::Call(token, what) => {
                    let (shared, events) = (self.shared.clone(), self.event_sender.clone());
                    self.shared.tracker.spawn(async move {
                        let result = call(shared, what).await;
                        // The session may be gone; the call was made all the same.
                        let _ = events.send(Event::Called(token, result));
                    });
                }
                Action::View(view, start) => {
                    let id = start.status.execution_id;
                    let context = self.shared.viewer.clone();
                    let to = self.message_sender.clone();
                    let task = tokio::spawn(viewer::run(context, *start, view, to));
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
            views,
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
                machine.on_executed(token, *result);
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

/// The first message of a session.
fn connected(session: &str, limits: Option<&Limits>) -> String {
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
