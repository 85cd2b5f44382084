//! The requests that are not answered yet: single ones, the entries of a batch, notifications. The
//! answers of a batch are held until all are there. Pure.

use std::collections::HashMap;

use protocol::rpc::RpcError;

use crate::session::wire::answer::{Answer, encode};

/// Names one request until it is answered.
pub type Token = u64;

#[derive(Debug)]
struct Waiting {
    /// As JSON.
    id: Option<String>,
    batch: Option<u64>,
}

#[derive(Debug)]
struct Batch<T> {
    size: usize,
    open: usize,
    answers: Vec<String>,
    changes: Vec<T>,
}

/// A message that is ready to be sent, and the changes behind it.
#[derive(Debug, PartialEq, Eq)]
pub struct Ready<T> {
    /// The message to send, if any.
    pub message: Option<String>,
    /// The changes that take effect behind it.
    pub changes: Vec<T>,
}

/// The unanswered requests of one session. `T`: a change that takes effect behind an answer.
#[derive(Debug)]
pub struct OpenRequests<T> {
    next: u64,
    waiting: HashMap<Token, Waiting>,
    batches: HashMap<u64, Batch<T>>,
    /// Bytes of answers that wait for the others of their batch.
    held: usize,
}

impl<T> Default for OpenRequests<T> {
    fn default() -> Self {
        Self {
            next: 0,
            waiting: HashMap::new(),
            batches: HashMap::new(),
            held: 0,
        }
    }
}

