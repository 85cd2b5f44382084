//! The requests of one session that are not answered yet. The answers of a JSON-RPC batch are held
//! until all of them are ready, because they are sent as one message. Does no I/O.

use std::collections::HashMap;

use protocol::rpc::RpcError;

use crate::session::wire::answer::{Answer, encode};

/// The bridge's own number for a request, unique in its session. The client's `id` does not
/// suffice, because it may be missing or used twice. A later request has a higher number.
pub type Token = u64;

/// One request that is not answered yet.
#[derive(Debug)]
struct OpenRequest {
    /// The client's `id` as JSON text. `None` for a notification, which gets no answer.
    id: Option<String>,
    /// The number of the batch to which the request belongs. `None` for a single request.
    batch: Option<u64>,
}

/// A batch of which not all requests are answered yet.
#[derive(Debug)]
struct Batch<T> {
    /// The number of requests in the batch.
    size: usize,
    /// The number of its requests that are not answered yet.
    open: usize,
    /// The finished answers as JSON text. Notifications have none.
    answers: Vec<String>,
    /// The changes of views that take effect after the answer to the batch.
    changes: Vec<T>,
}

/// The message that an answer makes ready to be sent, and the changes of views that follow it. Both
/// are empty while other answers of the batch are missing.
#[derive(Debug, PartialEq, Eq)]
pub struct Ready<T> {
    /// The JSON text of one answer or of a whole batch. `None` if the request is a notification, or
    /// if its batch is not complete.
    pub message: Option<String>,
    /// The changes that take effect directly after the message, in the order of the answers.
    pub changes: Vec<T>,
}

/// The unanswered requests of one session, and the answers that wait for the rest of their batch.
/// `T` is a change that takes effect directly after an answer, such as the start of a view.
#[derive(Debug)]
pub struct OpenRequests<T> {
    /// The last number given to a request or a batch.
    next: u64,
    requests: HashMap<Token, OpenRequest>,
    /// The batches that are not completely answered, by number.
    batches: HashMap<u64, Batch<T>>,
    /// The bytes of finished answers that wait for the rest of their batch.
    held: usize,
}

impl<T> Default for OpenRequests<T> {
    fn default() -> Self {
        Self {
            next: 0,
            requests: HashMap::new(),
            batches: HashMap::new(),
            held: 0,
        }
    }
}

impl<T> OpenRequests<T> {
    /// Returns the bytes of finished answers that wait for the rest of their batch. They count as
    /// memory that the client has not read.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held
    }

    /// Returns the number of requests that are not answered yet, notifications included.
    #[must_use]
    pub fn open(&self) -> usize {
        self.requests.len()
    }

    /// Returns whether a batch still waits for at least one of its answers.
    #[must_use]
    pub fn has_batches(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Opens a batch of `size` requests, and returns its number, with which each of them must be
    /// added. Its answers are held until all `size` requests are answered.
    pub fn batch(&mut self, size: usize) -> u64 {
        self.next += 1;
        let batch = Batch {
            size,
            open: size,
            answers: Vec::new(),
            changes: Vec::new(),
        };
        self.batches.insert(self.next, batch);
        self.next
    }

    /// Adds a request, and returns its token. `id` is the client's id as JSON text, or `None` for a
    /// notification. `batch` is the number of its batch, or `None` for a single request.
    pub fn request(&mut self, id: Option<String>, batch: Option<u64>) -> Token {
        self.next += 1;
        self.requests.insert(self.next, OpenRequest { id, batch });
        self.next
    }

    /// Returns whether this request is a notification, which gets no answer. Also true for a token
    /// that is unknown or already answered.
    #[must_use]
    pub fn is_notification(&self, token: Token) -> bool {
        let request = self.requests.get(&token);
        request.is_none_or(|request| request.id.is_none())
    }

    /// Encodes the answer to a request, and returns what can be sent now. Answers and changes of a
    /// batch are held until its last answer. Each answer of a batch is shortened to an equal part
    /// of the longest allowed message. A notification gets no answer, and an unknown token gets an
    /// empty result.
    ///
    /// `status_bytes` is the most bytes of a status object in the answer.
    pub fn answer(
        &mut self,
        token: Token,
        answer: Result<Answer, &RpcError>,
        changes: Vec<T>,
        status_bytes: usize,
    ) -> Ready<T> {
        let nothing = || Ready {
            message: None,
            changes: Vec::new(),
        };
        let Some(OpenRequest { id, batch }) = self.requests.remove(&token) else {
            return nothing();
        };
        let size = batch
            .and_then(|b| self.batches.get(&b))
            .map_or(1, |b| b.size);
        // Each answer has a comma, and the batch its brackets.
        let part = (protocol::SERVER_MESSAGE_BYTES - 2) / size.max(1) - 1;
        let text = id.map(|id| encode(&id, answer, status_bytes, part));
        let Some(number) = batch else {
            return Ready {
                message: text,
                changes,
            };
        };
        let Some(batch) = self.batches.get_mut(&number) else {
            return nothing();
        };
        batch.open -= 1;
        self.held += text.as_ref().map_or(0, String::len);
        batch.answers.extend(text);
        batch.changes.extend(changes);
        if batch.open > 0 {
            return nothing();
        }
        match self.batches.remove(&number) {
            Some(batch) => {
                self.held -= batch.answers.iter().map(String::len).sum::<usize>();
                Ready {
                    // A batch of notifications has no answer (JSON-RPC 2.0, section 6).
                    message: (!batch.answers.is_empty())
                        .then(|| format!("[{}]", batch.answers.join(","))),
                    changes: batch.changes,
                }
            }
            None => nothing(),
        }
    }
}

#[cfg(test)]
mod tests;
