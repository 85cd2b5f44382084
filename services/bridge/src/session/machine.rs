//! One session as a pure machine: frames and results in, actions out. It knows what the session asked, what
//! it executed and what it views; all else lives in claude-api.
//!
//! ```text
//! execute: asked -> handed to the executor (one at a time, in order) -> answered -> viewed
//! others:  asked -> (named execute not answered: waits for it) -> called -> (earlier ones about the same view
//!          not answered: waits for them) -> answered
//! ```

use std::collections::HashMap;

use protocol::rpc::{OnDisconnect, RpcError, code, method};
use protocol::{ExecutionId, Limits, Status};
use serde_json::json;

use super::action::{Action, Call, Job, Outcome, Target};
use super::calls::Calls;
use super::inputs::{self, Inputs};
use super::known::Known;
use super::pending::{self, Pending};
use super::replies::{Answer, Replies, Token};
use super::request::{Ask, Entry, Execute, Frame, Input, Refusal, parse};
use super::turns::Turns;
use crate::upstream::accept::Handover;
use crate::viewer::Start;

/// The most bytes of a status in an answer, when the client has its limit of answers to read.
const SHORT_STATUS_BYTES: usize = 4 * 1024;

/// What begins behind an answer.
#[derive(Debug)]
enum After {
    View(Token, Box<Start>),
    Unview(Token, ExecutionId),
}

/// What came for a request.
#[derive(Debug)]
enum Came {
    Executed(Box<Result<Status, RpcError>>),
    Called(Result<Outcome, RpcError>),
    Detached(ExecutionId),
}

/// The machine's own limits.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The longest batch.
    pub batch: u64,
    /// The largest status object, in bytes.
    pub status_bytes: usize,
    /// Views at once, those asked for included.
    pub views: usize,
    /// The most bytes of answers that are not sent yet, before no more requests are read.
    pub session_bytes: usize,
    /// The same where all sessions together hold too much.
    pub floor_bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Machine {
    session: String,
    bounds: Bounds,
    replies: Replies<After>,
    pending: Pending,
    inputs: Inputs,
    turns: Turns<Came>,
    known: Known,
    views: HashMap<ExecutionId, u64>,
    next_view: u64,
    calls: Calls,
    /// Views that begin when their batch is answered.
    held: usize,
    /// The last request that had its say about a view, while a batch may hold an earlier one.
    latest: HashMap<ExecutionId, Token>,
    actions: Vec<Action>,
    /// The reasons of the errors that were answered, until they are counted.
    refused: Vec<String>,
    /// Bytes of answers that the socket has not sent.
    unsent: usize,
    /// Whether all sessions together hold too much.
    is_short: bool,
}

impl Machine {
    /// `session`: its id.
    #[must_use]
    pub fn new(session: String, bounds: Bounds) -> Self {
        Self {
            session,
            replies: Replies::default(),
            bounds,
            pending: Pending::default(),
            inputs: Inputs::default(),
            turns: Turns::default(),
            known: Known::default(),
            views: HashMap::new(),
            next_view: 0,
            calls: Calls::default(),
            held: 0,
            latest: HashMap::new(),
            actions: Vec::new(),
            refused: Vec::new(),
            unsent: 0,
            is_short: false,
        }
    }