impl<T> OpenRequests<T> {
    /// Bytes of answers that wait for the others of their batch.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held
    }

    /// Requests that are not answered yet.
    #[must_use]
    pub fn open(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a batch waits for its last answer.
    #[must_use]
    pub fn has_batches(&self) -> bool {
        !self.batches.is_empty()
    }

    /// A batch of this many entries begins.
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

    /// A request begins; without an id it is a notification.
    pub fn request(&mut self, id: Option<String>, batch: Option<u64>) -> Token {
        self.next += 1;
        self.waiting.insert(self.next, Waiting { id, batch });
        self.next
    }

    /// Whether nobody waits for this one's answer.
    #[must_use]
    pub fn is_notification(&self, token: Token) -> bool {
        self.waiting.get(&token).is_none_or(|w| w.id.is_none())
    }

    /// Takes an answer. In a batch everything waits for the last one, and each answer has at most
    /// its part of a message. `status_bytes`: the most bytes of a status object.
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
        let Some(Waiting { id, batch }) = self.waiting.remove(&token) else {
            return nothing();
        };
        let size = batch
            .and_then(|b| self.batches.get(&b))
            .map_or(1, |b| b.size);
        // A comma each, and the brackets.
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
                    // Only notifications: nothing at all is sent (JSON-RPC 2.0, section 6).
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
mod tests {
    use jiff::Timestamp;
    use protocol::{ExecutionId, Status};
    use serde_json::Value;

    use super::*;
    use crate::session::wire::events_part::EventsPart;
    use crate::session::wire::list_page::ListPage;

    const STATUS_BYTES: usize = 64 * 1024;

    fn value(n: u64) -> Result<Answer, &'static RpcError> {
        Ok(Answer::Value(n.into()))
    }

    #[test]
    fn a_batch_is_sent_when_all_are_answered_and_what_begins_comes_after_it() {
        let mut requests = OpenRequests::default();
        let batch = Some(requests.batch(3));
        let a = requests.request(Some(r#""a""#.into()), batch);
        let quiet = requests.request(None, batch);
        let b = requests.request(Some("2".into()), batch);
        assert!(requests.is_notification(quiet) && !requests.is_notification(a));
        assert_eq!(
            requests
                .answer(b, value(1), vec!["view b"], STATUS_BYTES)
                .message,
            None
        );
        assert_eq!(
            requests
                .answer(quiet, value(0), vec!["view q"], STATUS_BYTES)
                .message,
            None
        );
        let ready = requests.answer(a, value(2), vec![], STATUS_BYTES);
        let array: Value = serde_json::from_str(&ready.message.unwrap()).unwrap();
        assert_eq!(array[0]["id"], 2);
        assert_eq!(array[1]["id"], "a");
        assert_eq!(ready.changes, ["view b", "view q"]);
        assert_eq!(requests.open(), 0);
        assert!(requests.batches.is_empty());
    }

    #[test]
    fn notifications_alone_give_no_message() {
        let mut requests = OpenRequests::<()>::default();
        let batch = Some(requests.batch(1));
        let token = requests.request(None, batch);
        assert_eq!(
            requests
                .answer(token, value(1), vec![], STATUS_BYTES)
                .message,
            None
        );
    }

    #[test]
    fn fifty_big_statuses_fit_one_message() {
        let mut requests = OpenRequests::<()>::default();
        let batch = Some(requests.batch(50));
        let mut status = Status::queued(ExecutionId::random(), Timestamp::UNIX_EPOCH, "w".into());
        status.stderr_tail = "\u{1}".repeat(16 * 1024);
        let metadata = (0..4).map(|n| (n.to_string(), "\u{1}".repeat(1000)));
        status.metadata = metadata.collect();
        status.model = Some("\u{1}".repeat(256));
        status.activity = Some("\u{1}".repeat(256));
        status.error = Some(protocol::status::ErrorInfo {
            code: "x".into(),
            message: "\u{1}".repeat(1000),
        });
        let mut message = None;
        for n in 0..50 {
            let token = requests.request(Some(n.to_string()), batch);
            let answer = Ok(Answer::Status(Box::new(status.clone())));
            message = requests.answer(token, answer, vec![], STATUS_BYTES).message;
        }
        assert!(message.unwrap().len() <= protocol::SERVER_MESSAGE_BYTES);
    }
    /// Field case C9, for all kinds of answers: the longest batch, the longest ids.
    #[test]
    fn no_answer_and_no_batch_is_longer_than_a_message() {
        let longest = 64;
        let id = |n: usize| format!("\"{n:0>1022}\"");
        let mut status = Status::queued(ExecutionId::random(), Timestamp::UNIX_EPOCH, "w".into());
        status.stderr_tail = "\u{1}".repeat(16 * 1024);
        status.metadata = (0..4)
            .map(|n| (n.to_string(), "\u{1}".repeat(1000)))
            .collect();
        let json = String::from_utf8(status.to_json(64 * 1024)).unwrap();
        let error = RpcError::new(-32603, "internal", "\u{1}".repeat(100_000))
            .with("executionId", status.execution_id.to_string())
            .with("more", "x".repeat(100_000));
        let page = || {
            Box::new(ListPage {
                executions: vec![(status.execution_id, json.clone()); 20],
                newest: Some(Box::new(status.clone())),
                next: None,
            })
        };
        let part = || {
            Box::new(EventsPart {
                id: status.execution_id,
                offset: u64::MAX / 2,
                bytes: "\u{1}".repeat(protocol::events::MAX_BYTES).into(),
                is_all: false,
                ended: false,
            })
        };
        let kinds = [0, 1, 2, 3];
        let answer = |kind| match kind {
            0 => Ok(Answer::Status(Box::new(status.clone()))),
            1 => Ok(Answer::Page(page())),
            2 => Ok(Answer::Events(part())),
            _ => Err(&error),
        };
        for kind in kinds {
            for size in [None, Some(1), Some(longest)] {
                let mut requests = OpenRequests::<()>::default();
                let batch = size.map(|size| requests.batch(size));
                let mut message = None;
                for n in 0..size.unwrap_or(1) {
                    let token = requests.request(Some(id(n)), batch);
                    message = requests
                        .answer(token, answer(kind), vec![], 256 * 1024)
                        .message;
                }
                let message = message.unwrap();
                let length = message.len();
                assert!(
                    length <= protocol::SERVER_MESSAGE_BYTES,
                    "{kind} {size:?}: {length}"
                );
                let value: Value = serde_json::from_str(&message).unwrap();
                let first = if size.is_some() { &value[0] } else { &value };
                let full = ["executionId", "executions", "nextOffset", "code"][kind];
                let answer = if kind < 3 {
                    &first["result"]
                } else {
                    &first["error"]
                };
                assert!(!answer[full].is_null(), "{first}");
            }
        }
    }
}
