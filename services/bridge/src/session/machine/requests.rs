//! Turns parsed requests of the client into actions. An execute is handed over to the executor
//! immediately. Any other request becomes a call to claude-api, once the requests and the memory
//! that it needs are available.

use protocol::ExecutionId;
use protocol::message::{AnswerParams, Empty, InputParams};
use protocol::question::ANSWER_BYTES_MAX;
use protocol::rpc::{OnDisconnect, RpcError, code, method};

use super::action::Action;
use super::call::{Call, Target};
use super::inputs::UNANSWERED_BYTES;
use super::open_requests::Token;
use super::outcome::Outcome;
use super::pending::PendingExecute;
use super::{Machine, no_live_execution};
use crate::handover::Handover;
use crate::session::wire::answer::Answer;
use crate::session::wire::request::{Entry, ExecuteRequest, Refusal, Request};

impl Machine {
    /// Handles one request or notification of the client, and refuses it if it is invalid. `batch`
    /// is the number of its batch, or `None` for a single message.
    pub(super) fn on_entry(&mut self, Entry { id, request }: Entry, batch: Option<u64>) {
        let token = self.open_requests.request(id, batch);
        match request {
            Err(Refusal { error, method }) => self.refuse(token, method.as_deref(), &error),
            Ok(Request::Execute(execute)) => self.on_execute(token, *execute),
            Ok(Request::Ping) => self.answer(token, Answer::Empty(Empty {}), Vec::new()),
            Ok(Request::List(list)) => self.submit(token, Call::List(list)),
            Ok(Request::Events(events)) => self.submit(token, Call::Events(events)),
            Ok(Request::Share(share)) => self.submit(token, Call::Share(share)),
            Ok(Request::Answer(answer)) => self.on_answer(token, *answer),
            Ok(Request::Attach(attach)) => self.submit(token, Call::Attach(attach)),
            Ok(Request::Detach(id)) => self.submit(token, Call::Detach(id)),
            Ok(Request::Input(input)) => self.on_input(token, input),
            Ok(Request::Status(id)) => self.submit_about(token, id, Call::Status),
            Ok(Request::Control(control, id)) => {
                self.submit_about(token, id, |target| Call::Control(control, target));
            }
        }
    }

    /// Submits a call about the execution `id`. For `None` the call is about the session's oldest
    /// live execution. Only claude-api knows which executions are live, so the call then carries
    /// all candidates.
    ///
    /// An unanswered execute is younger than all live executions. It is used only if the session
    /// has none of those. A session without any execution refuses the request with -32003 (no such
    /// execution).
    pub(super) fn submit_about(
        &mut self,
        token: Token,
        id: Option<ExecutionId>,
        call: impl FnOnce(Target) -> Call,
    ) {
        let known = self.executions.oldest_first();
        let target = match id.or_else(|| self.pending.first().filter(|_| known.is_empty())) {
            Some(id) => Target::One(id),
            None if known.is_empty() => return self.refuse(token, None, &no_live_execution()),
            None => Target::FirstLive(known),
        };
        self.submit(token, call(target));
    }

    /// Submits a call to claude-api. It waits first if it is about an execution whose execute has
    /// no answer yet. A cancel also stops the retries of that execute. An attach beyond the limit
    /// of views is refused.
    fn submit(&mut self, token: Token, call: Call) {
        if let Call::Attach(attach) = &call
            && let Err(error) = self.check_views(attach.execution_id)
        {
            return self.refuse(token, None, &error);
        }
        if let Some(id) = call.viewed() {
            self.view_order.enqueue(id, token);
        }
        let executes = |id| self.pending.tokens_of(id);
        if call.is_cancel() {
            let cancelled = call.named().into_iter().flat_map(executes);
            self.actions.extend(cancelled.map(Action::StopRetrying));
        }
        // Executes are answered in order: the youngest one of the id is the last one answered.
        let last = call.named().and_then(|id| executes(id).last());
        let accepted = call.named().is_some_and(|id| self.is_accepted(id));
        match last.filter(|_| !(accepted && call.needs_no_answer())) {
            Some(last) => self.pending.wait(last, token, call),
            None => self.dispatch(token, call),
        }
    }

