//! One WebSocket session: a task that owns the socket and asks the pure [`machine::Machine`] what to do.

pub mod connection;
pub mod departures;
pub mod executor;
mod inputs;
pub mod machine;
pub mod replies;
pub mod request;
pub mod socket;
pub mod transport;

use std::sync::Arc;
use std::time::Duration;

use protocol::rpc::RpcError;
use protocol::{Limits, Status};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::viewer;
use departures::Departures;
use executor::Charge;
use machine::{Call, Outcome, Target, no_live_execution};
use replies::Token;

/// What all sessions share.
#[derive(Debug)]
pub struct Shared {
    /// What viewers need, the way to claude-api included.
    pub viewer: viewer::Context,
    /// claude-api's limits merged with the bridge's own, once known.
    pub limits: watch::Receiver<Option<Limits>>,
    /// The bridge's own limits.
    pub own: Limits,
    /// How long nobody must attach before a departed session's executions are cancelled.
    pub disconnect_grace: Duration,
    /// Who views what.
    pub departures: Departures,
    /// All tasks that a stop waits for.
    pub tracker: TaskTracker,
    /// The bridge stops.
    pub shutdown: CancellationToken,
}

/// What comes back to a session.
#[derive(Debug)]
pub enum Event {
    /// An execute was accepted, or not.
    Executed(Token, Box<Result<Status, RpcError>>),
    /// A call came back.
    Called(Token, Result<Outcome, RpcError>),
}

/// Makes one call. It ends within the call's time; a session that leaves does not end it.
async fn call(shared: Arc<Shared>, call: Call) -> Result<Outcome, RpcError> {
    let upstream = &shared.viewer.upstream;
    match call {
        Call::Status(target) => match target {
            Target::One(id) => upstream.status(id).await,
            Target::FirstLive(ids) => first_live(&shared, ids).await,
        }
        .map(|s| Outcome::Status(Box::new(s))),
        Call::Control(verb, target) => {
            let id = match target {
                Target::One(id) => id,
                Target::FirstLive(ids) => first_live(&shared, ids).await?.execution_id,
            };
            let status = upstream.control(id, verb).await?;
            Ok(Outcome::Status(Box::new(status)))
        }
        Call::List(limit, before) => {
            let page = upstream.list(limit, before).await?;
            Ok(Outcome::Page(Box::new(page)))
        }
        Call::Attach(attach) => {
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
        Call::Input(target, data, offset, eof) => {
            let id = match target {
                Target::One(id) => id,
                Target::FirstLive(ids) => first_live(&shared, ids).await?.execution_id,
            };
            let budget = shared.own.inbound_bytes;
            let charge = Charge::take(&shared.viewer.metrics, data.len() as u64, budget);
            let _charge = charge.ok_or_else(|| inbound_full(budget))?;
            let accepted = upstream.input(id, data, offset, eof).await?;
            Ok(Outcome::Input(accepted))
        }
        Call::Detach(_) => Err(no_live_execution()),
    }
}

fn inbound_full(budget: u64) -> RpcError {
    RpcError::new(
        protocol::rpc::code::QUEUE_FULL,
        "inbound_bytes",
        "too many bytes wait for claude-api; try again later",
    )
    .with("limit", budget)
}

fn offset_not_kept(kept_from: u64) -> RpcError {
    RpcError::new(
        protocol::rpc::code::OFFSET_NOT_KEPT,
        "offset_not_kept",
        format!("the output before {kept_from} is gone; attach from there, or without an offset"),
    )
    .with("keptFrom", kept_from)
}

/// The status of the first that is not terminal.
async fn first_live(shared: &Shared, ids: Vec<protocol::ExecutionId>) -> Result<Status, RpcError> {
    for id in ids {
        match shared.viewer.upstream.status(id).await {
            Ok(status) if !status.state.is_terminal() => return Ok(status),
            Ok(_) => {}
            Err(error) if error.code == protocol::rpc::code::UNAVAILABLE => return Err(error),
            // Deleted or lost: not this one.
            Err(_) => {}
        }
    }
    Err(no_live_execution())
}
