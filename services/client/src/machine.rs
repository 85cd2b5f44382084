//! The requests and views of one client, as a state machine without I/O. A view is the state that
//! the client keeps for one [`Run`](crate::Run), which receives the messages about one execution.
//!
//! The machine receives the messages of the bridge, and produces requests to send and events for
//! the runs. The client's background [task](crate::task) does the I/O.
//!
//! ```text
//! opening --answer--> viewing --terminal statusUpdate--> removed
//!    \--error--> removed ^ |
//!                        | v  connection lost
//!                     attaching again, at the offset reached
//! ```
//!
//! A view whose run does not read is detached when too many events wait for it. The connection must
//! always be read, because pings have to be answered. When the run has read the waiting events, the
//! view attaches again at the offset reached.

mod open_questions;
mod view;
mod waiting_events;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use protocol::message::{
    AttachParams, ClientMessage, DetachParams, Gap, JsonText, Reply, Request, ServerMessage,
};
use protocol::question::{QuestionAsked, QuestionClosed};
use protocol::rpc::{OnSlow, RpcError, code};
use protocol::{ExecutionId, Status};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::Error;
use crate::event::{Event, Item};
use crate::output_tracker::OutputCheck;
pub(crate) use view::View;
use waiting_events::{SMALL_BYTES, WaitingEvents};

/// The sender through which the answer to a request reaches the caller that waits for it.
pub(crate) type AnswerSender = oneshot::Sender<Result<JsonText, Error>>;

/// A request that the bridge has not answered yet, so that it must be repeated after a reconnect.
struct Unanswered {
    /// The request as JSON text, which is sent again unchanged on a new connection.
    text: String,
    receiver: Receiver,
}

/// The part of the client that gets the answer to a request.
enum Receiver {
    /// The view of this execution. The request is the `execute` or `attach` that opens it.
    View(ExecutionId),
    /// A caller that waits for the answer to any other request.
    Caller(AnswerSender),
}

impl Unanswered {
    /// Returns whether the caller no longer waits for the answer, for example after a timeout. Such
    /// a request is not sent any more, so that it has no late effect.
    fn is_abandoned(&self) -> bool {
        matches!(&self.receiver, Receiver::Caller(answer) if answer.is_closed())
    }

    /// Returns whether this request is the `execute` or `attach` that opens the view of this
    /// execution.
    fn opens(&self, id: ExecutionId) -> bool {
        matches!(self.receiver, Receiver::View(of) if of == id)
    }
}

/// The effect of a message from the bridge on the connection.
#[derive(Debug, PartialEq)]
pub(crate) enum Received {
    /// The bridge serves this client, so the time until the client gives up reconnecting starts
    /// again.
    Progress,
    /// The message has no effect, for example because this version does not know it.
    Nothing,
    /// The bridge cannot serve this client now, for this reason, for example because it has too
    /// many sessions. The client closes the connection and reconnects after a delay.
    RetryLater(String),
}

/// The state of one client. It holds the requests without an answer, the views, and the events that
/// wait for runs.
#[derive(Default)]
pub(crate) struct Machine {
    views: HashMap<ExecutionId, View>,
    /// The requests without an answer, by request id. Ids ascend, so they are in the order in which
    /// they were made.
    requests: BTreeMap<u64, Unanswered>,
    last_id: u64,
    /// The requests to send on the present connection, as request ids and JSON text.
    outbound: VecDeque<(u64, String)>,
    events: WaitingEvents,
    /// Whether runs also yield the JSON text of each message from the bridge
    /// ([`Options::raw`](crate::Options::raw)).
    raw: bool,
    /// The maximum size of a message to the bridge, in bytes. A larger request fails without being
    /// sent, and the others continue. `None` until the first connection.
    limit: Option<usize>,
}

impl Machine {
    pub(crate) fn new(raw: bool) -> Self {
        Self {
            raw,
            ..Self::default()
        }
    }

    /// Sets the maximum size of a message that the bridge accepts, in bytes, as it was reported on
    /// the present connection.
    pub(crate) fn set_limit(&mut self, bytes: usize) {
        self.limit = Some(bytes);
    }

    fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn queue(&mut self, request: Request, receiver: Receiver) {
        let id = self.new_id();
        let text = ClientMessage::request(id, request).to_json();
        self.outbound.push_back((id, text.clone()));
        self.requests.insert(id, Unanswered { text, receiver });
    }

    /// Queues a `detach` request, after which the bridge sends no more messages about the
    /// execution. Its answer is ignored.
    fn detach(&mut self, execution_id: ExecutionId) {
        let id = self.new_id();
        let detach = ClientMessage::request(id, DetachParams { execution_id });
        self.outbound.push_back((id, detach.to_json()));
    }

    /// Opens a view with an `execute` or `attach` request. If this client has an older view of the
    /// same execution, that view ends, because there is only one for each execution.
    pub(crate) fn open(&mut self, id: ExecutionId, view: View, request: Request) {
        self.drop_view(id);
        self.views.insert(id, view);
        self.queue(request, Receiver::View(id));
    }

    /// Queues any other request. Its result or error goes to the sender `answer`.
    pub(crate) fn request(&mut self, request: Request, answer: AnswerSender) {
        self.queue(request, Receiver::Caller(answer));
    }

    /// Ends the view of a run that was dropped. Removes the run's waiting events, and queues a
    /// `detach`, unless a newer run has a view of the same execution.
    pub(crate) fn forget(&mut self, id: ExecutionId, token: u64) {
        self.events.remove(token);
        if self.views.get(&id).is_some_and(|view| view.token == token) {
            self.drop_view(id);
            self.detach(id);
        }
    }

    /// Removes a view, and the `execute` or `attach` that opens it if the bridge has not answered
    /// it. Returns `None` if there is no view of this execution.
    fn drop_view(&mut self, id: ExecutionId) -> Option<View> {
        self.requests.retain(|_, request| !request.opens(id));
        self.views.remove(&id)
    }

    /// Returns the JSON text of the next request to send, or `None` if there is none. Skips
    /// requests whose caller no longer waits, and fails requests that are larger than the bridge
    /// accepts.
    pub(crate) fn next_request(&mut self) -> Option<String> {
        while let Some((id, text)) = self.outbound.pop_front() {
            let request = self.requests.get(&id);
            if request.is_some_and(Unanswered::is_abandoned) {
                self.requests.remove(&id);
                continue;
            }
            match self.limit {
                Some(limit) if text.len() > limit => {
                    let bytes = text.len();
                    self.refuse(id, &Error::TooLarge { bytes, limit });
                }
                _ => return Some(text),
            }
        }
        None
    }

    /// Fails the request with this id. Its caller or its run gets the error. An unknown id is
    /// ignored.
    fn refuse(&mut self, request: u64, error: &Error) {
        match self
            .requests
            .remove(&request)
            .map(|request| request.receiver)
        {
            Some(Receiver::Caller(answer)) => {
                let _ = answer.send(Err(error.clone()));
            }
            Some(Receiver::View(id)) => self.handle(id, SMALL_BYTES, |_| Err(error.clone())),
            None => {}
        }
    }

    /// Fails the largest request without an answer. It is used when the bridge has closed the
    /// connection with 1009 (message too big), which does not say which request it was. Returns
    /// false if every request is answered.
    pub(crate) fn refuse_largest(&mut self, error: &Error) -> bool {
        let requests = self.requests.iter();
        let largest = requests.max_by_key(|(_, request)| request.text.len());
        let Some(id) = largest.map(|(id, _)| *id) else {
            return false;
        };
        self.refuse(id, error);
        true
    }

    /// Returns whether the client needs no connection, because it has no views and no caller waits
    /// for an answer.
    pub(crate) fn is_idle(&self) -> bool {
        let mut requests = self.requests.values();
        self.views.is_empty() && requests.all(Unanswered::is_abandoned)
    }

