//! What one client has asked and sees: a pure state machine around which the actor does the I/O. Messages go in,
//! requests to send and events to deliver come out.
//!
//! ```text
//! opening --answer--> viewing --terminal statusUpdate--> gone
//!    \--error--> gone    ^ |
//!                        | v  connection lost
//!                     attaching again, at the offset reached
//! ```

mod view;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use protocol::ExecutionId;
use protocol::rpc::{RpcError, code, method};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::request::{self, Attach};
use crate::run::Item;
use crate::wire::Incoming;
use crate::{Error, Event};
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
    events: VecDeque<(mpsc::Sender<Item>, Item)>,
    raw: bool,
}

impl Book {
    pub(crate) fn new(raw: bool) -> Self {
        Self {
            raw,
            ..Self::default()
        }
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
            if request.is_none_or(|(_, request)| !request.is_abandoned()) {
                return Some(text);
            }
            self.requests.remove(&id);
        }
        None
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

    /// Delivers the oldest event, waiting for room. Cancel-safe: it stays the oldest until there is room.
    pub(crate) async fn deliver(&mut self) {
        let Some((tx, _)) = self.events.front() else {
            return;
        };
        let permit = tx.clone().reserve_owned().await;
        if let (Ok(permit), Some((_, item))) = (permit, self.events.pop_front()) {
            permit.send(item);
        }
    }

    fn emit(&mut self, id: ExecutionId, item: Item) {
        if let Some(view) = self.views.get(&id) {
            self.events.push_back((view.tx.clone(), item));
        }
    }

    fn emit_all(&mut self, event: &Event) {
        for view in self.views.values() {
            self.events.push_back((view.tx.clone(), Ok(event.clone())));
        }
    }

    /// The connection is gone; the next try follows after the pause.
    pub(crate) fn lost(&mut self, why: &str, retry_in: Duration) {
        self.out.clear();
        let why = why.to_owned();
        self.emit_all(&Event::Lost { why, retry_in });
    }

    /// A new connection: everything unanswered is asked again as it was, and every accepted view attaches at the
    /// offset reached.
    pub(crate) fn connected(&mut self, greeting: &Utf8Bytes) {
        if self.raw {
            self.emit_all(&Event::Message(greeting.clone()));
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
            .filter(|(_, v)| v.accepted)
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
            self.events.push_back((view.tx, Err(error.clone())));
        }
        self.out.clear();
    }

    /// Takes a message.
    pub(crate) fn message(&mut self, text: &Utf8Bytes) -> Result<Heard, Error> {
        if self.raw {
            self.emit_all(&Event::Message(text.clone()));
        }
        match Incoming::parse(text).map_err(Error::Protocol)? {
            Incoming::Answer(id, answer) => return Ok(self.answer(id, answer)),
            Incoming::Refused(error) if error.code == code::TOO_MANY_SESSIONS => {
                return Ok(Heard::ComeBack(error.message));
            }
            Incoming::Refused(error) => return Err(Error::Rpc(error)),
            Incoming::Status(update) => {
                let id = update.status.execution_id;
                self.take(id, |view| view.status(update));
            }
            Incoming::Output(id, offset, bytes) => self.take(id, |view| view.output(offset, bytes)),
            Incoming::Gap(id, from, to) => self.take(id, |view| view.gap(from, to)),
            Incoming::Notice(notice) => match notice.execution_id {
                Some(id) => self.take(id, |_| Ok(Some(Event::Notice(notice)))),
                None => self.emit_all(&Event::Notice(notice)),
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

    /// Lets a view judge; what it says goes to its run, and an end or an error ends the view.
    fn take(
        &mut self,
        id: ExecutionId,
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
        self.emit(id, item);
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
                    self.take(id, |view| view.answered(&result));
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
            self.take(id, |view| {
                let event = view.gap(view.assembly.reached(), kept)?;
                moved = event.is_some();
                event.map(Some).ok_or(Error::Rpc(error))
            });
            if moved {
                self.attach_again(id);
            }
            return Heard::Progress;
        }
        self.take(id, |_| Err(Error::Rpc(error)));
        Heard::Progress
    }
}

#[cfg(test)]
mod tests;
