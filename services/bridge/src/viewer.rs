//! The view of one execution in one session: a task that streams the execution's statuses and
//! output from claude-api to the client. It sends messages to the session one at a time, and only
//! while the socket has room. So a slow client holds little memory.

pub mod buffer;
mod elapsed;
pub mod notices;
pub mod order;
pub mod questions;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use protocol::Status;
use protocol::rpc::OnSlow;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, sleep};

use crate::budget::outbound::{OutboundCharge, Share};
use crate::metrics::Metrics;
use crate::upstream::Upstream;
use crate::upstream::follow::{FollowItem, FollowStream};
use crate::upstream::output::{OutputItem, OutputStream};
use crate::upstream::questions::{FetchItem, QuestionFetch};
use buffer::Skip;
use order::Order;

/// The settings and counters that all views of the bridge share.
#[derive(Debug, Clone)]
pub struct Context {
    /// The most unsent output of a view with `onSlow: skip`. Older output beyond it is dropped.
    pub skip: Skip,
    /// The longest status object in a message to the client, in bytes. A longer one is shortened.
    pub status_bytes: usize,
    /// The counters of gaps and of dropped bytes.
    pub metrics: Arc<Metrics>,
}

/// What a view must know when it begins, directly after the answer to its execute or attach.
#[derive(Debug, Clone)]
pub struct ViewStart {
    /// The status of the execution that the client has received in the answer.
    pub status: Status,
    /// The offset in bytes at which the client wants the output to begin. `None` means from 0. If
    /// claude-api no longer has byte 0, the view then begins with a gap.
    pub offset: Option<u64>,
    /// Whether the view pauses or drops output when its client reads too slowly.
    pub on_slow: OnSlow,
}

/// One message of a view for its client, such as a status, output or a question. It is sent in a
/// `Box`, because tokio allocates a channel in blocks of 32 items, and every idle session has a
/// channel.
#[derive(Debug)]
pub struct ViewMessage {
    /// The number of the view in its session. The session drops messages of a view that it has
    /// ended.
    pub view: u64,
    /// The JSON-RPC notification, as JSON text.
    pub text: String,
    /// Whether this is the terminal status, which is the last message of the view.
    pub last: bool,
    /// The bytes of the message in the memory budget for unread output. They are released when the
    /// socket has accepted the message.
    pub charge: OutboundCharge,
}

/// The clock of one view, for the `elapsedMs` of its statuses. It is read once from the wall clock
/// and is monotonic from then on. It starts no earlier than the newest time in claude-api's status,
/// so no elapsed time is negative.
struct Clock {
    wall: Timestamp,
    read_at: Instant,
}

impl Clock {
    /// Starts the clock at the wall clock's time, or at the newest time in `status` if that is
    /// later.
    fn start(status: &Status) -> Self {
        let known = status.started_at.unwrap_or(status.created_at);
        Self {
            wall: Timestamp::now().max(known),
            read_at: Instant::now(),
        }
    }

    /// Returns the time of this clock. It never goes back, even if the wall clock is set back.
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.read_at.elapsed()).unwrap_or_default();
        self.wall.checked_add(passed).unwrap_or(self.wall)
    }
}

/// A request for permission to send one message to the session, which waits until the session has
/// room.
type Permit = Pin<Box<dyn Future<Output = Option<mpsc::OwnedPermit<Box<ViewMessage>>>> + Send>>;

/// Waits until the session accepts one more message. Returns `None` if the session has ended. If no
/// permit is requested, waits forever. Cancel-safe: a pending request keeps its position in the
/// channel's queue.
async fn granted(permit: Option<&mut Permit>) -> Option<mpsc::OwnedPermit<Box<ViewMessage>>> {
    match permit {
        Some(permit) => permit.await,
        None => std::future::pending().await,
    }
}

/// The number of checks in a row without memory after which a view closes its stream from
/// claude-api, because an open stream needs memory itself. The checks are `Times::stall` apart.
const CHECKS_WITHOUT_ROOM: u32 = 2;