    /// Returns whether events wait for runs, so that [`Self::deliver`] has work to do.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Waits until the channel of a run has room, and sends the run its oldest event. After the
    /// last event of a view that was detached because its run was slow, attaches the view again.
    /// Returns immediately if no event waits. Cancel-safe, because an event stays queued until
    /// there is room.
    pub(crate) async fn deliver(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let token = self.events.deliver().await;
        if self.events.is_drained(token) {
            let mut views = self.views.iter();
            let detached = views.find(|(_, view)| view.token == token && view.detached);
            if let Some(id) = detached.map(|(id, _)| *id)
                && !self.is_opening(id)
            {
                self.attach_again(id);
            }
        }
    }

    /// Queues an event or error for the run of a view. `bytes` is its size, which counts against
    /// the limit of waiting events. For a run with `onSlow: "skip"`, drops its oldest output to
    /// make room. Does nothing if the view was removed.
    fn emit(&mut self, id: ExecutionId, mut item: Item, bytes: usize) {
        let Some(view) = self.views.get_mut(&id) else {
            return;
        };
        // A raw message cannot be replaced by a gap, so a raw run detaches even with `onSlow:
        // "skip"`.
        if view.on_slow == OnSlow::Skip && !self.raw {
            view.skipped += self.events.skip(view.token, bytes);
            if let Ok(Event::Terminal { verdict, .. }) = &mut item
                && view.skipped > 0
            {
                *verdict = match *verdict {
                    OutputCheck::Verified => OutputCheck::Partial {
                        missing: view.skipped,
                    },
                    OutputCheck::Partial { missing } => OutputCheck::Partial {
                        missing: missing + view.skipped,
                    },
                    OutputCheck::Unknown => OutputCheck::Unknown,
                };
            }
        }
        self.events.push(view.token, &view.tx, item, bytes);
    }

    /// Queues an event for every run, except for runs that are detached or that already have too
    /// many waiting events.
    fn emit_all(&mut self, event: &Event, bytes: usize) {
        for view in self.views.values() {
            if !view.detached && !self.events.is_full(view.token) {
                let item = Ok(event.clone());
                self.events.push(view.token, &view.tx, item, bytes);
            }
        }
    }

    /// Queues a `detach` for each view whose run reads too slowly, so that its waiting events
    /// exceed the limit. The view attaches again once the run has read them.
    fn detach_slow(&mut self) {
        let mut slow = Vec::new();
        for (id, view) in &mut self.views {
            let skips = view.on_slow == OnSlow::Skip && !self.raw;
            if view.accepted && !view.detached && !skips && self.events.is_full(view.token) {
                view.detached = true;
                slow.push(*id);
            }
        }
        for id in slow {
            self.detach(id);
        }
    }

    /// Handles a lost connection. Clears the requests to send, and queues an event for every run
    /// with the reason and the delay before the next attempt to connect.
    pub(crate) fn lost(&mut self, reason: &str, retry_in: Duration) {
        self.outbound.clear();
        let reason = reason.to_owned();
        self.emit_all(&Event::Disconnected { reason, retry_in }, SMALL_BYTES);
    }

    /// Handles a new connection. Queues the requests without an answer again unchanged, and an
    /// `attach` for each accepted view at the offset that its run has reached. If the execution
    /// must be cancelled with the session, the `execute` comes first again.
    pub(crate) fn connected(&mut self, greeting: &Utf8Bytes) {
        if self.raw {
            self.emit_all(&Event::Message(greeting.clone()), greeting.len());
        }
        // An attach of the lost connection may have an old offset; a new one replaces it below.
        let views = &self.views;
        self.requests.retain(|_, request| match &request.receiver {
            Receiver::View(id) => views.get(id).is_none_or(|v| !v.accepted),
            Receiver::Caller(_) => !request.is_abandoned(),
        });
        let requests = self.requests.iter();
        self.outbound = requests
            .map(|(id, request)| (*id, request.text.clone()))
            .collect();
        for view in self.views.values_mut() {
            view.session_began();
        }
        let accepted: Vec<_> = self
            .views
            .iter()
            .filter(|(_, v)| v.accepted && (!v.detached || self.events.is_drained(v.token)))
            .map(|(id, _)| *id)
            .collect();
        for id in accepted {
            self.attach_again(id);
        }
    }