    /// Takes the reasons of the errors that were answered since the last call.
    #[must_use]
    pub fn take_refused(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refused)
    }

    fn note_refused(&mut self, error: &RpcError) {
        let reason = error.data["reason"].as_str().unwrap_or_default();
        self.refused.push(reason.to_owned());
    }

    /// Calls to claude-api that have not come back.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.calls.open()
    }

    /// Notes how much the socket has not sent, and whether all sessions together hold too much.
    pub fn set_room(&mut self, unsent: usize, is_short: bool) {
        (self.unsent, self.is_short) = (unsent, is_short);
    }

    /// Bytes of answers that wait for their batch or turn, and the most that calls under way may
    /// bring.
    #[must_use]
    pub fn pledged_bytes(&self) -> usize {
        let turns = self.turns.held() * self.bounds.status_bytes;
        self.replies.held_bytes() + self.calls.bytes() + turns
    }

    /// Whether no more requests are to be read for now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let bytes = self.unsent + self.pledged_bytes();
        bytes >= self.bounds.session_bytes
            || (self.is_short && bytes >= self.bounds.floor_bytes)
            || self.calls.is_full()
            || self.inputs.is_full()
            || self.pending.has_too_many_waiters()
    }

    /// Whether a look with an answer of at most so many bytes may start. A look alone always may.
    fn fits(&self, bytes: usize) -> bool {
        let idle = self.unsent == 0 && self.calls.open() == 0 && self.pending.first().is_none();
        let bytes = self.unsent + self.pledged_bytes() + bytes;
        // Calls that act have the other half.
        let room = bytes <= self.bounds.session_bytes / 2;
        idle || (room && (!self.is_short || bytes <= self.bounds.floor_bytes))
    }

    /// Starts the looks that have room now.
    pub fn looks(&mut self) -> Vec<Action> {
        self.start_looks();
        self.take()
    }

    fn start_looks(&mut self) {
        while let Some(bytes) = self.calls.next_look(self.bounds.status_bytes)
            && self.fits(bytes)
            && let Some((token, call)) = self.calls.take_look()
        {
            self.make_call(token, call);
        }
    }

    /// Inputs that are not answered yet, and their bytes.
    #[must_use]
    pub fn inputs(&self) -> &HashMap<Token, usize> {
        self.inputs.held()
    }

    /// Whether views may still begin: their answers wait for a turn or for their batch.
    #[must_use]
    pub fn owes_views(&self) -> bool {
        self.held > 0 || self.turns.waiting() > 0
    }

    /// Whether claude-api is known to have this execution.
    #[must_use]
    pub fn is_accepted(&self, id: ExecutionId) -> bool {
        self.known.is_accepted(id) || self.pending.is_accepted(id)
    }

    /// Ends the session: requests that were read and waited for their turn take effect. Only the
    /// signals among the returned actions matter.
    #[must_use]
    pub fn close(&mut self) -> Vec<Action> {
        for (token, came) in self.turns.close() {
            self.apply(token, came);
        }
        self.take()
    }

    /// Returns the executions to cancel when nobody attaches, once the session is closed.
    #[must_use]
    pub fn departing(&self) -> Vec<ExecutionId> {
        self.known.departing()
    }

    /// A text frame.
    pub fn on_text(&mut self, text: &str, limits: Option<&Limits>) -> Vec<Action> {
        match parse(text, self.bounds.batch, limits) {
            Frame::Bad(error) => self.on_bad(&error),
            Frame::Single(entry) => {
                self.on_entry(entry, None);
                self.take()
            }
            Frame::Batch(entries) => {
                let batch = self.replies.batch(entries.len());
                for entry in entries {
                    self.on_entry(entry, Some(batch));
                }
                self.take()
            }
        }
    }

    /// A frame that is no request: answered with id null.
    pub fn on_bad(&mut self, error: &RpcError) -> Vec<Action> {
        self.note_refused(error);
        let text = protocol::rpc::error(&serde_json::Value::Null, error).to_string();
        self.actions.push(Action::Send(text));
        self.take()
    }

    fn on_entry(&mut self, Entry { id, what }: Entry, batch: Option<u64>) {
        let token = self.replies.request(id, batch);
        match what {
            Err(Refusal { error, method }) => self.refuse(token, method.as_deref(), &error),
            Ok(Ask::Execute(execute)) => self.on_execute(token, *execute),
            Ok(Ask::Ping) => self.answer(token, Answer::Value(json!({})), Vec::new()),
            Ok(Ask::List(limit, before)) => self.ask(token, Call::List(limit, before)),
            Ok(Ask::Events(events)) => self.ask(token, Call::Events(events)),
            Ok(Ask::Attach(attach)) => self.ask(token, Call::Attach(attach)),
            Ok(Ask::Detach(id)) => self.ask(token, Call::Detach(id)),
            Ok(Ask::Input(input)) => self.on_input(token, input),
            Ok(Ask::Status(id)) => self.ask_about(token, id, Call::Status),
            Ok(Ask::Control(verb, id)) => {
                self.ask_about(token, id, |target| Call::Control(verb, target));
            }
        }
    }

    /// A call about the one named, or else the oldest that lives: claude-api knows which of those do. An
    /// execute that is not answered yet is younger than all of them.
    fn ask_about(
        &mut self,
        token: Token,
        id: Option<ExecutionId>,
        call: impl FnOnce(Target) -> Call,
    ) {
        let known = self.known.oldest_first();
        let target = match id.or_else(|| self.pending.first().filter(|_| known.is_empty())) {
            Some(id) => Target::One(id),
            None if known.is_empty() => return self.refuse(token, None, &no_live_execution()),
            None => Target::FirstLive(known),
        };
        self.ask(token, call(target));
    }

    fn ask(&mut self, token: Token, call: Call) {
        if let Call::Attach(attach) = &call
            && let Err(error) = self.room_for(attach.execution_id)
        {
            return self.refuse(token, None, &error);
        }
        if let Some(id) = call.viewed() {
            self.turns.join(id, token);
        }
        let executes = |id| self.pending.of(id);
        if call.is_cancel() {
            let stopped = call.named().into_iter().flat_map(executes);
            self.actions.extend(stopped.map(Action::StopRetrying));
        }
        // Executes are answered in order: the last one asked so far is the last one answered.
        let last = call.named().and_then(|id| executes(id).last());
        let accepted = call.named().is_some_and(|id| self.is_accepted(id));
        let Some(last) = last.filter(|_| !(accepted && call.needs_no_answer())) else {
            return self.call(token, call);
        };
        self.pending.wait(last, token, call);
    }

    fn call(&mut self, token: Token, call: Call) {
        if let Call::Detach(id) = call {
            return self.arrived(token, Came::Detached(id));
        }
        let call = match call {
            input @ Call::Input(..) => self.inputs.ask(token, input),
            other => Some((token, other)),
        };
        self.push_call(call);
    }

    fn push_call(&mut self, call: Option<(Token, Call)>) {
        let Some((token, call)) = call else { return };
        if call.is_look() {
            self.calls.wait(token, call);
            self.start_looks();
        } else {
            self.make_call(token, call);
        }
    }

    fn make_call(&mut self, token: Token, call: Call) {
        self.calls.begin(token, &call, self.bounds.status_bytes);
        self.actions.push(Action::Call(token, call));
    }

    fn on_input(&mut self, token: Token, input: Input) {
        let Input {
            execution_id,
            offset,
            data,
            eof,
        } = input;
        if !self.inputs.admit(token, data.len()) {
            let limit = inputs::UNANSWERED_BYTES;
            let error = full(
                "too_many_unanswered",
                limit,
                "bytes of input are not answered yet",
            );
            return self.refuse(token, None, &error);
        }
        let eof = eof.unwrap_or(false);
        self.ask_about(token, execution_id, |target| {
            Call::Input(target, data.into(), offset, eof)
        });
    }

    /// Whether one more view may begin.
    fn room_for(&self, id: ExecutionId) -> Result<(), RpcError> {
        let most = self.bounds.views;
        if self.views.contains_key(&id)
            || self.views.len() + self.turns.waiting() + self.held < most
        {
            return Ok(());
        }
        let error = full("too_many_views", most, "executions are viewed; detach one");
        Err(error.with("executionId", id.to_string()))
    }

    fn on_execute(&mut self, token: Token, execute: Execute) {
        let Execute {
            id,
            fresh,
            mut body,
            on_disconnect,
            on_slow,
        } = execute;
        let room = match self.pending.is_full() {
            Some(limit) => {
                let error = full(
                    "too_many_unanswered",
                    limit,
                    "executes are not answered yet",
                );
                Err(error.with("executionId", id.to_string()))
            }
            None => self.room_for(id),
        };
        if let Err(error) = room {
            return self.refuse(token, Some(method::EXECUTE), &error);
        }
        body.lane.get_or_insert_with(|| self.session.clone());
        let body = match serde_json::to_vec(&body) {
            Ok(body) => body.into(),
            Err(error) => return self.refuse(token, Some(method::EXECUTE), &internal(&error)),
        };
        self.turns.join(id, token);
        self.pending.add(pending::Execute {
            token,
            id,
            fresh,
            on_slow,
            cancel_on_disconnect: on_disconnect == OnDisconnect::Cancel,
            accepted: false,
        });
        let execute = Handover { id, fresh, body };
        let job = Job::new(token, execute, on_disconnect);
        self.actions.push(Action::Execute(job));
    }

    /// claude-api has accepted an execute, or not.
    pub fn on_executed(&mut self, token: Token, result: Result<Status, RpcError>) -> Vec<Action> {
        let accepted = result.as_ref().ok().map(|status| status.execution_id);
        self.arrived(token, Came::Executed(Box::new(result)));
        // The answer of an execute may wait for a turn; a signal does not.
        if let Some(id) = accepted {
            for (token, call) in self.pending.accepted(id) {
                self.call(token, call);
            }
        }
        self.start_looks();
        self.take()
    }

    /// A call came back; `ended` were found to be terminal, or not known to claude-api.
    pub fn on_called(
        &mut self,
        token: Token,
        result: Result<Outcome, RpcError>,
        ended: &[ExecutionId],
    ) -> Vec<Action> {
        self.calls.ended(token);
        for id in ended {
            self.known.forget(*id);
        }
        self.arrived(token, Came::Called(result));
        self.start_looks();
        self.take()
    }

    /// A view's terminal message was sent.
    pub fn on_view_ended(&mut self, view: u64) {
        let ended = self.views.iter().find(|(_, v)| **v == view);
        if let Some(id) = ended.map(|(id, _)| *id) {
            self.views.remove(&id);
            self.known.forget(id);
        }
    }

    fn arrived(&mut self, token: Token, came: Came) {
        for (token, came) in self.turns.came(token, came) {
            self.apply(token, came);
        }
    }

    fn apply(&mut self, token: Token, came: Came) {
        match came {
            Came::Executed(result) => self.executed(token, *result),
            Came::Called(result) => self.called(token, result),
            Came::Detached(id) => {
                let after = vec![After::Unview(token, id)];
                self.answer(token, Answer::Value(json!({})), after);
            }
        }
    }

    fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }
}

fn full(reason: &str, limit: usize, what: &str) -> RpcError {
    let message = format!("{limit} {what}; that many one session may have");
    RpcError::new(code::QUEUE_FULL, reason, message).with("limit", limit)
}

fn internal(error: &serde_json::Error) -> RpcError {
    RpcError::new(code::INTERNAL_ERROR, "internal", error.to_string())
}

/// -32003: no id was given, and there is none to take.
#[must_use]
pub fn no_live_execution() -> RpcError {
    RpcError::new(
        code::NO_SUCH_EXECUTION,
        "no_live_execution",
        "this session has no execution that is not terminal; name one with executionId",
    )
}

mod answers;
#[cfg(test)]
mod tests;
