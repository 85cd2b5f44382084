//! One WebSocket session of a client. A task owns the socket, and performs the actions that the
//! state machine [`machine::Machine`] decides on. The machine itself does no I/O.
//!
//! - [`wire`] turns received bytes into requests, and answers into bytes to send.
//! - [`machine`] has the state machine, with a diagram of the states of a request.
//! - [`task`] has the parts of the task that do I/O.
//!
//! The path of an `execute` from the socket to the PUT, with the file of each step:
//!
//! ```text
//! client
//!   | bytes
//!   v
//! wire/transport.rs      tracks the frames (wire/frames.rs); charges a large message to the
//!   |                    inbound budget before its bytes are read (wire/message_charge.rs)
//! wire/socket.rs         a whole text message
//!   |
//! session.rs             Session::run, woken by task/wait.rs: gives the text to the machine
//!   |
//! machine.rs             Machine::on_text
//!   |   wire/request.rs  parses the text (wire/bounded_json.rs) into requests
//!   |
//! machine/requests.rs    checks the session's limits, notes the request (machine/open_requests.rs,
//!   |                    machine/pending.rs, machine/view_order.rs): Action::Execute
//! task/perform.rs        charges the body to the inbound budget
//!   |
//! handover/executor.rs   a task that waits for the previous execute
//!   |
//! upstream/accept.rs     PUT, repeated until claude-api has accepted or refused it
//!   v
//! claude-api
//! ```
//!
//! The path back: first the answer, then the output of the view that begins after it.
//!
//! ```text
//! claude-api
//!   | status                                    | statuses and output
//!   v                                           v
//! upstream/accept.rs                          upstream/follow.rs, upstream/output.rs
//!   |                                           |   hide cuts and retries
//! handover/executor.rs                        viewer.rs      one task for each view
//!   |   Completion::Executed                    |
//! session.rs                                  viewer/order.rs   statuses, notices, output, gaps
//!   |                                           |               in the order that clients rely on
//! machine.rs   Machine::on_executed           viewer/buffer.rs  cuts output between characters
//!   |                                           |
//! machine/view_order.rs, machine/apply.rs     protocol::message   JSON
//!   |   the status becomes the answer           |
//! machine/open_requests.rs                      |   a channel with room for one message
//!   |   holds back the answers of a batch       v
//! wire/answer.rs   JSON                       session.rs
//!   |                                           |
//! task/perform.rs  Action::Send; then           |
//!   |   Action::View starts the view            |
//!   v                                           v
//! wire/socket.rs   answers never wait behind output; both count in the outbound budget
//!   |
//! wire/transport.rs
//!   v
//! client
//! ```
//!
//! Most other requests follow the same path, with two differences. The action is `Action::Call`,
//! which `task/calls.rs` performs in a separate task through the short calls of `upstream`. The
//! result returns as `Completion::Called`. The machine answers `ping` and `detach` without a call.

pub mod completion;
pub mod machine;
pub mod shared;
pub mod task;
pub mod wire;

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::rpc::close;
use protocol::{ExecutionId, TraceContext};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::task::AbortOnDropHandle;

use crate::access::grant::Grant;
use crate::budget::SessionInbound;
use crate::budget::inbound::InboundCharge;
use crate::budget::lists::SessionLists;
use crate::budget::outbound::{self, Share};
use crate::budget::principals::PrincipalBudget;
use crate::handover::departures::{ViewGuard, ViewRequest};
use crate::handover::executor::{CompletedExecute, Executor};
use crate::viewer;
use completion::{CompletedCall, Completion};
use machine::action::Action;
use machine::call::CallReply;
use machine::open_requests::Token;
use machine::{Bounds, Machine};
use shared::Shared;
use task::greeting::connected;
use wire::frame_rate::FrameRate;
use wire::liveness::Pulse;
use wire::message_charge::MessageCharge;
use wire::request::binary;
use wire::socket::{Received, SentMessages, Socket};

