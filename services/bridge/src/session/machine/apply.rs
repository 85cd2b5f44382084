//! From what came for a request to its answer, and to what begins or ends behind it.

use protocol::Status;
use protocol::rpc::{RpcError, code, method, notification};
use serde_json::json;

use super::{After, Came, Machine, SHORT_STATUS_BYTES};
use crate::session::action::{Action, Call, Outcome};
use crate::session::replies::{Answer, Token, cut};
use crate::viewer::{Start, encode};

/// The longest error in a notification, in bytes.
const NOTICE_BYTES: usize = 64 * 1024;

impl Machine {
    pub(super) fn executed(&mut self, token: Token, result: Result<Status, RpcError>) {
        let Some((execute, waiters)) = self.pending.answered(token) else {
            return;
        };
        let mut never_accepted = false;
        match result {
            Ok(status) => {
                self.known.remember(&status, execute.cancel_on_disconnect);
                let start = Start {
                    status: status.clone(),
                    offset: None,
                    on_slow: execute.on_slow,
                };
                let after = vec![After::View(token, Box::new(start))];
                self.held += 1;
                self.answer(token, Answer::Status(Box::new(status)), after);
            }
            Err(error) => {
                never_accepted = execute.fresh && error.data["accepted"] == false;
                if execute.cancel_on_disconnect && error.data["accepted"] == "unknown" {
                    self.known.doubt(execute.id);
                }
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
                let error = error.with("executionId", execute.id.to_string());
                self.arrived(token, Came::Called(Err(error)));
            } else {
                self.call(token, call);
            }
        }
    }

    pub(super) fn called(&mut self, token: Token, result: Result<Outcome, RpcError>) {
        match result {
            Err(error) => self.refuse(token, None, &error),
            Ok(Outcome::NothingLive(call)) => {
                self.ask_about(token, None, |target| call.about(target));
            }
            Ok(Outcome::Input(accepted)) => {
                let answer = json!({ "accepted": accepted });
                self.answer(token, Answer::Value(answer), Vec::new());
            }
            Ok(Outcome::Events(part)) => self.answer(token, Answer::Events(part), Vec::new()),
            Ok(Outcome::Page(page)) => self.answer(token, Answer::Page(page), Vec::new()),
            Ok(Outcome::Status(status)) => {
                if status.state.is_terminal() {
                    self.known.forget(status.execution_id);
                }
                self.answer(token, Answer::Status(status), Vec::new());
            }
            Ok(Outcome::Attach(status, attach)) => {
                self.known.remember(&status, false);
                let start = Start {
                    status: (*status).clone(),
                    offset: attach.offset,
                    on_slow: attach.on_slow.unwrap_or_default(),
                };
                let after = vec![After::View(token, Box::new(start))];
                self.held += 1;
                self.answer(token, Answer::Status(status), after);
            }
        }
    }

    pub(super) fn answer(&mut self, token: Token, answer: Answer, after: Vec<After>) {
        let status_bytes = if self.unsent + self.pledged_bytes() < self.bounds.session_bytes {
            self.bounds.status_bytes
        } else {
            // Calls that act are answered even when the limit is reached.
            self.bounds.status_bytes.min(SHORT_STATUS_BYTES)
        };
        let ready = self.replies.answer(token, Ok(answer), after, status_bytes);
        self.actions.extend(ready.message.map(Action::Send));
        self.begin(ready.after);
        let next = self.inputs.answered(token);
        self.push_call(next);
    }

    pub(super) fn refuse(&mut self, token: Token, name: Option<&str>, error: &RpcError) {
        self.note_refused(error);
        if self.replies.is_notification(token) {
            self.refuse_notification(name, error);
        }
        let ready = self.replies.answer(token, Err(error), Vec::new(), 0);
        self.actions.extend(ready.message.map(Action::Send));
        self.begin(ready.after);
        let next = self.inputs.answered(token);
        self.push_call(next);
    }

    /// A notification has no answer; nobody waits for nothing all the same.
    fn refuse_notification(&mut self, name: Option<&str>, error: &RpcError) {
        let error = &cut(error, NOTICE_BYTES);
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
            let (token, id) = match &after {
                After::Unview(token, id) => (*token, *id),
                After::View(token, start) => (*token, start.status.execution_id),
            };
            self.held -= usize::from(matches!(after, After::View(..)));
            let latest = self.latest.entry(id).or_insert(token);
            if *latest > token {
                // It was held by a batch, and a later request has had its say.
                continue;
            }
            *latest = token;
            let old = self.views.remove(&id);
            self.actions.extend(old.map(Action::Unview));
            if let After::View(_, start) = after {
                self.next_view += 1;
                self.views.insert(id, self.next_view);
                self.actions.push(Action::View(self.next_view, start));
            }
        }
        if !self.replies.has_batches() {
            self.latest.clear();
        }
    }
}
