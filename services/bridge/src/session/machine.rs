//! One session as a pure machine: messages of the client and replies of claude-api in, actions out.
//! The machine knows the requests without an answer, the session's live executions and its views.
//! Everything else lives in claude-api. The machine does no I/O and reads no clock.
//!
//! ```text
//!                      a message of the client
//!                                 |
//!                               parse ------------------> refused --------+
//!                                 |                                       |
//!               execute           |         all other requests            |
//!           +---------------------+-----------------+                     |
//!           v                                       v                     |
//!  HANDED OVER                            WAITS FOR EXECUTE (pending)     |
//!  Action::Execute                                  |                     |
//!           |                    +------------------+----------+          |
//!           |                    v                  v          |          |
//!           |            WAITS FOR INPUT     WAITS FOR ROOM    |          |
//!           |                (inputs)          (in_flight)     |          |
//!           |                    +------------------+----------+          |
//!           |                                       v                     |
//!           |                                 IN FLIGHT (in_flight)       |
//!           |                                 Action::Call                |
//!           |                                       |                     |
//!           +-----------------> outcome <-----------+                     |
//!                                  |                                      |
//!                        WAITS FOR EARLIER (view_order)                   |
//!                                  |                                      |
//!                               apply -----------------------------------+|
//!                                  |                                     vv
//!                           WAITS FOR BATCH (open_requests) <-------- an answer
//!                                  |
//!                              ANSWERED
//!                        Action::Send, then Action::Unview and Action::View
//! ```
//!
//! The states of a request:
//! - Handed over: the executor sends the execute to claude-api, after the earlier executes of the
//!   session, and retries it (`pending`).
//! - Waits for execute: the request names an execution whose execute has no answer yet. A control,
//!   a status or a read of events stops waiting as soon as claude-api is known to have the
//!   execution.
//! - Waits for input: an earlier input of the session has no answer yet (`inputs`).
//! - Waits for room: a query (status, list, events) waits while the answers that the client has not
//!   read, and the answers of calls in flight, need too much memory (`in_flight`).
//! - In flight: a separate task calls claude-api. Calls of one session run concurrently.
//! - Waits for earlier: the outcome is known, but an earlier execute, attach or detach of the same
//!   execution has none yet (`view_order`).
//! - Waits for batch: the answer is ready, but other answers of its batch are not
//!   (`open_requests`).
//! - Answered: the message is on its way. A view begins directly after its answer, so the client
//!   knows the execution before it receives the first `statusUpdate`.
//!
//! Two requests need no call. A ping is answered as soon as it is parsed. A detach waits for the
//! execute that it names and for earlier requests about its view.
//!
//! The usual path of an execute: it is parsed, handed over, accepted, applied and answered with the
//! status, and its view begins. The usual path of a control without an `executionId`: the machine
//! names the oldest live execution of the session ([`call::Target::FirstLive`]); the task finds it
//! and sends the control; the outcome is applied and answered with the status.
//!
//! When claude-api refuses a request, or cannot be reached in time, the outcome is an error and
//! follows the same path; no view begins. Calls that waited for a refused execute are then made.
//! They are refused if the bridge made the id and claude-api certainly has no such execution.
//!
//! When the connection is lost, [`Machine::close`] applies the outcomes that waited, so that a
//! cancel which the session has read still reaches claude-api. [`Machine::departing`] names the
//! executions to cancel.
//!
//! An execute has one type for each step:
//! - `ExecuteRequest`: the checked parameters, which the parser returns.
//! - [`pending::PendingExecute`]: the part that the machine keeps until claude-api has answered.
//! - `Handover`: the part that the executor gets in [`Action::Execute`], with the body encoded.
//! - `PutRequest`: the part of the handover that `upstream` sends to claude-api.

pub mod action;
mod apply;
pub mod call;
mod in_flight;
mod inputs;
pub mod live_executions;
pub mod open_requests;
mod outcome;
pub mod pending;
mod requests;
pub mod view_order;

use std::collections::HashMap;

use protocol::message::{self, Empty, RequestId};
use protocol::rpc::{RpcError, code};
use protocol::{ExecutionId, Limits, Status};