/// How many messages of views (output and statuses for the client) wait in a session's channel.
/// This is the least possible value. Each view may hold one more message, so a longer channel would
/// only cost memory while a client reads slowly.
const VIEW_MESSAGES: usize = 1;

/// The event for which the task of a session wakes up. The task handles one event, performs the
/// actions that follow from it, and waits for the next one.
enum Wakeup {
    /// The WebSocket delivered a message, a ping, a pong or a close frame, or its connection broke.
    Received(Received),
    /// A task of this session has reported. An execute or a call to claude-api has its result, or
    /// the task of a view has panicked.
    Completion(Completion),
    /// A view has a message for the client (output, a status or a notice), and the socket has room
    /// for it.
    View(Box<viewer::ViewMessage>),
    /// Waiting queries (status, list, events) can start, because the client has read enough of its
    /// earlier answers. Contains their calls to claude-api.
    Queries(Vec<Action>),
    /// The bridge needs the memory of this client's unfinished message, because it arrives too
    /// slowly while other messages wait for memory. The session must close with 1013 (try again
    /// later).
    Evicted,
    /// A ping interval is over. The session now judges whether the client is alive and pings it.
    Tick,
    /// The grant of the session is revoked. If the bridge stops, the session closes with 1012
    /// (service restart). Otherwise its token is no longer valid, and it closes with 1008 (policy).
    Revoked,
    /// The connection failed while the session was writing to it.
    Broken,
}

/// The reason why a session ends. It decides whether a close frame is sent, and appears in the log
/// line `session ended`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client closed the connection with this WebSocket close code (1005 if it gave none).
    /// `None` if the connection broke without a close frame.
    Peer(Option<u16>),
    /// The bridge closes the session with this WebSocket close code and this reason text.
    Ours(u16, &'static str),
    /// The bridge drops the connection without a close frame, because the client is silent or reads
    /// nothing for two ping intervals. It would not read the frame either.
    Dropped,
}

/// What the log shows of a session. It is boxed, because it is rarely used.
#[derive(Debug)]
struct SessionLog {
    /// The address of the client.
    client: IpAddr,
    /// When the session began.
    began: Instant,
    /// The number of messages received from the client.
    messages_in: u64,
    /// The bytes of these messages.
    bytes_in: u64,
    /// The messages sent to the client, with their bytes.
    sent: SentMessages,
    /// The number of executes that claude-api has accepted.
    executes: u64,
}

/// One WebSocket session with its socket, its state and its tasks. It belongs to a single task, so
/// it needs no locks.
struct Session<T> {
    shared: Arc<Shared>,
    log: Box<SessionLog>,
    /// The part of the client's principal in the memory budgets. `None` without a principal.
    principal: Option<Arc<PrincipalBudget>>,
    /// The permission of the client, with the client for claude-api that sends its token.
    grant: Arc<Grant>,
    socket: Socket<T>,
    machine: Machine,
    executor: Executor,
    completions: mpsc::UnboundedReceiver<Completion>,
    completion_sender: mpsc::UnboundedSender<Completion>,
    /// The messages of all views of the session (output, statuses, notices), received one at a
    /// time.
    messages: mpsc::Receiver<Box<viewer::ViewMessage>>,
    message_sender: mpsc::Sender<Box<viewer::ViewMessage>>,
    /// The task of each open view, by the number that the machine gave the view. Removing an entry
    /// aborts the task. The guard counts as a viewer of the execution until it is dropped.
    views: HashMap<u64, (AbortOnDropHandle<()>, ViewGuard)>,
    lists: SessionLists,
    /// The session's id (a UUID). claude-api receives it as the `viewer` of the streams that the
    /// session reads.
    name: Arc<str>,
    /// The views that were requested but have not begun, by execution. Each entry counts as a
    /// viewer, so the execution is not cancelled for lack of one in the meantime.
    view_requests: HashMap<ExecutionId, ViewRequest>,
    /// The traces of answered executes and attaches whose views have not begun, by execution. At
    /// most as many as the session may view. Empty without the export of traces, unless clients
    /// name traces.
    traces: BTreeMap<ExecutionId, TraceContext>,
    /// The memory charges for inputs (lines for a CLI's stdin) and answers without a reply, by
    /// the token of the request. They count in the budget for incoming messages.
    inputs: HashMap<Token, Arc<InboundCharge>>,
    /// This session's own limits within the memory budget for incoming messages. `None` before the
    /// first execute, so an idle session needs no memory for them.
    own_inbound: Option<Box<SessionInbound>>,
    /// The part of the memory budget for outgoing messages that this session uses. The socket, the
    /// answers and the views charge their buffers to it.
    share: Arc<Share>,
    /// The charge for the memory of answers that are not queued in the socket yet. They wait for
    /// their batch or for earlier requests, or their call to claude-api is in flight.
    held: outbound::OutboundCharge,
    ping: Interval,
    /// The memory reserved for the message that is being handled. Its executes and inputs split
    /// their parts off. `None` for a message of at most 64 KiB, whose executes and inputs reserve
    /// memory one by one.
    charge: Option<InboundCharge>,
    /// Whether the next poll tries to read from the socket before it tries to write. It alternates,
    /// so a flood in one direction cannot starve the other.
    read_first: bool,
}