    /// Continues with a call that waits for no execute. A detach takes effect without a call to
    /// claude-api. An input may still wait for the previous input, and a query for memory.
    pub(super) fn dispatch(&mut self, token: Token, call: Call) {
        if let Call::Detach(id) = call {
            return self.on_outcome(token, Outcome::Detached(id));
        }
        let call = match call {
            input @ Call::Input { .. } => self.inputs.queue(token, input),
            // An answer may have been refused while it waited for an execute.
            Call::Answer { .. } if !self.inputs.has(token) => None,
            other => Some((token, other)),
        };
        self.start(call);
    }

    /// Starts a call, or does nothing for `None`. A query (status, list, events) waits first until
    /// there is memory for its answer.
    pub(super) fn start(&mut self, call: Option<(Token, Call)>) {
        let Some((token, call)) = call else { return };
        if call.is_query() {
            self.in_flight.queue(token, call);
            self.start_waiting_queries();
        } else {
            self.start_now(token, call);
        }
    }

    /// Starts a call, and reserves memory for its answer.
    fn start_now(&mut self, token: Token, call: Call) {
        self.in_flight.begin(token, &call, self.bounds.status_bytes);
        self.actions.push(Action::Call(token, call));
    }

    /// Starts waiting queries (status, list, events), oldest first. Stops at the first one whose
    /// answer does not fit into the memory limits, so no query overtakes another.
    pub(super) fn start_waiting_queries(&mut self) {
        while let Some(bytes) = self.in_flight.next_query_bytes(self.bounds.status_bytes)
            && self.fits(bytes)
            && let Some((token, call)) = self.in_flight.take_query()
        {
            self.start_now(token, call);
        }
    }

    /// Returns whether a query may start whose answer needs at most `bytes` bytes. Queries may use
    /// half of the session's memory for answers, so the other half remains for calls that act, such
    /// as a cancel. A query that is alone may always start, because otherwise it might wait
    /// forever.
    fn fits(&self, bytes: usize) -> bool {
        let idle = self.unsent_bytes == 0 && self.open_calls() == 0;
        let alone = idle && self.pending.first().is_none();
        let bytes = self.unsent_bytes + self.pledged_bytes() + bytes;
        // The other half is for calls that act.
        let has_room = bytes <= self.bounds.session_bytes / 2;
        alone || (has_room && (!self.is_short || bytes <= self.bounds.floor_bytes))
    }

    /// Handles an `input` request. Refuses it with -32004 (queue full, `too_many_unanswered`) if
    /// the session's unanswered inputs would exceed 16 MiB.
    fn on_input(&mut self, token: Token, input: InputParams) {
        let InputParams {
            execution_id,
            offset,
            data,
            eof,
        } = input;
        if !self.admit(token, data.len()) {
            return;
        }
        self.submit_about(token, execution_id, |target| Call::Input {
            target,
            data: data.into(),
            offset,
            eof,
        });
    }

    /// Handles an `answer` request. Refuses it with -32602 (invalid params, `too_large`) if the
    /// answer is longer than claude-api accepts. Its bytes count as those of an input.
    fn on_answer(&mut self, token: Token, answer: AnswerParams) {
        let (execution_id, question_id) = (answer.execution_id, answer.question_id);
        let answer = match serde_json::to_vec(&answer.answer()) {
            Ok(answer) => answer,
            Err(error) => return self.refuse(token, None, &internal(&error)),
        };
        if answer.len() > ANSWER_BYTES_MAX {
            let message = format!(
                "the answer has {} bytes of JSON; send at most {ANSWER_BYTES_MAX}",
                answer.len()
            );
            let error = RpcError::new(code::INVALID_PARAMS, "too_large", message);
            return self.refuse(token, None, &error.with("limit", ANSWER_BYTES_MAX));
        }
        if self.admit(token, answer.len()) {
            let call = Call::Answer {
                execution_id,
                question_id,
                answer: answer.into(),
            };
            self.submit(token, call);
        }
    }

