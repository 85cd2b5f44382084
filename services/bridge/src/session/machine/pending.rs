//! The executes of a session that claude-api has not answered yet, and the calls that wait for one
//! of these answers because they are about the same execution. Does no I/O.

use std::collections::HashMap;

use protocol::ExecutionId;
use protocol::rpc::OnSlow;

use super::call::Call;
use super::open_requests::Token;

/// The most unanswered executes in one session. The next one is refused with -32004 (queue full,
/// `too_many_unanswered`). The value only bounds memory, because the queue of claude-api is far
/// shorter.
const EXECUTES: usize = 1024;
/// The most calls in one session that wait for the answer to an execute. At this limit the session
/// stops reading requests, so a client cannot fill the memory with them.
const WAITERS: usize = 1024;

/// The data of an unanswered execute that the machine needs when claude-api answers. The prompt is
/// not part of it, because the executor has that.
#[derive(Debug, Clone)]
pub struct PendingExecute {
    /// The token of the execute request.
    pub token: Token,
    /// The id of the execution, chosen by the client or made by the bridge.
    pub id: ExecutionId,
    /// Whether the bridge made the id. Then no other request can have used it, so after a refusal
    /// claude-api has no such execution.
    pub fresh: bool,
    /// Whether the view waits or skips output when the client reads more slowly than the output
    /// arrives.
    pub on_slow: OnSlow,
    /// Whether the execution is cancelled when no client views it after the end of the session
    /// (`onDisconnect: "cancel"`).
    pub cancel_on_disconnect: bool,
    /// Whether claude-api has accepted the execution. The client may not know it yet, because the
    /// answer can wait for an earlier request.
    pub accepted: bool,
}

/// The unanswered executes of one session, oldest first, with the calls that wait for their
/// answers.
#[derive(Debug, Default)]
pub struct Pending {
    executes: Vec<PendingExecute>,
    /// The waiting calls, by the token of the execute that they wait for, oldest first.
    waiters: HashMap<Token, Vec<(Token, Call)>>,
    /// The number of waiting calls for all executes together.
    waiting: usize,
}

impl Pending {
    /// Returns the limit of unanswered executes if it is reached. Then the next execute must be
    /// refused. `None` means that one more may be added.
    #[must_use]
    pub fn reached_limit(&self) -> Option<usize> {
        (self.executes.len() >= EXECUTES).then_some(EXECUTES)
    }

    /// Adds an execute that is handed to claude-api now. It stays pending until `answered` removes
    /// it.
    pub fn add(&mut self, execute: PendingExecute) {
        self.executes.push(execute);
    }

    /// Returns the execution id of the oldest unanswered execute, or `None` if all are answered.
    #[must_use]
    pub fn first(&self) -> Option<ExecutionId> {
        self.executes.first().map(|e| e.id)
    }

    /// Returns the tokens of all unanswered executes with this execution id, oldest first. There
    /// may be several, because a client may send an execute twice.
    pub fn tokens_of(&self, id: ExecutionId) -> impl Iterator<Item = Token> + '_ {
        let executes = self.executes.iter().filter(move |e| e.id == id);
        executes.map(|e| e.token)
    }

    /// Keeps the call of request `token` until the execute request `execute` is answered. The
    /// execute must be the older request. A younger one with the same execution id may itself wait
    /// for this call, and then neither would continue.
    pub fn wait(&mut self, execute: Token, token: Token, call: Call) {
        self.waiting += 1;
        self.waiters.entry(execute).or_default().push((token, call));
    }

    /// Returns whether so many calls wait that the session must stop reading requests.
    #[must_use]
    pub fn has_too_many_waiters(&self) -> bool {
        self.waiting >= WAITERS
    }

    /// Records that claude-api has accepted this execution. Returns the waiting calls that can
    /// start now, although the client may not have the answer yet. They are calls that change no
    /// view, such as a cancel or a status.
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

    /// Returns whether claude-api has accepted an execute with this execution id that the client
    /// has no answer to yet.
    #[must_use]
    pub fn is_accepted(&self, id: ExecutionId) -> bool {
        self.executes.iter().any(|e| e.id == id && e.accepted)
    }

    /// Removes an execute that is answered now. Returns it with the calls that waited for it, or
    /// `None` if no pending execute has this token.
    pub fn answered(&mut self, token: Token) -> Option<(PendingExecute, Vec<(Token, Call)>)> {
        let index = self.executes.iter().position(|e| e.token == token)?;
        let execute = self.executes.remove(index);
        let waiters = self.waiters.remove(&token).unwrap_or_default();
        self.waiting -= waiters.len();
        Some((execute, waiters))
    }
}
