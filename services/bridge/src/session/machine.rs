//! The state machine of one session. It receives messages of the client and replies of claude-api,
//! and returns actions for the session's task. It knows the requests without an answer, the
//! session's live executions and its views. All other state lives in claude-api. The machine does
//! no I/O and reads no clock, so tests can run it without a network.
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

/// The limits on the requests and answers of one session, which the machine enforces. They keep a
/// client that sends much or reads slowly from filling the memory of the bridge.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most requests in one JSON-RPC batch. A longer batch is refused as a whole.
    pub batch: u64,
    /// The most bytes of an execution's status object in an answer. A longer one is shortened.
    pub status_bytes: usize,
    /// The most executions that the session may view at the same time. Views that are requested but
    /// have not begun count, too.
    pub views: usize,
    /// The most bytes of unread answers. At this limit the session stops reading requests until the
    /// client has read some answers. Answers that are still to be made count with their greatest
    /// length.
    pub session_bytes: usize,
    /// The limit that replaces `session_bytes` while the outgoing memory that all sessions share is
    /// used up. It is the part that is reserved for each session, in bytes.
    pub floor_bytes: usize,
}

/// The state of one session (its unanswered requests, its live executions and its views) without
/// any I/O. It receives each message of the client and each reply of claude-api, and returns the
/// actions that the session's task must perform. The diagram at the top of this module shows the
/// states of a request.
#[derive(Debug)]
pub struct Machine {
    /// The session's id. It is also the lane of each execution for which the client names no lane.
    /// claude-api runs the executions of one lane one at a time.
    session: String,
    bounds: Bounds,
    open_requests: OpenRequests<ViewChange>,
    pending: Pending,
    inputs: Inputs,
    view_order: ViewOrder<Outcome>,
    executions: LiveExecutions,
    /// The number of the view of each execution that the session views. Each new view gets a new
    /// number, so a late message of an old view can be recognised.
    views: HashMap<ExecutionId, u64>,
    /// The number of the newest view. 0 before the first one.
    last_view: u64,
    in_flight: InFlight,
    /// The number of views that have not begun although claude-api has agreed to them. Their
    /// answers wait for the rest of a batch. They count towards the limit of views.
    held_views: usize,
    /// For each execution, the latest request that has begun or ended its view. The answer of an
    /// earlier request may be held back by its batch. When it is sent at last, it must not undo the
    /// later change. Empty while no batch is open.
    last_changes: HashMap<ExecutionId, Token>,
    /// Actions that are decided but not returned yet. A public method that returns actions empties
    /// this list at its end.
    actions: Vec<Action>,
    /// The `reason` of each error that the client was sent, such as `too_many_views`.
    /// `take_refused` empties the list.
    refused: Vec<String>,
    /// The bytes of finished answers that wait in the socket because the client has not read them.
    unsent_bytes: usize,
    /// Whether the memory that all sessions share for answers and output is used up. The lower
    /// limit `floor_bytes` then applies.
    is_short: bool,
}

impl Machine {
    /// Creates the machine of a new session, without requests or views. `session` is the session's
    /// id. It is also the lane of the session's executions unless the client names one, and
    /// executions of one lane run one at a time.
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