    /// Queues an `attach` that continues the output of a view at the offset reached.
    fn attach_again(&mut self, id: ExecutionId) {
        let Some(view) = self.views.get_mut(&id) else {
            return;
        };
        let attach = AttachParams {
            execution_id: id,
            offset: Some(view.output.reached()),
            on_slow: view.on_slow,
        };
        if let Some(execute) = view.take_renewal() {
            // Its answer and its messages are ignored until the `attach` is answered.
            self.queue(execute, Receiver::View(id));
        }
        self.queue(attach.into(), Receiver::View(id));
    }

    /// Fails every request and ends every view. Their callers and runs get this error.
    pub(crate) fn fail(&mut self, error: &Error) {
        for request in std::mem::take(&mut self.requests).into_values() {
            if let Receiver::Caller(answer) = request.receiver {
                let _ = answer.send(Err(error.clone()));
            }
        }
        for (_, view) in self.views.drain() {
            self.events
                .push(view.token, &view.tx, Err(error.clone()), SMALL_BYTES);
        }
        self.outbound.clear();
    }

    /// Handles the JSON text of a message from the bridge, and then detaches views whose runs read
    /// too slowly. An error means that the bridge broke the protocol, so that the connection must
    /// end.
    pub(crate) fn message(&mut self, text: &Utf8Bytes) -> Result<Received, Error> {
        if self.raw {
            self.emit_all(&Event::Message(text.clone()), text.len());
        }
        let received = self.handle_message(text);
        self.detach_slow();
        received
    }

    fn handle_message(&mut self, text: &Utf8Bytes) -> Result<Received, Error> {
        let bytes = text.len();
        let message = ServerMessage::from_json(text);
        match message.map_err(|e| Error::Protocol(e.to_string()))? {
            ServerMessage::Reply(reply) => return self.reply(reply),
            ServerMessage::StatusUpdate(update) => {
                let id = update.status.execution_id;
                self.close_questions(&update.status);
                self.handle_notification(id, bytes, |view| view.status(update));
            }
            ServerMessage::Output(output) => {
                let id = output.execution_id;
                self.handle_notification(id, bytes, |view| view.output(output));
            }
            ServerMessage::Gap(gap) => {
                self.handle_notification(gap.execution_id, bytes, |view| view.gap(gap));
            }
            ServerMessage::Notice(notice) => match notice.execution_id {
                Some(id) => {
                    self.handle_notification(id, bytes, |_| Ok(Some(Event::Notice(notice))));
                }
                None => self.emit_all(&Event::Notice(notice), bytes),
            },
            ServerMessage::Question(asked) => {
                let QuestionAsked {
                    execution_id,
                    question,
                } = *asked;
                self.handle_notification(execution_id, bytes, |view| Ok(view.question(question)));
            }
            ServerMessage::QuestionClosed(notification) => {
                let QuestionClosed {
                    execution_id,
                    closed,
                } = *notification;
                self.handle_notification(execution_id, bytes, |view| {
                    Ok(view.question_closed(closed))
                });
            }
            // This client sends no batch and no request without an id.
            ServerMessage::Connected(_)
            | ServerMessage::RejectedExecute(_)
            | ServerMessage::Batch(_)
            | ServerMessage::Other(_) => return Ok(Received::Nothing),
        }
        Ok(Received::Progress)
    }

    /// Returns whether the `execute` or `attach` that opens this view has no answer yet. Until
    /// then, notifications about the execution belong to an older view and are ignored.
    fn is_opening(&self, id: ExecutionId) -> bool {
        self.requests.values().any(|request| request.opens(id))
    }

    /// Handles a notification about an execution as [`Self::handle`] does. Ignores it while the
    /// view is detached.
    fn handle_notification(
        &mut self,
        id: ExecutionId,
        bytes: usize,
        apply: impl FnOnce(&mut View) -> Result<Option<Event>, Error>,
    ) {
        if self.views.get(&id).is_some_and(|view| !view.detached) {
            self.handle(id, bytes, apply);
        }
    }

