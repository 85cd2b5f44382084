//! The pending executes of a session, which claude-api has not answered yet, and the calls about
//! their executions, which wait for that answer. Pure.

use std::collections::HashMap;

use protocol::ExecutionId;
use protocol::rpc::OnSlow;

use super::call::Call;
use super::open_requests::Token;

/// The most executes of one session that claude-api has not answered. One more is refused. The
/// queue of claude-api is far shorter.
const EXECUTES: usize = 1024;
/// The most calls of one session that wait for the answer to an execute. At this limit the session
/// reads no further request.
const WAITERS: usize = 1024;

/// The part of an execute that the machine needs when claude-api answers it.
#[derive(Debug, Clone)]
pub struct PendingExecute {
    /// The number of the request.
    pub token: Token,
    /// The id of the execution.
    pub id: ExecutionId,
    /// Whether the bridge made the id, so that no other request can have used it.
    pub fresh: bool,
    /// Whether the view waits or skips output when its client does not keep up.
    pub on_slow: OnSlow,
    /// Whether the execution is cancelled if no client views it after the end of the session.
    pub cancel_on_disconnect: bool,
    /// Whether claude-api has accepted the execution, although the answer may still wait for an
    /// earlier request.
    pub accepted: bool,
}

/// The executes of one session that have no answer yet, oldest first, with the calls that wait for
/// them.
#[derive(Debug, Default)]
pub struct Pending {
    executes: Vec<PendingExecute>,
    /// The waiting calls, by the token of the execute that they wait for.
    waiters: HashMap<Token, Vec<(Token, Call)>>,
    waiting: usize,
}

impl Pending {
    /// Returns the limit of pending executes if it is reached, so that one more must be refused;
    /// otherwise `None`.
    #[must_use]
    pub fn reached_limit(&self) -> Option<usize> {
        (self.executes.len() >= EXECUTES).then_some(EXECUTES)
    }

    /// Adds an execute that is being handed to claude-api.
    pub fn add(&mut self, execute: PendingExecute) {
        self.executes.push(execute);
    }

    /// Returns the id of the oldest pending execute, if there is one.
    #[must_use]
    pub fn first(&self) -> Option<ExecutionId> {
        self.executes.first().map(|e| e.id)
    }

    /// Returns the pending executes of this id, oldest first. There may be several, because a
    /// client may repeat an execute.
    pub fn tokens_of(&self, id: ExecutionId) -> impl Iterator<Item = Token> + '_ {
        let executes = self.executes.iter().filter(move |e| e.id == id);
        executes.map(|e| e.token)
    }

    /// Holds the call `token` until the execute `execute` is answered. The execute must be the
    /// older request: a later one of the same id may itself wait for the call's view.
    pub fn wait(&mut self, execute: Token, token: Token, call: Call) {
        self.waiting += 1;
        self.waiters.entry(execute).or_default().push((token, call));
    }

    /// Whether so many calls wait that the session must not read more requests.
    #[must_use]
    pub fn has_too_many_waiters(&self) -> bool {
        self.waiting >= WAITERS
    }

    /// Records that claude-api has accepted this id. Returns the waiting calls that can start now,
    /// although the answer to the execute may still wait for an earlier request about its view.
    pub fn accepted(&mut self, id: ExecutionId) -> Vec<(Token, Call)> {
        let mut ready = Vec::new();
        for execute in self.executes.iter_mut().filter(|e| e.id == id) {
            execute.accepted = true;
            if let Some(waiters) = self.waiters.get_mut(&execute.token) {
                ready.extend(waiters.extract_if(.., |(_, call)| call.needs_no_answer()));
            }
        }
        self.waiting -= ready.len();
        ready.sort_by_key(|(token, _)| *token);
        ready
    }

    /// Whether claude-api has accepted an execute of this id that has no answer yet.
    #[must_use]
    pub fn is_accepted(&self, id: ExecutionId) -> bool {
        self.executes.iter().any(|e| e.id == id && e.accepted)
    }

    /// Removes an execute that is answered now. Returns it with the calls that waited for it, or
    /// `None` if it is not pending.
    pub fn answered(&mut self, token: Token) -> Option<(PendingExecute, Vec<(Token, Call)>)> {
        let index = self.executes.iter().position(|e| e.token == token)?;
        let execute = self.executes.remove(index);
        let waiters = self.waiters.remove(&token).unwrap_or_default();
        self.waiting -= waiters.len();
        Some((execute, waiters))
    }
}
