//! Applies the outcomes of requests: each becomes the answer, and some begin or end a view after
//! it.

use protocol::Status;
use protocol::message::{Accepted, Empty, Notification, RejectedExecute};
use protocol::rpc::{RpcError, code, method};
use serde_json::json;

use super::Machine;
use super::action::Action;
use super::call::{Call, CallReply};
use super::open_requests::Token;
use super::outcome::Outcome;
use super::view_order::ViewChange;
use crate::session::wire::answer::{Answer, shorten_error};
use crate::viewer::ViewStart;
use crate::viewer::notices::notice;

/// The most bytes of a status in an answer while the client has reached the limit of unread
/// answers.
pub(super) const SHORT_STATUS_BYTES: usize = 4 * 1024;

/// The longest error in the message about a refused notification, in bytes.
const NOTICE_BYTES: usize = 64 * 1024;

impl Machine {
    /// Turns the outcome of a request into its answer, and updates the session's executions and
    /// views. No earlier request about the same view may be open.
    pub(super) fn apply(&mut self, token: Token, outcome: Outcome) {
        match outcome {
            Outcome::Executed(result) => self.apply_executed(token, *result),
            Outcome::Called(result) => self.apply_called(token, result),
            Outcome::Detached(id) => {
                let changes = vec![ViewChange::End(token, id)];
                self.answer(token, Answer::Empty(Empty {}), changes);
            }
        }
    }

    fn apply_executed(&mut self, token: Token, result: Result<Status, RpcError>) {
        let Some((execute, waiters)) = self.pending.answered(token) else {
            return;
        };
        let mut never_accepted = false;
        match result {
            Ok(status) => {
                self.executions
                    .remember(&status, execute.cancel_on_disconnect);
                let start = ViewStart {
                    status: status.clone(),
                    offset: None,
                    on_slow: execute.on_slow,
                };
                let changes = vec![ViewChange::Begin(token, Box::new(start))];
                self.held_views += 1;
                self.answer(token, Answer::Status(Box::new(status)), changes);
            }
            Err(error) => {
                never_accepted = execute.fresh && error.data["accepted"] == false;
                if execute.cancel_on_disconnect && error.data["accepted"] == "unknown" {
                    self.executions.note_maybe_accepted(execute.id);
                }
                self.refuse(token, Some(method::EXECUTE), &error);
            }
        }
        for (token, call) in waiters {
            if never_accepted && !matches!(call, Call::Detach(_)) {
                let error = RpcError::new(
                    code::NO_SUCH_EXECUTION,
                    "not_accepted",
                    "the execute of this execution was not accepted",
                );
                let error = error.with("executionId", execute.id.to_string());
                self.on_outcome(token, Outcome::Called(Err(error)));
            } else {
                self.dispatch(token, call);
            }
        }
    }

    fn apply_called(&mut self, token: Token, result: Result<CallReply, RpcError>) {
        match result {
            Err(error) => self.refuse(token, None, &error),
            Ok(CallReply::NothingLive(call)) => {
                self.submit_about(token, None, |target| call.about(target));
            }
            Ok(CallReply::Input(accepted)) => {
                let answer = Answer::Accepted(Accepted { accepted });
                self.answer(token, answer, Vec::new());
            }
            Ok(CallReply::Events(part)) => self.answer(token, Answer::Events(part), Vec::new()),
            Ok(CallReply::Page(page)) => self.answer(token, Answer::Page(page), Vec::new()),
            Ok(CallReply::Status(status)) => {
                if status.state.is_terminal() {
                    self.executions.forget(status.execution_id);
                }
                self.answer(token, Answer::Status(status), Vec::new());
            }
            Ok(CallReply::Attach(status, attach)) => {
                self.executions.remember(&status, false);
                let start = ViewStart {
                    status: (*status).clone(),
                    offset: attach.offset,
                    on_slow: attach.on_slow,
                };
                let changes = vec![ViewChange::Begin(token, Box::new(start))];
                self.held_views += 1;
                self.answer(token, Answer::Status(status), changes);
            }
        }
    }

    /// Sends the answer to a request, or holds it until its batch is complete. The `changes` of
    /// views take effect directly after it.
    pub(super) fn answer(&mut self, token: Token, answer: Answer, changes: Vec<ViewChange>) {
        let status_bytes = if self.unsent_bytes + self.pledged_bytes() < self.bounds.session_bytes {
            self.bounds.status_bytes
        } else {
            // Calls that act are answered even when the limit is reached.
            self.bounds.status_bytes.min(SHORT_STATUS_BYTES)
        };
        let ready = self
            .open_requests
            .answer(token, Ok(answer), changes, status_bytes);
        self.actions.extend(ready.message.map(Action::Send));
        self.change_views(ready.changes);
        let next = self.inputs.answered(token);
        self.start(next);
    }

    /// Answers a request with an error. `method`: its method, if known. A refused notification has
    /// no answer, so it is reported in a separate message.
    pub(super) fn refuse(&mut self, token: Token, method: Option<&str>, error: &RpcError) {
        self.note_refused(error);
        if self.open_requests.is_notification(token) {
            self.report_refused_notification(method, error);
        }
        let ready = self.open_requests.answer(token, Err(error), Vec::new(), 0);
        self.actions.extend(ready.message.map(Action::Send));
        self.change_views(ready.changes);
        let next = self.inputs.answered(token);
        self.start(next);
    }

    /// Tells the client about a refused notification, which has no answer, in a separate message: a
    /// `statusUpdate` for an execute, a notice for any other request.
    fn report_refused_notification(&mut self, method: Option<&str>, error: &RpcError) {
        let error = shorten_error(error, NOTICE_BYTES);
        let text = if method == Some(method::EXECUTE) {
            RejectedExecute::new(error).to_message()
        } else {
            let data = json!({ "error": error });
            notice(None, "rejected", error.message, data).to_message()
        };
        self.actions.push(Action::Send(text));
    }

    fn change_views(&mut self, changes: Vec<ViewChange>) {
        for change in changes {
            let (token, id) = (change.request(), change.execution());
            self.held_views -= usize::from(matches!(change, ViewChange::Begin(..)));
            let last = self.last_changes.entry(id).or_insert(token);
            if *last > token {
                // A batch held this change back, and a later request has changed the view since.
                continue;
            }
            *last = token;
            let old = self.views.remove(&id);
            self.actions.extend(old.map(Action::Unview));
            if let ViewChange::Begin(_, start) = change {
                self.last_view += 1;
                self.views.insert(id, self.last_view);
                self.actions.push(Action::View(self.last_view, start));
            }
        }
        if !self.open_requests.has_batches() {
            self.last_changes.clear();
        }
    }
}
