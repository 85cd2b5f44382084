//! The calls of one session to claude-api that are in flight, and the queries that wait. Calls that
//! act or begin a view start immediately, so a claude-api that hangs delays no cancel. Queries wait
//! until there is room for their answers, so a client that does not read cannot fill the memory.
//! Pure.

use std::collections::{HashMap, VecDeque};

use super::call::Call;
use super::open_requests::Token;

/// The most queries (status, list, events) that wait in one session. At this limit the session
/// reads no further request.
const WAITING_QUERIES: usize = 1024;

/// The calls of one session that claude-api has not answered, and the queries that wait until there
/// is memory for their answers.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// Calls without a reply, each with the most bytes that its answer may have.
    open: HashMap<Token, usize>,
    bytes: usize,
    queries: VecDeque<(Token, Call)>,
}

/// Returns the most bytes that the answer to the client may have: a message for a list or events, a
/// status for any other call.
fn answer_bytes(call: &Call, status_bytes: usize) -> usize {
    match call {
        Call::List(_) | Call::Events(_) => protocol::SERVER_MESSAGE_BYTES,
        _ => status_bytes,
    }
}

impl InFlight {
    /// Returns the number of calls that claude-api has not answered.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Returns the most bytes that the answers of all calls in flight may need together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether so many queries wait that the session must not read more requests.
    pub(super) fn is_full(&self) -> bool {
        self.queries.len() >= WAITING_QUERIES
    }

    /// Records that a call starts, with the most bytes that its answer may need.
    pub(super) fn begin(&mut self, token: Token, call: &Call, status_bytes: usize) {
        let bytes = answer_bytes(call, status_bytes);
        self.bytes += bytes - self.open.insert(token, bytes).unwrap_or_default();
    }

    /// Adds a query to the end of the queue.
    pub(super) fn queue(&mut self, token: Token, call: Call) {
        self.queries.push_back((token, call));
    }

    /// Returns the most bytes that the answer of the first waiting query may need; `None` if none
    /// waits.
    pub(super) fn next_query_bytes(&self, status_bytes: usize) -> Option<usize> {
        let (_, call) = self.queries.front()?;
        Some(answer_bytes(call, status_bytes))
    }

    /// Removes and returns the first waiting query.
    pub(super) fn take_query(&mut self) -> Option<(Token, Call)> {
        self.queries.pop_front()
    }

    /// Records that claude-api has answered a call, which frees the memory for its answer.
    pub(super) fn end(&mut self, token: Token) {
        self.bytes -= self.open.remove(&token).unwrap_or_default();
    }
}
