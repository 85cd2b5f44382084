//! A view: one execution as one session sees it. Its task reads the statuses and the output from
//! upstream, and sends messages to the session, one at a time and only while the socket has room.

pub mod buffer;
mod elapsed;
pub mod notices;
pub mod order;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use protocol::Status;
use protocol::rpc::OnSlow;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, sleep};

use crate::budget::outbound::{Charge, Share};
use crate::metrics::Metrics;
use crate::upstream::Upstream;
use crate::upstream::follow::{FollowItem, FollowStream};
use crate::upstream::output::{OutputItem, OutputStream};
use buffer::Skip;
use order::Order;

/// The context that all views share.
#[derive(Debug, Clone)]
pub struct Context {
    /// The way to claude-api.
    pub upstream: Upstream,
    /// The limits beyond which a view with `onSlow: skip` drops output.
    pub skip: Skip,
    /// The most bytes of a status object.
    pub status_bytes: usize,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The start of a view.
#[derive(Debug, Clone)]
pub struct Start {
    /// The status of the answer.
    pub status: Status,
    /// The offset that the client asked for.
    pub offset: Option<u64>,
    /// Behaviour of the view when its client does not keep up.
    pub on_slow: OnSlow,
}

/// One message of a view. It is sent boxed, because tokio allocates a channel in blocks of 32
/// items, and every idle session has one.
#[derive(Debug)]
pub struct Message {
    /// The number of the view. An older view of the same execution may have messages under way.
    pub view: u64,
    /// The message as JSON.
    pub text: String,
    /// Whether this is the last message of the view.
    pub last: bool,
    /// The message's part of the outbound budget, until the socket has taken the message.
    pub charge: Charge,
}

/// The clock of one view: one reading of the wall clock, then a monotonic clock. It starts no
/// earlier than the newest time in claude-api's status.
struct Clock {
    wall: Timestamp,
    read_at: Instant,
}

impl Clock {
    fn start(status: &Status) -> Self {
        let known = status.started_at.unwrap_or(status.created_at);
        Self {
            wall: Timestamp::now().max(known),
            read_at: Instant::now(),
        }
    }

    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.read_at.elapsed()).unwrap_or_default();
        self.wall.checked_add(passed).unwrap_or(self.wall)
    }
}

type Permit = Pin<Box<dyn Future<Output = Option<mpsc::OwnedPermit<Box<Message>>>> + Send>>;

/// Waits for a permit; for ever without one. Cancel-safe: the permit keeps its place in the queue.
async fn granted(permit: Option<&mut Permit>) -> Option<mpsc::OwnedPermit<Box<Message>>> {
    match permit {
        Some(permit) => permit.await,
        None => std::future::pending().await,
    }
}

/// How often a view may find no room before it closes its stream from claude-api.
const TIGHT_CHECKS: u32 = 2;

/// Runs a view until its last message is sent or the session is gone. It may be aborted at any
/// point. The bytes that it holds count in `share`: without room it reads no more from claude-api
/// and resumes later at the same offset.
pub async fn run(
    context: Context,
    start: Start,
    view: u64,
    to: mpsc::Sender<Box<Message>>,
    share: Arc<Share>,
) {
    let Context {
        upstream,
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
    let heartbeat = upstream.times.heartbeat;
    let mut beat = std::pin::pin!(sleep(heartbeat));
    let mut check = tokio::time::interval(upstream.times.stall);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Kept when something else happens first, so that the view keeps its place in the queue.
    let mut permit: Option<Permit> = None;
    let mut dropped = 0;
    let mut charge = share.charge();
    let mut tight = 0;
    if order.has_more_upstream() {
        output.open();
    }
    loop {
        if permit.is_none() && order.has_message() {
            let to = to.clone();
            permit = Some(Box::pin(async move { to.reserve_owned().await.ok() }));
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
        let is_tight = !has_room && order.wants_bytes();
        if !is_tight && std::mem::take(&mut tight) >= TIGHT_CHECKS && order.has_more_upstream() {
            output.open();
        }
        let reads = has_room && order.wants_bytes();
        if !reads {
            output.not_read();
        }
        tokio::select! {
            // Messages first: unsent ones are bounded, unread ones are not.
            biased;
            granted = granted(permit.as_mut()) => {
                permit = None;
                let Some(granted) = granted else { return };
                if order.is_status_next() {
                    // claude-api sends a status at each heartbeat. The view repeats one only when
                    // that is late.
                    let late = if order.is_unreachable() { heartbeat } else { heartbeat * 6 / 5 };
                    beat.as_mut().reset(Instant::now() + late);
                }
                let gaps = order.gaps();
                let text = order.next(clock.now());
                metrics.gaps_sent.inc_by(order.gaps() - gaps);
                if let Some(text) = text {
                    let last = order.is_done();
                    let mut charge = share.charge();
                    charge.set(text.len());
                    granted.send(Box::new(Message { view, text, last, charge }));
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
                    if order.has_more_upstream() && tight < TIGHT_CHECKS {
                        output.open();
                    }
                }
                FollowItem::Unreachable(error) => {
                    tracing::debug!(execution = %id, error, "claude-api cannot be reached");
                    order.on_unreachable();
                }
                FollowItem::Gone => order.on_gone(clock.now()),
            },
            item = output.next(), if reads => match item {
                OutputItem::Bytes(bytes) => {
                    if share.has_room() || !share.budget().is_short() {
                        order.on_bytes(&bytes);
                    } else {
                        // Other views have taken the room, so these bytes are read again later.
                        output.close(order.read_from());
                        tight = TIGHT_CHECKS;
                    }
                }
                // Whether the execution ended is known from the follow stream.
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
            () = beat.as_mut() => {
                order.on_heartbeat();
                beat.as_mut().reset(Instant::now() + heartbeat);
            }
            () = share.room(), if is_tight => {}
            _ = check.tick(), if reads || is_tight => {
                if is_tight {
                    tight += 1;
                    if tight == TIGHT_CHECKS && share.budget().is_short() {
                        output.close(order.read_from());
                    }
                } else if order.read_from() < order.seen().output_bytes {
                    output.cut_if_stalled();
                }
            }
        }
    }
}