use super::wire::request::{ParsedMessage, parse};
use action::Action;
use call::CallReply;
use in_flight::InFlight;
use inputs::Inputs;
use live_executions::LiveExecutions;
use open_requests::{OpenRequests, Token};
use outcome::Outcome;
use pending::Pending;
use view_order::{ViewChange, ViewOrder};

/// The machine's own limits.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most requests of a batch.
    pub batch: u64,
    /// The most bytes of a status object.
    pub status_bytes: usize,
    /// The most simultaneous views, requested ones included.
    pub views: usize,
    /// The most bytes of unsent answers before no more requests are read.
    pub session_bytes: usize,
    /// The same while the common part of the outbound budget is spent.
    pub floor_bytes: usize,
}

/// The state of one session (see the module's diagram).
#[derive(Debug)]
pub struct Machine {
    /// The session's id.
    session: String,
    bounds: Bounds,
    open_requests: OpenRequests<ViewChange>,
    pending: Pending,
    inputs: Inputs,
    view_order: ViewOrder<Outcome>,
    executions: LiveExecutions,
    /// The number of the view of each viewed execution.
    views: HashMap<ExecutionId, u64>,
    /// The number of the youngest view.
    last_view: u64,
    in_flight: InFlight,
    /// Views that begin when their batch is answered.
    held_views: usize,
    /// The last request that changed each view, while a batch may hold back an earlier one.
    last_changes: HashMap<ExecutionId, Token>,
    /// Actions that are not returned to the caller yet.
    actions: Vec<Action>,
    /// The reasons of the errors that were sent, until they are counted.
    refused: Vec<String>,
    /// Bytes of answers that the socket has not sent.
    unsent_bytes: usize,
    /// Whether the common part of the outbound budget is spent.
    is_short: bool,
}

impl Machine {
    /// Creates the machine of a new session. `session`: its id.
    #[must_use]
    pub fn new(session: String, bounds: Bounds) -> Self {
        Self {
            session,
            bounds,
            open_requests: OpenRequests::default(),
            pending: Pending::default(),
            inputs: Inputs::default(),
            view_order: ViewOrder::default(),
            executions: LiveExecutions::default(),
            views: HashMap::new(),
            last_view: 0,
            in_flight: InFlight::default(),
            held_views: 0,
            last_changes: HashMap::new(),
            actions: Vec::new(),
            refused: Vec::new(),
            unsent_bytes: 0,
            is_short: false,
        }
    }