/// Runs a session on a connection whose WebSocket handshake is done. Returns when the client
/// leaves, the bridge stops, or an error or a silent client ends the session. Executes that were
/// already handed over to claude-api continue without it.
///
/// `grant` is the client's permission; the session ends when it is revoked. `client` is the address
/// of the client, for the log.
pub async fn run<T: AsyncRead + AsyncWrite + Unpin>(
    io: T,
    shared: Arc<Shared>,
    grant: Arc<Grant>,
    client: IpAddr,
) {
    let name: Arc<str> = uuid::Uuid::new_v4().to_string().into();
    let log = Box::new(SessionLog {
        client,
        began: Instant::now(),
        messages_in: 0,
        bytes_in: 0,
        sent: SentMessages::default(),
        executes: 0,
    });
    let own_limits = &shared.own_limits;
    let message_bytes = usize::try_from(own_limits.message_bytes).unwrap_or(usize::MAX);
    let quota = grant.quota();
    let principal = quota.map(|principal| shared.budgets.of_principal(principal));
    let part = principal.as_ref();
    let charge = MessageCharge::new(shared.budgets.large.clone(), own_limits.message_bytes)
        .of_principal(part.map(|part| part.large.clone()));
    let part = part.map(|part| part.outbound.clone());
    let share = Share::new(shared.budgets.outbound.clone(), part);
    let limits = shared.budgets.outbound.limits();
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    // Boxed here and at the end: the memory of a short step must not enlarge a task that lives for
    // hours.
    let socket = Socket::new(io, message_bytes, Some(charge), Some(&share));
    let mut socket = Box::pin(socket).await;
    socket.limit_frames(FrameRate::new(
        own_limits.frames_per_second,
        own_limits.frames_burst,
    ));
    socket.queue(connected(&name, &shared));
    let status_bytes = shared.viewer.status_bytes;
    let (completion_sender, completions) = mpsc::unbounded_channel();
    let (message_sender, messages) = mpsc::channel(VIEW_MESSAGES);
    let every = Duration::from_millis(own_limits.ping_ms.max(1));
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut session = Session {
        machine: Machine::new(
            name.to_string(),
            Bounds {
                batch: own_limits.batch,
                status_bytes,
                views: shared.views,
                session_bytes: bytes(limits.session),
                floor_bytes: bytes(limits.floor),
            },
        ),
        shared,
        principal,
        log,
        socket,
        executor: Executor::new(name.clone(), grant.clone()),
        grant,
        completions,
        completion_sender,
        messages,
        message_sender,
        views: HashMap::new(),
        lists: SessionLists::default(),
        name,
        view_requests: HashMap::new(),
        traces: BTreeMap::new(),
        inputs: HashMap::new(),
        own_inbound: None,
        held: share.charge(),
        share,
        ping,
        charge: None,
        read_first: true,
    };
    session.log_opened();
    let end = session.run().await;
    Box::pin(session.end(end)).await;
}

