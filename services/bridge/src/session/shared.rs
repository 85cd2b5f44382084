//! One WebSocket session: a task that owns the socket and asks the pure [`machine::Machine`] what to do.

pub mod action;
mod calls;
pub mod connection;
pub mod departures;
pub mod executor;
mod inputs;
pub mod known;
pub mod machine;
pub mod outbound;
pub mod pages;
pub mod part;
pub mod pending;
pub mod replies;
pub mod request;
pub mod room;
mod shallow;
pub mod socket;
pub mod transport;
pub mod turns;

use std::sync::Arc;
use std::time::Duration;

use futures::TryFutureExt;
use protocol::rpc::{RpcError, code};
use protocol::{ExecutionId, Limits, Status};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::upstream::Upstream;
use crate::viewer;
use action::{Call, Outcome, Target};
use departures::{Asking, Departures};
use machine::no_live_execution;
use outbound::Outbound;
use replies::Token;
use request::Attach;
use room::Room;

/// What all sessions share.
#[derive(Debug)]
pub struct Shared {
    /// What viewers need, the way to claude-api included.
    pub viewer: viewer::Context,
    /// claude-api's limits merged with the bridge's own, once known.
    pub limits: watch::Receiver<Option<Limits>>,
    /// The bridge's own limits.
    pub own: Limits,
    /// Views of one session.
    pub views: usize,
    /// Most of `inboundBytes`: large messages, and their executes and inputs that await an answer.
    pub inbound: Arc<Room>,
    /// The rest of `inboundBytes`: executes and inputs of small messages.
    pub small: Arc<Room>,
    /// `outboundBytes`: what is on its way to clients.
    pub outbound: Arc<Outbound>,
    /// Memory for lists and events while claude-api is asked: see [`pages`].
    pub lists: Arc<Semaphore>,
    /// How long nobody must attach before a departed session's executions are cancelled.
    pub disconnect_grace: Duration,
    /// Places for cancels that are owed.
    pub owed: Semaphore,
    /// Who views what.
    pub departures: Departures,
    /// All tasks that a stop waits for.
    pub tracker: TaskTracker,
    /// The bridge stops.
    pub shutdown: CancellationToken,
}

/// What comes back to a session. Small, because a channel has room for 32 of them from its first moment, and an idle
/// session pays for that.
#[derive(Debug)]
pub enum Event {
    /// An execute was accepted, or not.
    Executed(Token, Box<Executed>),
    /// A call came back.
    Called(Token, Box<Called>),
    /// A view's task panicked: its client is to attach again.
    ViewFailed,
}

/// The outcome of an execute.
#[derive(Debug)]
pub struct Executed {
    /// Its result.
    pub result: Result<Status, RpcError>,
    /// The request for the view that follows, if the client chose the id.
    pub asking: Option<Asking>,
}

/// What a call came to.
#[derive(Debug)]
pub struct Called {
    /// Its result.
    pub result: Result<Outcome, RpcError>,
    /// Those of its candidates that were found to have ended, or to be unknown.
    pub ended: Vec<ExecutionId>,
    /// The turn of a list, or of events, among those of its session.
    pub turn: Option<OwnedSemaphorePermit>,
    /// The request for the view that follows an attach.
    pub asking: Option<Asking>,
}

impl Called {
    fn new(result: Result<Outcome, RpcError>, ended: Vec<ExecutionId>) -> Self {
        Self {
            result,
            ended,
            turn: None,
            asking: None,
        }
    }
}

impl Shared {
    /// The most that unanswered executes of one session may take of the two parts of the inbound
    /// budget: a quarter, but at least one message.
    fn session_inbound(&self) -> [Arc<Room>; 2] {
        let (large, small) = room::shares(self.own.inbound_bytes);
        let large = (large / 4).max(self.own.message_bytes);
        let small = (small / 4).max(transport::FREE_BYTES);
        [large, small].map(|bytes| Room::new(bytes, Duration::ZERO))
    }

    /// Takes bytes of the budget for small messages; None when they are not free.
    #[must_use]
    pub fn charge(&self, bytes: usize) -> Option<room::Charge> {
        self.small.take(bytes as u64)
    }
}

