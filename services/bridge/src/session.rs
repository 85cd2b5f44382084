//! The task of one session: socket, machine, views, executor.

mod act;
mod end;
mod hello;

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use protocol::ExecutionId;
use protocol::rpc::{RpcError, close, code};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::WaitForCancellationFuture;
use tokio_util::task::AbortOnDropHandle;

use super::action::Action;
use super::departures::{Asking, Viewing};
use super::executor::Executor;
use super::machine::{Bounds, Machine};
use super::outbound::{self, Share};
use super::pages::Pages;
use super::replies::Token;
use super::request::binary;
use super::room::{Charge, Room};
use super::socket::{Inbound, Pulse, Socket};
use super::transport;
use super::{Called, Event, Executed, Shared};
use crate::viewer;
use hello::connected;

/// Messages of views that wait for the socket. Each view may have one more in the making.
const VIEW_MESSAGES: usize = 1;

/// What happened.
enum Happened {
    Inbound(Inbound),
    Event(Event),
    View(Box<viewer::Message>),
    /// Looks that waited for room.
    Looks(Vec<Action>),
    /// The unfinished message of this session was evicted.
    Evicted,
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
    /// The session's id, which claude-api gets as the `viewer` of its streams.
    name: Arc<str>,
    /// Requests for views that may still begin.
    asking: HashMap<ExecutionId, Asking>,
    /// What inputs that are not answered yet have taken of the inbound budget.
    inputs: HashMap<Token, Arc<Charge>>,
    /// The session's own limits of inbound bytes for unanswered executes and inputs, large and
    /// small. None before the first execute.
    own_inbound: Option<[Arc<Room>; 2]>,
    share: Arc<Share>,
    /// Outbound bytes of answers that wait for their batch, and of calls under way.
    held: outbound::Charge,
    ping: Interval,
    /// What the message in hand has taken of the inbound budget.
    charge: Option<Charge>,
    read_first: bool,
    messages_in: u64,
    bytes_in: u64,
    /// Messages and their bytes that were sent and counted.
    sent: (u64, u64),
    executes: u64,
}

/// Tells a client that there are too many sessions, and closes.
pub async fn refuse<T: AsyncRead + AsyncWrite + Unpin>(io: T, sessions: u64) {
    let mut socket = Socket::new(io, 64 * 1024, None, None).await;
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
    let inbound = transport::Inbound::new(shared.inbound.clone(), own.message_bytes);
    let share = Share::new(shared.outbound.clone());
    let limits = shared.outbound.limits();
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    // Boxed, here and at the end: what is needed for a moment is no part of a task that lives for hours.
    let socket = Socket::new(io, message_bytes, Some(inbound), Some(&share));
    let mut socket = Box::pin(socket).await;
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
                session_bytes: bytes(limits.session),
                floor_bytes: bytes(limits.floor),
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
        name: id.as_str().into(),
        asking: HashMap::new(),
        inputs: HashMap::new(),
        own_inbound: None,
        held: share.charge(),
        share,
        ping,
        charge: None,
        read_first: true,
        messages_in: 0,
        bytes_in: 0,
        sent: (0, 0),
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
            let happened = poll_fn(|cx| {
                let happened = self.poll(cx, stop.as_mut());
                // Also when nothing happened: what was sent may be all for hours.
                self.count_sent();
                happened
            });
            let happened = happened.await;
            let mut actions = match happened {
                Happened::Stop => return End::Ours(close::RESTARTING, "restarting"),
                Happened::Broken => return End::Peer(None),
                Happened::Evicted => {
                    return End::Ours(close::TRY_AGAIN_LATER, "no room for this message");
                }
                Happened::Looks(actions) => actions,
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
                Happened::Event(Event::Executed(token, executed)) => {
                    let Executed { result, asking } = *executed;
                    self.executor.done(token);
                    self.executes += u64::from(result.is_ok());
                    self.asks(asking.filter(|_| result.is_ok()));
                    self.machine.on_executed(token, result)
                }
                Happened::Event(Event::Called(token, called)) => {
                    let Called {
                        result,
                        ended,
                        turn,
                        asking,
                    } = *called;
                    self.asks(asking.filter(|_| result.is_ok()));
                    let actions = self.machine.on_called(token, result, &ended);
                    if let Some(turn) = turn {
                        self.pages.keep(turn, &actions);
                    }
                    actions
                }
                Happened::Event(Event::ViewFailed) => {
                    return End::Ours(close::INTERNAL_ERROR, "a view failed; attach again");
                }
                Happened::View(message) => {
                    self.read_first = true;
                    let viewer::Message {
                        view,
                        text,
                        last,
                        charge: _charge,
                    } = *message;
                    if !self.views.contains_key(&view) {
                        continue;
                    }
                    if self.socket.send(text).is_err() {
                        return End::Peer(None);
                    }
                    if last {
                        self.views.remove(&view);
                        self.machine.on_view_ended(view);
                        self.shared.viewer.metrics.viewers.dec();
                    }
                    continue;
                }
            };
            self.charge_inputs(&mut actions);
            self.act(actions);
            if !self.machine.owes_views() {
                self.asking.clear();
            }
            self.charge = None;
            self.held.set(self.machine.pledged_bytes());
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
        if self.socket.is_evicted() {
            return Poll::Ready(Happened::Evicted);
        }
        let room = (self.socket.unsent(), self.share.all().is_short());
        self.machine.set_room(room.0, room.1);
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
                self.pages.sent();
                self.machine.set_room(0, room.1);
                let looks = self.machine.looks();
                if !looks.is_empty() {
                    return Poll::Ready(Happened::Looks(looks));
                }
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
        if !self.machine.is_full() {
            self.socket.poll_read(cx).map(Happened::Inbound)
        } else {
            // What ends the wait (an answer sent, a call back) wakes the task itself.
            self.socket.read_later();
            Poll::Pending
        }
    }

    /// Keeps the request for a view that was granted; the view begins when its answer is sent.
    fn asks(&mut self, asking: Option<Asking>) {
        self.asking
            .extend(asking.map(|asking| (asking.id(), asking)));
    }

    /// Counts what the socket has sent since the last call.
    fn count_sent(&mut self) {
        let (messages, bytes) = std::mem::take(&mut self.socket.sent);
        if messages > 0 {
            self.sent.0 += messages;
            self.sent.1 += bytes;
            let metrics = &self.shared.viewer.metrics;
            metrics.messages_out.inc_by(messages);
            metrics.bytes_out.inc_by(bytes);
        }
    }

    fn count(&mut self, bytes: usize) {
        self.messages_in += 1;
        self.bytes_in += bytes as u64;
        let metrics = &self.shared.viewer.metrics;
        metrics.messages_in.inc();
        metrics.bytes_in.inc_by(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
