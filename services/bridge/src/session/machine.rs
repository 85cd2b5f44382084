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

/// The limits that the machine of one session enforces.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most requests in one batch.
    pub batch: u64,
    /// The most bytes of a status object in an answer; a longer one is cut.
    pub status_bytes: usize,
    /// The most executions that the session may view at the same time, requested views included.
    pub views: usize,
    /// The most bytes of unread answers before the session reads no more requests.
    pub session_bytes: usize,
    /// The same limit while the memory that all sessions share is spent.
    pub floor_bytes: usize,
}

/// The state of one session: its unanswered requests, its live executions and its views. Decides
/// what the session's task does, but does no I/O (see the module's diagram).
#[derive(Debug)]
pub struct Machine {
    /// The session's id, which is also the lane of its executions unless the client names one.
    session: String,
    bounds: Bounds,
    open_requests: OpenRequests<ViewChange>,
    pending: Pending,
    inputs: Inputs,
    view_order: ViewOrder<Outcome>,
    executions: LiveExecutions,
    /// The number of the view of each execution that the session views. Each new view has a new
    /// number.
    views: HashMap<ExecutionId, u64>,
    /// The number of the newest view.
    last_view: u64,
    in_flight: InFlight,
    /// Views that have not begun, because the answer before them waits for the rest of its batch.
    held_views: usize,
    /// For each execution, the youngest request that has begun or ended its view. An older request
    /// whose answer a batch held back must not undo that.
    last_changes: HashMap<ExecutionId, Token>,
    /// Decided actions, until the current method returns them.
    actions: Vec<Action>,
    /// The reasons of the errors sent, until `take_refused` returns them.
    refused: Vec<String>,
    /// The bytes of answers that the socket has not sent.
    unsent_bytes: usize,
    /// Whether the memory that all sessions share for answers and output is spent.
    is_short: bool,
}

impl Machine {
    /// Creates the machine of a new session. `session`: its id, which is also the lane of its
    /// executions unless the client names one (executions of one lane run one at a time).
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

    /// Returns the reasons of the errors sent since the last call, for `/metrics`.
    #[must_use]
    pub fn take_refused(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refused)
    }

    fn note_refused(&mut self, error: &RpcError) {
        let reason = error.data["reason"].as_str().unwrap_or_default();
        self.refused.push(reason.to_owned());
    }

    /// Returns the number of calls to claude-api that have no reply yet.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.in_flight.open()
    }

    /// Updates how many bytes of answers the socket has not sent, and whether the memory that all
    /// sessions share is spent. Both decide whether more requests are read and whether queries
    /// start.
    pub fn set_unsent(&mut self, bytes: usize, is_short: bool) {
        (self.unsent_bytes, self.is_short) = (bytes, is_short);
    }

    /// Returns the memory that answers still to be sent may need: those that wait for their batch
    /// or for earlier requests, and those of calls in flight at their longest.
    #[must_use]
    pub fn pledged_bytes(&self) -> usize {
        let waiting = self.view_order.held() * self.bounds.status_bytes;
        self.open_requests.held_bytes() + self.in_flight.bytes() + waiting
    }

    /// Whether the session must not read more requests for now, because the client has too many
    /// unread answers or unanswered requests.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let bytes = self.unsent_bytes + self.pledged_bytes();
        bytes >= self.bounds.session_bytes
            || (self.is_short && bytes >= self.bounds.floor_bytes)
            || self.in_flight.is_full()
            || self.inputs.is_full()
            || self.pending.has_too_many_waiters()
    }

    /// Starts the waiting queries (status, list, events) for whose answers there is memory now.
    /// Returns their calls.
    pub fn start_queries(&mut self) -> Vec<Action> {
        self.start_waiting_queries();
        self.take_actions()
    }

    /// Returns the unanswered inputs, each with its length in bytes.
    #[must_use]
    pub fn inputs(&self) -> &HashMap<Token, usize> {
        self.inputs.unanswered()
    }

    /// Whether a request for a view is not settled: its answer waits for earlier requests, for
    /// claude-api or for its batch.
    #[must_use]
    pub fn owes_views(&self) -> bool {
        self.held_views > 0 || self.view_order.waiting() > 0
    }

    /// Whether claude-api has certainly accepted this execution.
    #[must_use]
    pub fn is_accepted(&self, id: ExecutionId) -> bool {
        self.executions.is_accepted(id) || self.pending.is_accepted(id)
    }

    /// Ends the session: outcomes that waited for earlier requests take effect. Of the returned
    /// actions only the controls matter, because nothing can be sent to the client.
    #[must_use]
    pub fn close(&mut self) -> Vec<Action> {
        for (token, outcome) in self.view_order.close() {
            self.apply(token, outcome);
        }
        self.take_actions()
    }

    /// Returns the executions with `onDisconnect: "cancel"`, which are cancelled after the end of
    /// the session unless a client views them again.
    #[must_use]
    pub fn departing(&self) -> Vec<ExecutionId> {
        self.executions.departing()
    }

    /// Handles a text message of the client, and returns the actions that it needs. `limits`: those
    /// of claude-api, or `None` while unknown; then claude-api checks them.
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

    /// Answers a message in which no request can be read: with this error, and with id null.
    pub fn on_unreadable(&mut self, error: &RpcError) -> Vec<Action> {
        self.note_refused(error);
        let reply = message::Reply::<Empty>::error(RequestId::null(), error.clone());
        let text = reply.to_message();
        self.actions.push(Action::Send(text));
        self.take_actions()
    }

    /// Handles the result of an execute, and returns the actions that follow: usually its answer
    /// and its view.
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

    /// Handles the result of a call, and returns the actions that follow. `ended`: executions that
    /// the call found to have ended, or that claude-api does not have.
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

    /// Forgets a view whose last message was sent, and its execution, which has ended.
    pub fn on_view_ended(&mut self, view: u64) {
        let ended = self.views.iter().find(|(_, v)| **v == view);
        if let Some(id) = ended.map(|(id, _)| *id) {
            self.views.remove(&id);
            self.executions.forget(id);
        }
    }

    /// Stores the outcome of a request, and applies all outcomes whose turn it is. An outcome waits
    /// until all earlier requests about the same view have theirs.
    fn on_outcome(&mut self, token: Token, outcome: Outcome) {
        for (token, outcome) in self.view_order.add_outcome(token, outcome) {
            self.apply(token, outcome);
        }
    }

    fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }
}

/// Creates -32003: the request names no execution, and the session has none that runs or waits.
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
