//! One session as a pure machine: frames and results in, actions out. It knows what the session asked, what
//! it executed and what it views; all else lives in claude-api.
//!
//! ```text
//! execute: asked -> handed to the executor (one at a time, in order) -> answered -> viewed
//! others:  asked -> (named execute not answered: waits for it) -> called -> answered
//! ```

use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;
use protocol::rpc::{OnDisconnect, OnSlow, RpcError, code, method, notification};
use protocol::{ExecutionId, Limits, Page, Status};
use serde_json::json;

use super::inputs::{self, Inputs};
use super::replies::{Answer, Replies, Token};
use super::request::{Ask, Attach, Entry, Execute, Frame, Input, Refusal, parse};
use crate::upstream::call::Verb;
use crate::viewer::{Start, encode};

/// Executes of one session that are not answered yet; claude-api's own queue is far shorter.
const UNANSWERED: usize = 1024;
/// Executions remembered for the default id; the oldest is forgotten first.
const KNOWN: usize = 4096;

/// Which execution a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This one.
    One(ExecutionId),
    /// The first of these, oldest first, that is not terminal.
    FirstLive(Vec<ExecutionId>),
}

/// A call to claude-api.
#[derive(Debug, Clone)]
pub enum Call {
    /// The status object.
    Status(Target),
    /// Signals.
    Control(Verb, Target),
    /// A page.
    List(Option<u64>, Option<ExecutionId>),
    /// The status object, for a view that begins with it.
    Attach(Attach),
    /// Nothing is asked; it only waited for an execute's answer.
    Detach(ExecutionId),
    /// Lines for a CLI's stdin: the bytes, where they begin, whether they are the last.
    Input(Target, Bytes, u64, bool),
}

/// What came of a call.
#[derive(Debug)]
pub enum Outcome {
    /// A status object.
    Status(Box<Status>),
    /// A page.
    Page(Box<Page>),
    /// A view can begin.
    Attach(Box<Status>, Attach),
    /// Input was taken: the accepted total.
    Input(u64),
}

/// An execute for the executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its request.
    pub token: Token,
    /// Its id.
    pub id: ExecutionId,
    /// The body, encoded.
    pub body: Bytes,
    /// Whether it is cancelled when the session is gone.
    pub cancel_on_disconnect: bool,
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Send this message.
    Send(String),
    /// Hand this over, behind earlier ones.
    Execute(Job),
    /// End the retrying of an execute.
    StopRetrying(Token),
    /// Call claude-api, at once.
    Call(Token, Call),
    /// Begin a view.
    View(u64, Box<Start>),
    /// End a view; its messages under way are dropped.
    Unview(u64),
}

/// What begins behind an answer.
#[derive(Debug)]
enum After {
    View(Box<Start>),
    Unview(ExecutionId),
}

#[derive(Debug)]
struct Pending {
    token: Token,
    id: ExecutionId,
    on_slow: OnSlow,
    cancel_on_disconnect: bool,
    waiters: Vec<(Token, Call)>,
}

#[derive(Debug)]
struct Known {
    created: Timestamp,
    cancel_on_disconnect: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Machine {
    session: String,
    batch: u64,
    replies: Replies<After>,
    pending: Vec<Pending>,
    inputs: Inputs,
    known: HashMap<ExecutionId, Known>,
    views: HashMap<ExecutionId, u64>,
    next_view: u64,
    actions: Vec<Action>,
}

impl Machine {
    /// `batch`: the longest batch. `status_bytes`: the largest status object.
    #[must_use]
    pub fn new(session: String, batch: u64, status_bytes: usize) -> Self {
        Self {
            session,
            batch,
            replies: Replies::new(status_bytes),
            pending: Vec::new(),
            inputs: Inputs::default(),
            known: HashMap::new(),
            views: HashMap::new(),
            next_view: 0,
            actions: Vec::new(),
        }
    }

    /// Requests that are not answered, executes aside.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.replies.open() - self.pending.len().min(self.replies.open())
    }

    /// What is to be cancelled when nobody attaches: the session is gone.
    #[must_use]
    pub fn departing(&self) -> Vec<ExecutionId> {
        let known = self.known.iter();
        known
            .filter(|(_, k)| k.cancel_on_disconnect)
            .map(|(id, _)| *id)
            .collect()
    }

