//! What one client has asked and sees: a pure state machine around which the actor does the I/O. Messages go in,
//! requests to send and events to deliver come out.
//!
//! ```text
//! opening --answer--> viewing --terminal statusUpdate--> gone
//!    \--error--> gone    ^ |
//!                        | v  connection lost
//!                     attaching again, at the offset reached
//! ```
//!
//! A view whose run does not read is detached once too many events wait for it, so that the
//! connection is always read and answers pings. The view attaches again, at the offset reached,
//! when its run has read the waiting events.

mod outbox;
mod view;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use protocol::ExecutionId;
use protocol::rpc::{OnSlow, RpcError, code, method};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::request::{self, Attach};
use crate::run::Item;
use crate::wire::Incoming;
use crate::{Error, Event, Verdict};
use outbox::{Outboxes, SMALL};
pub(crate) use view::View;

/// Who waits for the answer of a call.
pub(crate) type Reply = oneshot::Sender<Result<Box<RawValue>, Error>>;

enum Request {
    /// An execute or attach: the answer belongs to the view.
    Open(ExecutionId),
    /// A call of which somebody waits for the answer.
    Call(Reply),
}

impl Request {
    /// Whether nobody waits for the answer any more: then it must not have its effect later.
    fn is_abandoned(&self) -> bool {
        matches!(self, Self::Call(reply) if reply.is_closed())
    }
}

/// What the actor must know of a message.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// Progress: the bridge serves us.
    Progress,
    /// Nothing of importance.
    Nothing,
    /// The bridge cannot serve us now; come back later.
    ComeBack(String),
}

#[derive(Default)]
pub(crate) struct Book {
    views: HashMap<ExecutionId, View>,
    /// Unanswered requests with their text, in the order asked; sent again on a new connection.
    requests: BTreeMap<u64, (String, Request)>,
    last_id: u64,
    /// To be sent, with its id.
    out: VecDeque<(u64, String)>,
    events: Outboxes,
    raw: bool,
    /// The largest message that the bridge takes, in bytes; a larger request fails alone and is not
    /// sent.
    limit: Option<usize>,
}

impl Book {
    pub(crate) fn new(raw: bool) -> Self {
        Self {
            raw,
            ..Self::default()
        }
    }

    /// Sets the largest message that the bridge of the present connection takes, in bytes.
    pub(crate) fn set_limit(&mut self, bytes: usize) {
        self.limit = Some(bytes);
    }

    fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn ask(&mut self, method: &str, params: &serde_json::Value, request: Request) {
        let id = self.id();
        let text = request::encode(id, method, params);
        self.out.push_back((id, text.clone()));
        self.requests.insert(id, (text, request));
    }

    /// Opens a view with an execute or attach; an older view of the same execution ends.
    pub(crate) fn open(
        &mut self,
        id: ExecutionId,
        view: View,
        method: &str,
        params: &serde_json::Value,
    ) {
        self.drop_view(id);
        self.views.insert(id, view);
        self.ask(method, params, Request::Open(id));
    }

    pub(crate) fn call(&mut self, method: &str, params: &serde_json::Value, reply: Reply) {
        self.ask(method, params, Request::Call(reply));
    }

    /// The run is dropped: detach, unless a newer run views the same execution.
    pub(crate) fn forget(&mut self, id: ExecutionId, token: u64) {
        self.events.remove(token);
        if self.views.get(&id).is_some_and(|view| view.token == token) {
            self.drop_view(id);
            let request = self.id();
            self.out.push_back((request, request::detach(request, id)));
        }
    }

    fn drop_view(&mut self, id: ExecutionId) -> Option<View> {
        self.requests
            .retain(|_, (_, request)| !matches!(request, Request::Open(of) if *of == id));
        self.views.remove(&id)
    }