    /// Queues the ends of questions that were closed while a view was not attached, as this status
    /// of the execution shows.
    fn close_questions(&mut self, status: &Status) {
        let id = status.execution_id;
        if self.is_opening(id) {
            return;
        }
        let view = self.views.get_mut(&id).filter(|view| !view.detached);
        let closed = view.map(|view| view.questions.closed_unseen(status));
        for question_id in closed.into_iter().flatten() {
            let event = Event::QuestionClosed {
                question_id,
                closed: None,
            };
            self.emit(id, Ok(event), SMALL_BYTES);
        }
    }

    /// Applies a message to a view, and queues the resulting event or error for the view's run.
    /// `bytes` is the size of the message. A terminal status or an error ends the view. An unknown
    /// view is ignored.
    fn handle(
        &mut self,
        id: ExecutionId,
        bytes: usize,
        apply: impl FnOnce(&mut View) -> Result<Option<Event>, Error>,
    ) {
        if self.is_opening(id) {
            return;
        }
        let Some(view) = self.views.get_mut(&id) else {
            return; // The view was dropped a moment ago.
        };
        let item = match apply(view) {
            Ok(None) => return,
            Ok(Some(event)) => Ok(event),
            Err(error) => Err(error),
        };
        let ends = matches!(item, Err(_) | Ok(Event::Terminal { .. }));
        self.emit(id, item, bytes);
        if ends {
            self.drop_view(id);
        }
    }

    fn reply(&mut self, reply: Reply) -> Result<Received, Error> {
        let Reply { id, outcome } = reply;
        match (id.as_u64(), outcome) {
            (Some(id), answer) => Ok(self.answer(id, answer)),
            (None, Err(error)) if id.is_null() && error.code == code::TOO_MANY_SESSIONS => {
                Ok(Received::RetryLater(error.message))
            }
            // The bridge could not read the request that it answers with this error.
            (None, Err(error)) if id.is_null() => Err(Error::Rpc(error)),
            (None, _) => Ok(Received::Nothing),
        }
    }

    fn answer(&mut self, request: u64, answer: Result<JsonText, RpcError>) -> Received {
        let Some(request) = self.requests.remove(&request) else {
            return Received::Nothing; // The answer to a detach, or to a view that was dropped.
        };
        match (request.receiver, answer) {
            (Receiver::Caller(sender), answer) => {
                let _ = sender.send(answer.map_err(Error::Rpc));
                Received::Progress
            }
            (Receiver::View(id), Ok(result)) => {
                let bytes = result.as_str().len();
                self.handle(id, bytes, |view| view.answered(&result));
                Received::Progress
            }
            (Receiver::View(id), Err(error)) => self.open_refused(id, error),
        }
    }

    /// Handles the error with which the bridge answered an `execute` or `attach`. An accepted view
    /// survives two errors: -32005 (claude-api is unavailable), after which the client retries, and
    /// -32007 (the output at its offset is no longer kept), which becomes a gap. Any other error
    /// ends the view.
    fn open_refused(&mut self, id: ExecutionId, error: RpcError) -> Received {
        let accepted = self.views.get(&id).is_some_and(|view| view.accepted);
        if accepted && error.code == code::UNAVAILABLE {
            // The execution is accepted: retry until the bridge reaches claude-api again.
            return Received::RetryLater(error.message);
        }
        let kept = error.data["keptFrom"].as_u64();
        if let (true, code::OFFSET_NOT_KEPT, Some(kept)) = (accepted, error.code, kept) {
            let mut skipped = false;
            self.handle(id, SMALL_BYTES, |view| {
                let gap = Gap {
                    execution_id: id,
                    from: view.output.reached(),
                    to: kept,
                };
                let event = view.gap(gap)?;
                skipped = event.is_some();
                event.map(Some).ok_or(Error::Rpc(error))
            });
            if skipped {
                self.attach_again(id);
            }
            return Received::Progress;
        }
        self.handle(id, SMALL_BYTES, |_| Err(Error::Rpc(error)));
        Received::Progress
    }
}

#[cfg(test)]
mod tests;