    /// A text frame.
    pub fn on_text(&mut self, text: &str, limits: Option<&Limits>) -> Vec<Action> {
        match parse(text, self.batch, limits) {
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
        let text = protocol::rpc::error(&serde_json::Value::Null, error).to_string();
        self.actions.push(Action::Send(text));
        self.take()
    }

    fn on_entry(&mut self, Entry { id, what }: Entry, batch: Option<u64>) {
        let token = self.replies.request(id, batch);
        let call = match what {
            Err(Refusal { error, method }) => {
                return self.refuse(token, method.as_deref(), &error);
            }
            Ok(Ask::Execute(execute)) => return self.on_execute(token, *execute),
            Ok(Ask::Ping) => return self.answer(token, Answer::Value(json!({})), Vec::new()),
            Ok(Ask::List(limit, before)) => Call::List(limit, before),
            Ok(Ask::Attach(attach)) => Call::Attach(attach),
            Ok(Ask::Detach(id)) => Call::Detach(id),
            Ok(Ask::Input(input)) => match self.input(token, input) {
                Some(call) => call,
                None => return,
            },
            Ok(Ask::Status(id)) => match self.target(id) {
                Some(target) => Call::Status(target),
                None => return self.nothing_live(token, method::STATUS),
            },
            Ok(Ask::Control(verb, id)) => match self.target(id) {
                Some(target) => Call::Control(verb, target),
                None => return self.nothing_live(token, method::CONTROL),
            },
        };
        let named = match &call {
            Call::Status(Target::One(id))
            | Call::Control(_, Target::One(id))
            | Call::Input(Target::One(id), ..) => Some(*id),
            Call::Attach(attach) => Some(attach.execution_id),
            Call::Detach(id) => Some(*id),
            Call::List(..) | Call::Status(_) | Call::Control(..) | Call::Input(..) => None,
        };
        let pending = self.pending.iter_mut().rfind(|p| Some(p.id) == named);
        let Some(pending) = pending else {
            return self.call(token, call);
        };
        if matches!(call, Call::Control(Verb::Cancel, _)) {
            self.actions.push(Action::StopRetrying(pending.token));
        }
        pending.waiters.push((token, call));
    }

    /// The oldest that this session knows and that is not terminal, or an execute still to be answered.
    fn target(&self, id: Option<ExecutionId>) -> Option<Target> {
        if let Some(id) = id {
            return Some(Target::One(id));
        }
        let mut live: Vec<_> = self.known.iter().map(|(id, k)| (k.created, *id)).collect();
        live.sort_unstable();
        // What is viewed is known not to be terminal; of the others only claude-api knows.
        let end = live
            .iter()
            .position(|(_, id)| self.views.contains_key(id))
            .map_or(live.len(), |at| at + 1);
        let mut live: Vec<_> = live.into_iter().take(end).map(|(_, id)| id).collect();
        match live.len() {
            0 => self.pending.first().map(|p| Target::One(p.id)),
            1 => live.pop().map(Target::One),
            _ => Some(Target::FirstLive(live)),
        }
    }

    fn nothing_live(&mut self, token: Token, name: &str) {
        let error = no_live_execution();
        self.refuse(token, Some(name), &error);
    }

    /// The call for an input; nothing when it is refused.
    fn input(&mut self, token: Token, input: Input) -> Option<Call> {
        let Input {
            execution_id,
            offset,
            data,
            eof,
        } = input;
        let Some(target) = self.target(execution_id) else {
            self.nothing_live(token, method::INPUT);
            return None;
        };
        if !self.inputs.admit(token, data.len()) {
            let error = RpcError::new(
                code::QUEUE_FULL,
                "too_many_unanswered",
                "too many bytes of input of this session are not answered yet",
            );
            let error = error.with("limit", inputs::UNANSWERED_BYTES);
            self.refuse(token, Some(method::INPUT), &error);
            return None;
        }
        Some(Call::Input(
            target,
            data.into(),
            offset,
            eof.unwrap_or(false),
        ))
    }

    fn call(&mut self, token: Token, call: Call) {
        if let Call::Detach(id) = call {
            let after = vec![After::Unview(id)];
            return self.answer(token, Answer::Value(json!({})), after);
        }
        let call = match call {
            input @ Call::Input(..) => self.inputs.ask(token, input),
            other => Some((token, other)),
        };
        self.push_call(call);
    }

    fn push_call(&mut self, call: Option<(Token, Call)>) {
        let call = call.map(|(token, call)| Action::Call(token, call));
        self.actions.extend(call);
    }

    fn on_execute(&mut self, token: Token, execute: Execute) {
        let Execute {
            id,
            mut body,
            on_disconnect,
            on_slow,
        } = execute;
        let cancel_on_disconnect = on_disconnect == OnDisconnect::Cancel;
        if self.pending.len() >= UNANSWERED {
            let error = RpcError::new(
                code::QUEUE_FULL,
                "too_many_unanswered",
                format!("{UNANSWERED} executes of this session are not answered yet"),
            );
            let error = error.with("executionId", id.to_string());
            return self.refuse(token, Some(method::EXECUTE), &error);
        }
        body.lane.get_or_insert_with(|| self.session.clone());
        let body = match serde_json::to_vec(&body) {
            Ok(body) => body.into(),
            Err(error) => {
                let error = RpcError::new(code::INTERNAL_ERROR, "internal", error.to_string());
                return self.refuse(token, Some(method::EXECUTE), &error);
            }
        };
        self.pending.push(Pending {
            token,
            id,
            on_slow,
            cancel_on_disconnect,
            waiters: Vec::new(),
        });
        self.actions.push(Action::Execute(Job {
            token,
            id,
            body,
            cancel_on_disconnect,
        }));
    }

    /// claude-api has accepted an execute, or not.
    pub fn on_executed(&mut self, token: Token, result: Result<Status, RpcError>) -> Vec<Action> {
        let Some(at) = self.pending.iter().position(|p| p.token == token) else {
            return Vec::new();
        };
        let Pending {
            token,
            id,
            on_slow,
            cancel_on_disconnect,
            waiters,
        } = self.pending.remove(at);
        let mut never_accepted = false;
        match result {
            Ok(status) => {
                self.remember(&status, cancel_on_disconnect);
                let start = Start {
                    status: status.clone(),
                    offset: None,
                    on_slow,
                };
                let after = vec![After::View(Box::new(start))];
                self.answer(token, Answer::Status(Box::new(status)), after);
            }
            Err(error) => {
                never_accepted = error.data["accepted"] == false;
                self.refuse(token, Some(method::EXECUTE), &error);
            }
        }
        for (token, call) in waiters {
            if never_accepted && !matches!(call, Call::Detach(_)) {
                let error = RpcError::new(
                    code::NO_SUCH_EXECUTION,
                    "not_accepted",
                    "its execute was not accepted",
                );
                self.refuse(token, None, &error.with("executionId", id.to_string()));
            } else {
                self.call(token, call);
            }
        }
        self.take()
    }

    /// A call came back.
    pub fn on_called(&mut self, token: Token, result: Result<Outcome, RpcError>) -> Vec<Action> {
        match result {
            Err(error) => self.refuse(token, None, &error),
            Ok(Outcome::Page(page)) => match serde_json::to_value(&*page) {
                Ok(page) => self.answer(token, Answer::Value(page), Vec::new()),
                Err(error) => {
                    let error = RpcError::new(code::INTERNAL_ERROR, "internal", error.to_string());
                    self.refuse(token, None, &error);
                }
            },
            Ok(Outcome::Input(accepted)) => {
                let answer = json!({ "accepted": accepted });
                self.answer(token, Answer::Value(answer), Vec::new());
            }
            Ok(Outcome::Status(status)) => {
                if status.state.is_terminal() {
                    self.known.remove(&status.execution_id);
                }
                self.answer(token, Answer::Status(status), Vec::new());
            }
            Ok(Outcome::Attach(status, attach)) => {
                self.remember(&status, false);
                let start = Start {
                    status: (*status).clone(),
                    offset: attach.offset,
                    on_slow: attach.on_slow.unwrap_or_default(),
                };
                let after = vec![After::View(Box::new(start))];
                self.answer(token, Answer::Status(status), after);
            }
        }
        self.take()
    }

    /// A view's terminal message was sent.
    pub fn on_view_ended(&mut self, view: u64) {
        let ended = self.views.iter().find(|(_, v)| **v == view);
        if let Some(id) = ended.map(|(id, _)| *id) {
            self.views.remove(&id);
            self.known.remove(&id);
        }
    }

    fn remember(&mut self, status: &Status, cancel: bool) {
        let id = status.execution_id;
        if status.state.is_terminal() {
            self.known.remove(&id);
            return;
        }
        if self.known.len() >= KNOWN
            && let Some(oldest) = self.known.iter().min_by_key(|(_, k)| k.created)
        {
            let oldest = *oldest.0;
            self.known.remove(&oldest);
        }
        let known = self.known.entry(id).or_insert(Known {
            created: status.created_at,
            cancel_on_disconnect: false,
        });
        known.cancel_on_disconnect |= cancel;
    }

    fn answer(&mut self, token: Token, answer: Answer, after: Vec<After>) {
        let ready = self.replies.answer(token, Ok(answer), after);
        self.actions.extend(ready.message.map(Action::Send));
        self.begin(ready.after);
        let next = self.inputs.answered(token);
        self.push_call(next);
    }

    fn refuse(&mut self, token: Token, name: Option<&str>, error: &RpcError) {
        if self.replies.is_notification(token) {
            self.refuse_notification(name, error);
        }
        let ready = self.replies.answer(token, Err(error), Vec::new());
        self.actions.extend(ready.message.map(Action::Send));
        self.begin(ready.after);
        let next = self.inputs.answered(token);
        self.push_call(next);
    }

    /// A notification has no answer; nobody waits for nothing all the same.
    fn refuse_notification(&mut self, name: Option<&str>, error: &RpcError) {
        let text = if name == Some(method::EXECUTE) {
            let params = json!({ "status": "FAILED", "reason": "rejected", "error": error });
            notification(method::STATUS_UPDATE, &params).to_string()
        } else {
            encode::notice(None, "rejected", &error.message, &json!({ "error": error }))
        };
        self.actions.push(Action::Send(text));
    }

    fn begin(&mut self, after: Vec<After>) {
        for after in after {
            match after {
                After::Unview(id) => {
                    let view = self.views.remove(&id);
                    self.actions.extend(view.map(Action::Unview));
                }
                After::View(start) => {
                    self.next_view += 1;
                    let id = start.status.execution_id;
                    let old = self.views.insert(id, self.next_view);
                    self.actions.extend(old.map(Action::Unview));
                    self.actions.push(Action::View(self.next_view, start));
                }
            }
        }
    }

    fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }
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

#[cfg(test)]
mod tests;