    /// Returns and clears the `reason` of each error sent to the client since the last call. The
    /// session counts them for `/metrics`.
    #[must_use]
    pub fn take_refused(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refused)
    }

    /// Records the `reason` of an error that the client gets, for `take_refused`.
    fn note_refused(&mut self, error: &RpcError) {
        let reason = error.data["reason"].as_str().unwrap_or_default();
        self.refused.push(reason.to_owned());
    }

    /// Returns the number of calls to claude-api that are in flight. Calls that still wait to be
    /// started do not count.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.in_flight.open()
    }

    /// Tells the machine how much memory the outgoing side uses. `bytes` is the length of the
    /// answers that the socket has not sent. `is_short` is true while the memory that all sessions
    /// share is used up. Both decide whether more requests are read and whether queries start.
    pub fn set_unsent(&mut self, bytes: usize, is_short: bool) {
        (self.unsent_bytes, self.is_short) = (bytes, is_short);
    }

    /// Returns the memory, in bytes, that answers may still need before the socket has them. Counts
    /// answers that wait for their batch or for earlier requests. Each call in flight counts with
    /// the greatest length of its answer.
    #[must_use]
    pub fn pledged_bytes(&self) -> usize {
        let waiting = self.view_order.held() * self.bounds.status_bytes;
        self.open_requests.held_bytes() + self.in_flight.bytes() + waiting
    }

    /// Returns whether the session must stop reading requests for now. That is so while the client
    /// has too many unread answers or unanswered requests. Reading resumes when an answer is sent
    /// or claude-api replies.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let bytes = self.unsent_bytes + self.pledged_bytes();
        bytes >= self.bounds.session_bytes
            || (self.is_short && bytes >= self.bounds.floor_bytes)
            || self.in_flight.is_full()
            || self.inputs.is_full()
            || self.pending.has_too_many_waiters()
    }

    /// Starts the waiting queries (status, list, events) whose answers now fit into the session's
    /// memory limits. Called when the client has read earlier answers. Returns their calls to
    /// claude-api, which are none if no query can start.
    pub fn start_queries(&mut self) -> Vec<Action> {
        self.start_waiting_queries();
        self.take_actions()
    }

    /// Returns the inputs (lines for a CLI's stdin) and the answers to questions that have no reply
    /// yet, by request, each with its length in bytes. The session charges their memory.
    #[must_use]
    pub fn inputs(&self) -> &HashMap<Token, usize> {
        self.inputs.unanswered()
    }

    /// Returns whether a request that begins or ends a view has not taken effect yet. It waits for
    /// claude-api, for an earlier request or for the rest of its batch. While true, the session
    /// stays registered as a viewer of the executions concerned.
    #[must_use]
    pub fn owes_views(&self) -> bool {
        self.held_views > 0 || self.view_order.waiting() > 0
    }

    /// Returns whether claude-api is known to have accepted this execution. `false` also means "not
    /// known", for example while an execute has no reply yet.
    #[must_use]
    pub fn is_accepted(&self, id: ExecutionId) -> bool {
        self.executions.is_accepted(id) || self.pending.is_accepted(id)
    }

    /// Ends the session, and applies the outcomes that waited for earlier requests. The caller
    /// performs only the control calls among the returned actions (such as a cancel), because the
    /// client can no longer be answered.
    #[must_use]
    pub fn close(&mut self) -> Vec<Action> {
        for (token, outcome) in self.view_order.close() {
            self.apply(token, outcome);
        }
        self.take_actions()
    }

    /// Returns the executions that the client started with `onDisconnect: "cancel"`. After the end
    /// of the session they are cancelled, unless a client views them again in time.
    #[must_use]
    pub fn departing(&self) -> Vec<ExecutionId> {
        self.executions.departing()
    }

    /// Handles a text message of the client, which holds one request or a batch, and returns the
    /// actions that follow. A message that is not JSON-RPC is answered with an error. `limits` are
    /// the limits of claude-api on prompts and other members. While they are unknown (`None`),
    /// claude-api alone checks them.
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

    /// Answers a message in which no request can be identified, because it is binary or not JSON.
    /// The answer is `error` with the id `null`, as JSON-RPC 2.0 requires.
    pub fn on_unreadable(&mut self, error: &RpcError) -> Vec<Action> {
        self.note_refused(error);
        let reply = message::Reply::<Empty>::error(RequestId::null(), error.clone());
        let text = reply.to_message();
        self.actions.push(Action::Send(text));
        self.take_actions()
    }

    /// Handles the result of an execute. If claude-api accepted it, the client gets the status, and
    /// a view of the execution begins. Calls that waited for the execute then start. An `Err`
    /// becomes the answer, and no view begins. Ignores a request that is already answered.
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

    /// Handles the result of a call to claude-api, and returns the actions that follow, usually the
    /// answer to the client. `ended` lists executions that the call found to have ended or to be
    /// unknown to claude-api. They are removed from the live executions.
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

    /// Removes a view whose last message was sent, and its execution, because a view ends by itself
    /// only when its execution has ended. Does nothing if the view was already ended or replaced.
    pub fn on_view_ended(&mut self, view: u64) {
        let ended = self.views.iter().find(|(_, v)| **v == view);
        if let Some(id) = ended.map(|(id, _)| *id) {
            self.views.remove(&id);
            self.executions.forget(id);
        }
    }

    /// Stores the outcome of a request, and applies every outcome that can take effect now.
    /// Requests about the same view take effect in the order received, so an outcome waits until
    /// all earlier ones are known.
    fn on_outcome(&mut self, token: Token, outcome: Outcome) {
        for (token, outcome) in self.view_order.add_outcome(token, outcome) {
            self.apply(token, outcome);
        }
    }

    fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }
}

/// Returns the JSON-RPC error for a request without an `executionId` in a session without a live
/// execution (-32003, no such execution).
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