    /// The next request to send on the present connection.
    pub(crate) fn next_request(&mut self) -> Option<String> {
        while let Some((id, text)) = self.out.pop_front() {
            let request = self.requests.get(&id);
            if request.is_some_and(|(_, request)| request.is_abandoned()) {
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

    /// Fails one request of any kind.
    fn refuse(&mut self, request: u64, error: &Error) {
        match self.requests.remove(&request) {
            Some((_, Request::Call(reply))) => {
                let _ = reply.send(Err(error.clone()));
            }
            Some((_, Request::Open(id))) => self.take(id, SMALL, |_| Err(error.clone())),
            None => {}
        }
    }

    /// Fails the largest unanswered request: the bridge found a request too large and did not say
    /// which. False when no request is unanswered.
    pub(crate) fn refuse_largest(&mut self, error: &Error) -> bool {
        let requests = self.requests.iter();
        let largest = requests.max_by_key(|(_, (text, _))| text.len());
        let Some(id) = largest.map(|(id, _)| *id) else {
            return false;
        };
        self.refuse(id, error);
        true
    }

    /// Whether a connection is of no use at present.
    pub(crate) fn is_idle(&self) -> bool {
        let mut requests = self.requests.values();
        self.views.is_empty() && requests.all(|(_, request)| request.is_abandoned())
    }

    /// Whether events wait for their run to read.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Delivers the oldest event of a run that has room for it. Cancel-safe: an event stays the
    /// oldest until then.
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
                    Verdict::Verified => Verdict::Partial {
                        missing: view.skipped,
                    },
                    Verdict::Partial { missing } => Verdict::Partial {
                        missing: missing + view.skipped,
                    },
                    Verdict::Unknown => Verdict::Unknown,
                };
            }
        }
        self.events.push(view.token, &view.tx, item, bytes);
    }

    /// Sends an event to every run that reads, or whose outbox has room.
    fn emit_all(&mut self, event: &Event, bytes: usize) {
        for view in self.views.values() {
            if !view.detached && !self.events.is_full(view.token) {
                let item = Ok(event.clone());
                self.events.push(view.token, &view.tx, item, bytes);
            }
        }
    }

    /// Detaches the views of runs for which too much waits.
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
            let request = self.id();
            self.out.push_back((request, request::detach(request, id)));
        }
    }

    /// The connection is gone; the next try follows after the pause.
    pub(crate) fn lost(&mut self, why: &str, retry_in: Duration) {
        self.out.clear();
        let why = why.to_owned();
        self.emit_all(&Event::Lost { why, retry_in }, SMALL);
    }

    /// A new connection: everything unanswered is asked again as it was, and every accepted view attaches at the
    /// offset reached.
    pub(crate) fn connected(&mut self, greeting: &Utf8Bytes) {
        if self.raw {
            self.emit_all(&Event::Message(greeting.clone()), greeting.len());
        }
        // An attach made for the lost connection may be behind by now.
        let views = &self.views;
        self.requests.retain(|_, (_, request)| match request {
            Request::Open(id) => views.get(id).is_none_or(|v| !v.accepted),
            Request::Call(_) => !request.is_abandoned(),
        });
        let requests = self.requests.iter();
        self.out = requests
            .map(|(id, (text, _))| (*id, text.clone()))
            .collect();
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

    fn attach_again(&mut self, id: ExecutionId) {
        let Some(view) = self.views.get(&id) else {
            return;
        };
        let attach = Attach {
            id,
            offset: Some(view.assembly.reached()),
            on_slow: view.on_slow,
        };
        self.ask(method::ATTACH, &attach.params(), Request::Open(id));
    }

    /// Ends everything with this error.
    pub(crate) fn fail(&mut self, error: &Error) {
        for (_, (_, request)) in std::mem::take(&mut self.requests) {
            if let Request::Call(reply) = request {
                let _ = reply.send(Err(error.clone()));
            }
        }
        for (_, view) in self.views.drain() {
            self.events
                .push(view.token, &view.tx, Err(error.clone()), SMALL);
        }
        self.out.clear();
    }

    /// Takes a message.
    pub(crate) fn message(&mut self, text: &Utf8Bytes) -> Result<Heard, Error> {
        if self.raw {
            self.emit_all(&Event::Message(text.clone()), text.len());
        }
        let heard = self.understand(text);
        self.detach_slow();
        heard
    }

    fn understand(&mut self, text: &Utf8Bytes) -> Result<Heard, Error> {
        let bytes = text.len();
        match Incoming::parse(text).map_err(Error::Protocol)? {
            Incoming::Answer(id, answer) => return Ok(self.answer(id, answer)),
            Incoming::Refused(error) if error.code == code::TOO_MANY_SESSIONS => {
                return Ok(Heard::ComeBack(error.message));
            }
            Incoming::Refused(error) => return Err(Error::Rpc(error)),
            Incoming::Status(update) => {
                let id = update.status.execution_id;
                self.take_notification(id, bytes, |view| view.status(update));
            }
            Incoming::Output(id, offset, content) => {
                self.take_notification(id, bytes, |view| view.output(offset, content));
            }
            Incoming::Gap(id, from, to) => {
                self.take_notification(id, bytes, |view| view.gap(from, to))
            }
            Incoming::Notice(notice) => match notice.execution_id {
                Some(id) => self.take_notification(id, bytes, |_| Ok(Some(Event::Notice(notice)))),
                None => self.emit_all(&Event::Notice(notice), bytes),
            },
            Incoming::Connected(_) | Incoming::Other => return Ok(Heard::Nothing),
        }
        Ok(Heard::Progress)
    }

    /// Whether the bridge has not answered the request that opens this view: what comes is of an older one.
    fn is_opening(&self, id: ExecutionId) -> bool {
        let mut requests = self.requests.values();
        requests.any(|(_, request)| matches!(request, Request::Open(of) if *of == id))
    }

    /// Takes a notification as [`Self::take`] takes an answer; a detached view ignores it until its
    /// new attach.
    fn take_notification(
        &mut self,
        id: ExecutionId,
        bytes: usize,
        judge: impl FnOnce(&mut View) -> Result<Option<Event>, Error>,
    ) {
        if self.views.get(&id).is_some_and(|view| !view.detached) {
            self.take(id, bytes, judge);
        }
    }

    /// Passes a message to a view and the resulting item to its run; an end or an error ends the
    /// view. `bytes`: the size of the message.
    fn take(
        &mut self,
        id: ExecutionId,
        bytes: usize,
        judge: impl FnOnce(&mut View) -> Result<Option<Event>, Error>,
    ) {
        if self.is_opening(id) {
            return;
        }
        let Some(view) = self.views.get_mut(&id) else {
            return; // of a view that was dropped a moment ago
        };
        let item = match judge(view) {
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

    fn answer(&mut self, request: u64, answer: Result<Box<RawValue>, RpcError>) -> Heard {
        let Some((_, request)) = self.requests.remove(&request) else {
            return Heard::Nothing; // of a detach, or of what was dropped
        };
        match request {
            Request::Call(reply) => {
                let _ = reply.send(answer.map_err(Error::Rpc));
                Heard::Progress
            }
            Request::Open(id) => match answer {
                Ok(result) => {
                    let bytes = result.get().len();
                    self.take(id, bytes, |view| view.answered(&result));
                    Heard::Progress
                }
                Err(error) => self.open_refused(id, error),
            },
        }
    }

    fn open_refused(&mut self, id: ExecutionId, error: RpcError) -> Heard {
        let accepted = self.views.get(&id).is_some_and(|view| view.accepted);
        if accepted && error.code == code::UNAVAILABLE {
            // It is accepted: claude-api will know it when it is back.
            return Heard::ComeBack(error.message);
        }
        let kept = error.data["keptFrom"].as_u64();
        if let (true, code::OFFSET_NOT_KEPT, Some(kept)) = (accepted, error.code, kept) {
            let mut moved = false;
            self.take(id, SMALL, |view| {
                let event = view.gap(view.assembly.reached(), kept)?;
                moved = event.is_some();
                event.map(Some).ok_or(Error::Rpc(error))
            });
            if moved {
                self.attach_again(id);
            }
            return Heard::Progress;
        }
        self.take(id, SMALL, |_| Err(Error::Rpc(error)));
        Heard::Progress
    }
}

#[cfg(test)]
mod tests;