    /// Counts the bytes of an input or an answer. Refuses the request with -32004 (queue full,
    /// `too_many_unanswered`) and returns false if the session has too many unanswered ones.
    fn admit(&mut self, token: Token, bytes: usize) -> bool {
        let is_admitted = self.inputs.admit(token, bytes);
        if !is_admitted {
            let message = format!(
                "input and answers to questions without a reply would exceed {UNANSWERED_BYTES} \
                 bytes (the limit); wait for a reply, then repeat"
            );
            let error = full("too_many_unanswered", UNANSWERED_BYTES, message);
            self.refuse(token, None, &error);
        }
        is_admitted
    }

    /// Handles an `execute` request, and hands it over to the executor. Refuses it with -32004
    /// (queue full) if the session has too many unanswered executes or too many views. An execution
    /// without a lane gets the session's lane.
    fn on_execute(&mut self, token: Token, execute: ExecuteRequest) {
        let ExecuteRequest {
            id,
            fresh,
            mut body,
            on_disconnect,
            on_slow,
        } = execute;
        let admitted = match self.pending.reached_limit() {
            Some(limit) => {
                let message = format!(
                    "this session has {limit} unanswered executes (the limit); wait for an answer"
                );
                let error = full("too_many_unanswered", limit, message);
                Err(error.with("executionId", id.to_string()))
            }
            None => self.check_views(id),
        };
        if let Err(error) = admitted {
            return self.refuse(token, Some(method::EXECUTE), &error);
        }
        let trace = body.trace();
        body.lane.get_or_insert_with(|| self.session.clone());
        let body = match serde_json::to_vec(&body) {
            Ok(body) => body.into(),
            Err(error) => return self.refuse(token, Some(method::EXECUTE), &internal(&error)),
        };
        self.view_order.enqueue(id, token);
        let cancel_on_disconnect = on_disconnect == OnDisconnect::Cancel;
        self.pending.add(PendingExecute {
            token,
            id,
            fresh,
            on_slow,
            cancel_on_disconnect,
            accepted: false,
        });
        let handover = Handover {
            id,
            fresh,
            body,
            cancel_on_disconnect,
            trace,
        };
        self.actions.push(Action::Execute(token, handover));
    }

    /// Checks that the session may view this execution. That is so if it views it already, or if it
    /// views fewer executions than its limit.
    ///
    /// # Errors
    /// -32004 (queue full, `too_many_views`) if the limit is reached. The client must detach an
    /// execution first.
    fn check_views(&self, id: ExecutionId) -> Result<(), RpcError> {
        let limit = self.bounds.views;
        if self.views.contains_key(&id)
            || self.views.len() + self.view_order.waiting() + self.held_views < limit
        {
            return Ok(());
        }
        let message =
            format!("this session already views {limit} executions (the limit); detach one first");
        let error = full("too_many_views", limit, message);
        Err(error.with("executionId", id.to_string()))
    }
}

/// Returns the JSON-RPC error for a request beyond a limit of its session (-32004, queue full).
/// `reason` is the machine-readable name of the limit, and `limit` its value.
fn full(reason: &str, limit: usize, message: String) -> RpcError {
    RpcError::new(code::QUEUE_FULL, reason, message).with("limit", limit)
}

/// Returns the JSON-RPC error for a body that could not be encoded as JSON (-32603, internal
/// error). Valid bodies do not fail.
fn internal(error: &serde_json::Error) -> RpcError {
    RpcError::new(code::INTERNAL_ERROR, "internal", error.to_string())
}
