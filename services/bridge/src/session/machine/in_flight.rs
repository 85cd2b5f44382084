//! The calls of one session to claude-api that are in flight, and the queries that wait for memory.
//! Calls that act or begin a view start immediately, so a hanging claude-api does not delay a
//! cancel. Queries wait until there is room for their answers, so a client that does not read
//! cannot fill the memory. Does no I/O.

use std::collections::{HashMap, VecDeque};

use super::call::Call;
use super::open_requests::Token;

/// The most queries (status, list, events) that wait for memory in one session. At this limit the
/// session stops reading requests, because each waiting query costs memory, too.
const WAITING_QUERIES: usize = 1024;

/// The calls of one session that claude-api has not answered, with the memory reserved for their
/// answers. Also the queue of queries that wait until such memory is free.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// Calls without a reply, by request, each with the most bytes that its answer may have.
    open: HashMap<Token, usize>,
    /// The sum of the bytes in `open`.
    bytes: usize,
    /// The queries that wait for memory, oldest first.
    queries: VecDeque<(Token, Call)>,
}

/// Returns the most bytes that the answer to a call may have. A list and events may fill a whole
/// message. Any other answer is counted as one status of at most `status_bytes`.
fn answer_bytes(call: &Call, status_bytes: usize) -> usize {
    match call {
        Call::List(_) | Call::Events(_) => protocol::SERVER_MESSAGE_BYTES,
        _ => status_bytes,
    }
}

impl InFlight {
    /// Returns the number of calls that are in flight. Waiting queries do not count.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Returns the most bytes that the answers of all calls in flight may need together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether so many queries wait that the session must stop reading requests.
    pub(super) fn is_full(&self) -> bool {
        self.queries.len() >= WAITING_QUERIES
    }

    /// Records that a call starts now, and reserves the most bytes that its answer may need. `end`
    /// releases them.
    pub(super) fn begin(&mut self, token: Token, call: &Call, status_bytes: usize) {
        let bytes = answer_bytes(call, status_bytes);
        self.bytes += bytes - self.open.insert(token, bytes).unwrap_or_default();
    }

    /// Adds a query to the end of the queue, where it waits for memory.
    pub(super) fn queue(&mut self, token: Token, call: Call) {
        self.queries.push_back((token, call));
    }

    /// Returns the most bytes that the answer of the oldest waiting query may need, or `None` if no
    /// query waits.
    pub(super) fn next_query_bytes(&self, status_bytes: usize) -> Option<usize> {
        let (_, call) = self.queries.front()?;
        Some(answer_bytes(call, status_bytes))
    }

    /// Removes and returns the oldest waiting query, or returns `None` if no query waits.
    pub(super) fn take_query(&mut self) -> Option<(Token, Call)> {
        self.queries.pop_front()
    }

    /// Records that a call has ended, and releases the memory reserved for its answer. Does nothing
    /// for a call that is not in flight.
    pub(super) fn end(&mut self, token: Token) {
        self.bytes -= self.open.remove(&token).unwrap_or_default();
    }
}