impl<T: AsyncRead + AsyncWrite + Unpin> Session<T> {
    async fn run(&mut self) -> End {
        let grant = self.grant.clone();
        let mut revoked = pin!(grant.revoked().cancelled());
        loop {
            let wakeup = poll_fn(|cx| {
                let wakeup = self.poll_wakeup(cx, revoked.as_mut());
                // On every poll, because the task may sleep for hours afterwards.
                self.count_sent();
                self.count_frame_waits();
                wakeup
            });
            let mut actions = match wakeup.await {
                Wakeup::Revoked if self.shared.shutdown.is_cancelled() => {
                    return End::Ours(close::RESTARTING, "restarting");
                }
                Wakeup::Revoked => return End::Ours(close::POLICY, self.grant.reason()),
                Wakeup::Broken => return End::Peer(None),
                Wakeup::Evicted => {
                    return End::Ours(close::TRY_AGAIN_LATER, "no room for this message");
                }
                Wakeup::Queries(actions) => actions,
                Wakeup::Tick => match self.socket.pulse() {
                    Ok(Pulse::Alive) => continue,
                    Ok(Pulse::Dead | Pulse::Stuck) => return End::Dropped,
                    Ok(Pulse::Starved) => {
                        return End::Ours(close::TRY_AGAIN_LATER, "no room for this message");
                    }
                    Err(_) => return End::Peer(None),
                },
                Wakeup::Received(received) => {
                    self.read_first = false;
                    match received {
                        Received::Text(text) => self.on_text(&text),
                        Received::Binary => {
                            self.count_received(0);
                            self.charge = self.socket.take_charge();
                            self.machine.on_unreadable(&binary())
                        }
                        Received::Alive => continue,
                        Received::Closed(code) => return End::Peer(code.or(Some(1005))),
                        Received::Broken(Some(code)) => return End::Ours(code, ""),
                        Received::Broken(None) => return End::Peer(None),
                    }
                }
                Wakeup::Completion(Completion::Executed(token, executed)) => {
                    self.on_executed(token, *executed)
                }
                Wakeup::Completion(Completion::Called(token, called)) => {
                    self.on_called(token, *called)
                }
                Wakeup::Completion(Completion::ViewFailed) => {
                    return End::Ours(close::INTERNAL_ERROR, "a view failed; attach again");
                }
                Wakeup::View(message) => {
                    self.read_first = true;
                    match self.on_view_message(*message) {
                        Ok(()) => continue,
                        Err(end) => return end,
                    }
                }
            };
            self.charge_inputs(&mut actions);
            self.perform(actions);
            if !self.machine.owes_views() {
                self.view_requests.clear();
                self.traces.clear();
            }
            self.charge = None;
            self.held.set(self.machine.pledged_bytes());
        }
    }

    /// Logs the start of the session with the address and the principal of its client.
    fn log_opened(&self) {
        let me = self.grant.me();
        tracing::info!(
            session = &*self.name,
            client = %self.log.client,
            principal = me.principal.as_deref(),
            token = me.name.as_deref(),
            "session opened"
        );
    }

    fn on_text(&mut self, text: &str) -> Vec<Action> {
        self.count_received(text.len());
        let limits = self.shared.limits.borrow().clone();
        let actions = self.machine.on_text(text, limits.as_ref());
        self.charge = self.socket.take_charge();
        actions
    }