/// Makes one call. It ends within the call's time; a session that leaves does not end it.
async fn call(shared: Arc<Shared>, call: Call, lists: Arc<Semaphore>) -> Called {
    let mut ended = Vec::new();
    let upstream = &shared.viewer.upstream;
    if let Call::List(limit, before) = call {
        let page = pages::gather(upstream, limit, before, shared.viewer.status_bytes);
        let page = page.map_ok(|page| Outcome::Page(Box::new(page)));
        return in_turn(&shared, lists, page).await;
    }
    if let Call::Events(asked) = call {
        let limit = asked.max_bytes.unwrap_or(protocol::events::MAX_BYTES);
        let part = upstream.events(asked.execution_id, asked.offset, limit);
        let part = part.map_ok(|part| Outcome::Events(Box::new(part)));
        return in_turn(&shared, lists, part).await;
    }
    if let Call::Attach(attach) = call {
        let asking = shared.departures.ask(attach.execution_id);
        let result = attach_to(&shared.viewer.upstream, attach).await;
        return Called {
            asking: Some(asking),
            ..Called::new(result, ended)
        };
    }
    let (Call::Status(target) | Call::Control(_, target) | Call::Input(target, ..)) = &call else {
        return Called::new(about_one(&shared, call).await, ended);
    };
    let Target::FirstLive(candidates) = target else {
        return Called::new(about_one(&shared, call).await, ended);
    };
    for id in candidates.clone() {
        match shared.viewer.upstream.status(id).await {
            Ok(status) if !status.state.is_terminal() => {
                let result = match call {
                    Call::Status(_) => Ok(Outcome::Status(Box::new(status))),
                    call => about_one(&shared, call.about(Target::One(id))).await,
                };
                return Called::new(result, ended);
            }
            Ok(_) => ended.push(id),
            Err(error) if matches!(error.code, code::NO_SUCH_EXECUTION | code::ID_IN_USE) => {
                ended.push(id);
            }
            // Whether this one lives is not known, so the next one cannot stand for it.
            Err(error) => return Called::new(Err(error), ended),
        }
    }
    Called::new(Ok(Outcome::NothingLive(call)), ended)
}

/// Asks for one list or part of the events of a session at a time, when the client has taken the one
/// before and there is memory.
async fn in_turn(
    shared: &Shared,
    turns: Arc<Semaphore>,
    asked: impl Future<Output = Result<Outcome, RpcError>>,
) -> Called {
    let full = || {
        RpcError::new(
            code::QUEUE_FULL,
            "too_many_lists",
            "the lists and events of other sessions leave no memory for this request; \
             try again later",
        )
    };
    let Ok(turn) = turns.acquire_owned().await else {
        // The session is gone.
        return Called::new(Err(full()), Vec::new());
    };
    let room = shared.lists.acquire_many(pages::PART_BYTES);
    let Ok(Ok(_room)) = tokio::time::timeout(shared.viewer.upstream.times.call, room).await else {
        return Called::new(Err(full()), Vec::new());
    };
    Called {
        turn: Some(turn),
        ..Called::new(asked.await, Vec::new())
    }
}

async fn about_one(shared: &Shared, call: Call) -> Result<Outcome, RpcError> {
    let upstream = &shared.viewer.upstream;
    match call {
        Call::Status(Target::One(id)) => {
            let status = upstream.status(id).await?;
            Ok(Outcome::Status(Box::new(status)))
        }
        Call::Control(verb, Target::One(id)) => {
            let status = upstream.control(id, verb).await?;
            Ok(Outcome::Status(Box::new(status)))
        }
        Call::Input(Target::One(id), data, offset, eof) => {
            let accepted = upstream.input(id, data, offset, eof).await?;
            Ok(Outcome::Input(accepted))
        }
        Call::List(..)
        | Call::Events(_)
        | Call::Attach(_)
        | Call::Detach(_)
        | Call::Status(_)
        | Call::Control(..)
        | Call::Input(..) => Err(no_live_execution()),
    }
}

async fn attach_to(upstream: &Upstream, attach: Attach) -> Result<Outcome, RpcError> {
    let status = upstream.status(attach.execution_id).await?;
    if let Some(offset) = attach.offset {
        if offset < status.kept_from {
            return Err(offset_not_kept(status.kept_from));
        }
        // The status may be a moment older than bytes that the client has.
        if offset > status.output_bytes {
            upstream.probe_offset(attach.execution_id, offset).await?;
        }
    }
    Ok(Outcome::Attach(Box::new(status), attach))
}

/// -32004: the inbound budget is spent.
fn inbound_full(budget: u64) -> RpcError {
    RpcError::new(
        code::QUEUE_FULL,
        "inbound_bytes",
        "too many bytes wait for claude-api; try again later",
    )
    .with("limit", budget)
}

fn offset_not_kept(kept_from: u64) -> RpcError {
    RpcError::new(
        code::OFFSET_NOT_KEPT,
        "offset_not_kept",
        format!("the output before {kept_from} is gone; attach from there, or without an offset"),
    )
    .with("keptFrom", kept_from)
}