/// Runs the view with the number `view` until its last message is sent or the session has ended.
/// Its buffered bytes count in `share`, the memory of the session for unread output. While that is
/// used up, the view reads no more from claude-api, and resumes later at the same offset. The task
/// may be aborted at any point. `upstream` sends the token of the session to claude-api.
pub async fn run(
    context: Context,
    upstream: Upstream,
    start: ViewStart,
    view: u64,
    messages: mpsc::Sender<Box<ViewMessage>>,
    share: Arc<Share>,
) {
    let Context {
        skip,
        status_bytes,
        metrics,
    } = context;
    let id = start.status.execution_id;
    let skip = (start.on_slow == OnSlow::Skip).then_some(skip);
    let clock = Clock::start(&start.status);
    let mut order = Order::new(start.status, start.offset, skip, status_bytes);
    let mut follow = FollowStream::new(upstream.clone(), id);
    let mut output = OutputStream::new(upstream.clone(), id, order.read_from());
    let mut questions = QuestionFetch::new(upstream.clone(), id);
    let heartbeat = upstream.times.heartbeat;
    let mut next_heartbeat = std::pin::pin!(sleep(heartbeat));
    let mut check = tokio::time::interval(upstream.times.stall);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Kept across iterations, so that the view keeps its position in the channel's queue.
    let mut permit: Option<Permit> = None;
    let mut dropped = 0;
    let mut charge = share.charge();
    let mut checks_without_room = 0;
    if order.has_more_upstream() {
        output.open();
    }
    loop {
        if permit.is_none() && order.has_message() {
            let messages = messages.clone();
            permit = Some(Box::pin(async move { messages.reserve_owned().await.ok() }));
        }
        charge.set(order.held_bytes());
        let mut has_room = share.has_room();
        if !has_room && order.wants_bytes() {
            order.shrink();
            charge.set(order.held_bytes());
            has_room = share.has_room();
        }
        if order.dropped() > dropped {
            metrics.skipped_bytes.inc_by(order.dropped() - dropped);
            dropped = order.dropped();
        }
        let needs_room = !has_room && order.wants_bytes();
        if !needs_room
            && std::mem::take(&mut checks_without_room) >= CHECKS_WITHOUT_ROOM
            && order.has_more_upstream()
        {
            output.open();
        }
        let needs_list = order.questions().needs_list();
        if needs_list && has_room {
            questions.begin(order.questions().begin_fetch());
        }
        let reads = has_room && order.wants_bytes();
        if !reads {
            output.note_skipped_read();
        }
        tokio::select! {
            // Messages first, because unsent messages are bounded and incoming ones are not.
            biased;
            granted = granted(permit.as_mut()) => {
                permit = None;
                let Some(granted) = granted else { return };
                if order.is_status_next() {
                    // claude-api sends a status at each heartbeat. The view repeats the last one
                    // only when the next one is late.
                    let wait = if order.is_unreachable() { heartbeat } else { heartbeat * 6 / 5 };
                    next_heartbeat.as_mut().reset(Instant::now() + wait);
                }
                let gaps = order.gaps();
                let text = order.next(clock.now());
                metrics.gaps_sent.inc_by(order.gaps() - gaps);
                if let Some(text) = text {
                    let last = order.is_done();
                    let mut charge = share.charge();
                    charge.set(text.len());
                    granted.send(Box::new(ViewMessage { view, text, last, charge }));
                }
                if order.is_done() {
                    return;
                }
            }
            item = follow.next(), if !order.is_terminal() => match item {
                FollowItem::Status(status, first) => {
                    if first {
                        order.on_first_status(*status);
                    } else {
                        order.on_status(*status);
                    }
                    if order.has_more_upstream() && checks_without_room < CHECKS_WITHOUT_ROOM {
                        output.open();
                    }
                }
                FollowItem::Unreachable(error) => {
                    tracing::debug!(
                        execution = %id,
                        error,
                        "claude-api cannot be reached; the client is notified, and the view retries"
                    );
                    order.on_unreachable();
                }
                FollowItem::Gone => order.on_gone(clock.now()),
            },
            item = questions.next() => match item {
                FetchItem::List(list) => order.on_questions(*list, clock.now()),
                // Until the execution has ended, the follow stream reports failures.
                FetchItem::Failed { .. } if !order.is_terminal() => {}
                FetchItem::Failed { is_transient: false, .. } => {
                    questions.stop();
                    order.questions().on_gone(clock.now());
                }
                FetchItem::Failed { attempts, .. } => if attempts > 1 {
                    order.on_unreachable();
                },
            },
            item = output.next(), if reads => match item {
                OutputItem::Bytes(bytes) => {
                    if share.has_room() || !share.is_short() {
                        order.on_bytes(&bytes);
                    } else {
                        // Other views have used the room, so these bytes are read again later.
                        output.close(order.read_from());
                        checks_without_room = CHECKS_WITHOUT_ROOM;
                    }
                }
                // Only the follow stream shows whether the execution has ended.
                OutputItem::End => if order.is_terminal() && order.has_more_upstream() {
                    output.open_later();
                },
                OutputItem::Freed(kept) => {
                    order.on_freed(kept);
                    output.jump(order.read_from());
                    if order.has_more_upstream() {
                        output.open();
                    }
                }
                // Until the execution has ended, the follow stream reports failures.
                OutputItem::Unreachable => if order.is_terminal() {
                    order.on_unreachable();
                },
                OutputItem::Gone => order.on_gone(clock.now()),
            },
            () = next_heartbeat.as_mut() => {
                order.on_heartbeat();
                next_heartbeat.as_mut().reset(Instant::now() + heartbeat);
            }
            () = share.room(), if !has_room && (needs_room || needs_list) => {}
            _ = check.tick(), if reads || needs_room => {
                if needs_room {
                    checks_without_room += 1;
                    if checks_without_room == CHECKS_WITHOUT_ROOM && share.is_short() {
                        output.close(order.read_from());
                    }
                } else if order.read_from() < order.newest_status().output_bytes {
                    output.cut_if_stalled();
                }
            }
        }
    }
}