    fn on_executed(&mut self, token: Token, executed: CompletedExecute) -> Vec<Action> {
        let CompletedExecute {
            result,
            view_request,
            trace,
        } = executed;
        self.executor.done(token);
        self.log.executes += u64::from(result.is_ok());
        self.keep(view_request.filter(|_| result.is_ok()));
        if let (Ok(status), Some(trace)) = (&result, trace) {
            self.traces.insert(status.execution_id, trace);
        }
        self.machine.on_executed(token, result)
    }

    fn on_called(&mut self, token: Token, called: CompletedCall) -> Vec<Action> {
        let CompletedCall {
            result,
            ended,
            turn,
            view_request,
            trace,
        } = called;
        self.keep(view_request.filter(|_| result.is_ok()));
        if let (Ok(CallReply::Attach(status, _)), Some(trace)) = (&result, trace) {
            self.traces.insert(status.execution_id, trace);
        }
        let actions = self.machine.on_called(token, result, &ended);
        if let Some(turn) = turn {
            let sent = actions.iter().map(|action| match action {
                Action::Send(text) => text.len(),
                _ => 0,
            });
            self.lists.keep(turn, sent.sum());
        }
        actions
    }

    /// Sends one message of a view to the client. A message of a view that the session has already
    /// ended is dropped. After the last message of a view, the session forgets the view.
    ///
    /// # Errors
    /// The connection is broken, so the session must end.
    fn on_view_message(&mut self, message: viewer::ViewMessage) -> Result<(), End> {
        let viewer::ViewMessage {
            view,
            text,
            last,
            charge: _charge,
        } = message;
        if !self.views.contains_key(&view) {
            return Ok(());
        }
        if self.socket.send(text).is_err() {
            return Err(End::Peer(None));
        }
        if last {
            self.views.remove(&view);
            self.machine.on_view_ended(view);
            self.shared.viewer.metrics.viewers.dec();
        }
        Ok(())
    }

    /// Keeps a request for a view until its view begins, which is directly after the answer.
    /// Meanwhile the execution is not cancelled for lack of a viewer. Does nothing for `None`.
    fn keep(&mut self, request: Option<ViewRequest>) {
        self.view_requests
            .extend(request.map(|request| (request.id(), request)));
    }

    /// Adds the messages that the socket has sent since the last call to the session's totals and
    /// to the bridge's metrics.
    fn count_sent(&mut self) {
        let SentMessages { messages, bytes } = std::mem::take(&mut self.socket.sent);
        if messages > 0 {
            self.log.sent.messages += messages;
            self.log.sent.bytes += bytes;
            let metrics = &self.shared.viewer.metrics;
            metrics.messages_out.inc_by(messages);
            metrics.bytes_out.inc_by(bytes);
        }
    }

    /// Adds the waits for the limit of frames since the last call to the bridge's metrics.
    fn count_frame_waits(&mut self) {
        for _ in 0..self.socket.take_frame_waits() {
            self.shared.viewer.metrics.refused("frames_per_second");
        }
    }

    /// Adds one received message of `bytes` bytes to the session's totals and to the bridge's
    /// metrics.
    fn count_received(&mut self, bytes: usize) {
        self.log.messages_in += 1;
        self.log.bytes_in += bytes as u64;
        let metrics = &self.shared.viewer.metrics;
        metrics.messages_in.inc();
        metrics.bytes_in.inc_by(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The memory that a session's task and channels hold from their first moment to the end.
    #[test]
    fn an_idle_session_is_small() {
        type Io = hyper_util::rt::TokioIo<hyper::upgrade::Upgraded>;
        fn size<T, F>(_: impl Fn(T, Arc<Shared>, Arc<Grant>, IpAddr) -> F) -> usize {
            size_of::<F>()
        }
        let task = size(run::<Io>);
        assert!(task <= 3 * 1024, "{task} bytes");
        assert!(size_of::<Completion>() <= 24 && size_of::<Box<viewer::ViewMessage>>() <= 8);
    }
}