    /// Takes the reasons of the errors that were sent since the last call.
    #[must_use]
    pub fn take_refused(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refused)
    }

    fn note_refused(&mut self, error: &RpcError) {
        let reason = error.data["reason"].as_str().unwrap_or_default();
        self.refused.push(reason.to_owned());
    }

    /// Returns the number of calls to claude-api that are in flight.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.in_flight.open()
    }

    /// Notes the bytes of answers that the socket has not sent, and whether the common part of the
    /// outbound budget is spent.
    pub fn set_unsent(&mut self, bytes: usize, is_short: bool) {
        (self.unsent_bytes, self.is_short) = (bytes, is_short);
    }

    /// Returns the bytes of answers that wait for their batch or for earlier requests, and the most
    /// that the answers of calls in flight may need.
    #[must_use]
    pub fn pledged_bytes(&self) -> usize {
        let waiting = self.view_order.held() * self.bounds.status_bytes;
        self.open_requests.held_bytes() + self.in_flight.bytes() + waiting
    }

    /// Whether the session must not read more requests for now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let bytes = self.unsent_bytes + self.pledged_bytes();
        bytes >= self.bounds.session_bytes
            || (self.is_short && bytes >= self.bounds.floor_bytes)
            || self.in_flight.is_full()
            || self.inputs.is_full()
            || self.pending.has_too_many_waiters()
    }

    /// Starts the queries that have room now.
    pub fn start_queries(&mut self) -> Vec<Action> {
        self.start_waiting_queries();
        self.take_actions()
    }

    /// Returns the unanswered inputs, with their bytes.
    #[must_use]
    pub fn inputs(&self) -> &HashMap<Token, usize> {
        self.inputs.unanswered()
    }

    /// Whether views may still begin: their answers wait for earlier requests or for their batch.
    #[must_use]
    pub fn owes_views(&self) -> bool {
        self.held_views > 0 || self.view_order.waiting() > 0
    }

    /// Whether claude-api is known to have this execution.
    #[must_use]
    pub fn is_accepted(&self, id: ExecutionId) -> bool {
        self.executions.is_accepted(id) || self.pending.is_accepted(id)
    }

    /// Ends the session: outcomes that waited for earlier requests take effect. Only the controls
    /// among the returned actions matter.
    #[must_use]
    pub fn close(&mut self) -> Vec<Action> {
        for (token, outcome) in self.view_order.close() {
            self.apply(token, outcome);
        }
        self.take_actions()
    }

    /// Returns the executions to cancel if no client attaches after the end of the session.
    #[must_use]
    pub fn departing(&self) -> Vec<ExecutionId> {
        self.executions.departing()
    }

    /// Handles a text message. `limits`: claude-api's, if known.
    pub fn on_text(&mut self, text: &str, limits: Option<&Limits>) -> Vec<Action> {
        match parse(text, self.bounds.batch, limits) {
            ParsedMessage::Unreadable(error) => return self.on_unreadable(&error),
            ParsedMessage::Single(entry) => self.on_entry(entry, None),
            ParsedMessage::Batch(entries) => {
                let batch = self.open_requests.batch(entries.len());
                for entry in entries {
                    self.on_entry(entry, Some(batch));
                }
            }
        }
        self.take_actions()
    }

    /// Answers a message that holds no request, with id null.
    pub fn on_unreadable(&mut self, error: &RpcError) -> Vec<Action> {
        self.note_refused(error);
        let reply = message::Reply::<Empty>::error(RequestId::null(), error.clone());
        let text = reply.to_message();
        self.actions.push(Action::Send(text));
        self.take_actions()
    }

    /// Handles the result of an execute: claude-api has accepted or refused it.
    pub fn on_executed(&mut self, token: Token, result: Result<Status, RpcError>) -> Vec<Action> {
        let accepted = result.as_ref().ok().map(|status| status.execution_id);
        self.on_outcome(token, Outcome::Executed(Box::new(result)));
        // The answer to an execute may wait for earlier requests; a control does not.
        if let Some(id) = accepted {
            for (token, call) in self.pending.accepted(id) {
                self.dispatch(token, call);
            }
        }
        self.start_waiting_queries();
        self.take_actions()
    }

    /// Handles the result of a call. `ended`: the executions that are terminal or unknown to
    /// claude-api.
    pub fn on_called(
        &mut self,
        token: Token,
        result: Result<CallReply, RpcError>,
        ended: &[ExecutionId],
    ) -> Vec<Action> {
        self.in_flight.end(token);
        for id in ended {
            self.executions.forget(*id);
        }
        self.on_outcome(token, Outcome::Called(result));
        self.start_waiting_queries();
        self.take_actions()
    }

    /// Notes that the terminal message of a view was sent.
    pub fn on_view_ended(&mut self, view: u64) {
        let ended = self.views.iter().find(|(_, v)| **v == view);
        if let Some(id) = ended.map(|(id, _)| *id) {
            self.views.remove(&id);
            self.executions.forget(id);
        }
    }

    /// Applies an outcome, and the outcomes that waited for it. An outcome waits until all earlier
    /// requests about its view have theirs.
    fn on_outcome(&mut self, token: Token, outcome: Outcome) {
        for (token, outcome) in self.view_order.add_outcome(token, outcome) {
            self.apply(token, outcome);
        }
    }

    fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }
}

/// -32003: the request names no execution, and the session has no live one.
#[must_use]
pub fn no_live_execution() -> RpcError {
    RpcError::new(
        code::NO_SUCH_EXECUTION,
        "no_live_execution",
        "this session has no live execution; name one with executionId",
    )
}

#[cfg(test)]
mod tests;
