//! Turns the outcomes of requests into answers to the client. Some of them also begin or end a
//! view, directly after the answer.

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

/// The most bytes of a status in an answer once the client has reached its limit of unread answers.
/// Calls that act must still be answered then, so their answers become short instead.
pub(super) const SHORT_STATUS_BYTES: usize = 4 * 1024;

/// The most bytes of the error in the message about a refused notification. A longer error is
/// shortened to this length.
const NOTICE_BYTES: usize = 64 * 1024;

impl Machine {
    /// Turns the outcome of a request into its answer, and updates the session's live executions
    /// and views. The caller ensures that no earlier request about the same view is still open.
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

    /// Answers an execute. If claude-api accepted it, a view of the execution begins. The calls
    /// that waited for it then start. They are refused if the bridge made the id and claude-api
    /// certainly did not accept the execute, because then the execution does not exist.
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

    /// Answers a request with the result of its call to claude-api, and updates the session's live
    /// executions. After an attach, a view of the execution begins.
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
            Ok(CallReply::Share(share)) => self.answer(token, Answer::Share(share), Vec::new()),
            Ok(CallReply::Answered(answered)) => {
                self.answer(token, Answer::Answered(answered), Vec::new());
            }
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

    /// Answers a request with a result. In a batch, the answer is held until all answers of the
    /// batch are ready. The changes of views take effect directly after the message. The next
    /// waiting input then starts if this request was an input.
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

    /// Answers a request with an error, and counts it for `/metrics`. `method` is the request's
    /// method, or `None` if it is not known. A notification gets no answer, so its error is
    /// reported in a separate message.
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

    /// Sends the client a separate message about a refused notification, because a notification has
    /// no answer. For an execute it is a `statusUpdate`, and for any other request a notice of the
    /// kind `rejected`.
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

    /// Ends and begins views in the order given. Skips a change that is older than the latest one
    /// of the same execution. Must be called after the message with the answers is queued.
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
