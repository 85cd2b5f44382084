//! The pending requests of a connection.

use std::sync::Arc;

use jiff::Timestamp;

use crate::soak::{attack::Attack, execution::Execution, input::Offer, questions::Sent};

/// A pending request, and what was known of its execution when it was sent.
#[derive(Debug, Clone)]
pub(in crate::soak::actor) struct Request {
    pub(in crate::soak::actor) what: RequestKind,
    /// The execution of the request, if it names one.
    pub(in crate::soak::actor) execution: Option<Arc<Execution>>,
    /// Whether a client had an answer that the execution exists.
    pub(in crate::soak::actor) accepted: bool,
    /// Whether a client had seen its end.
    pub(in crate::soak::actor) ended: bool,
    /// When the request was sent.
    pub(in crate::soak::actor) sent: Timestamp,
    /// The ids in the request that do not exist for the client: the answer may repeat them.
    pub(in crate::soak::actor) asked: Vec<String>,
    /// The answer to a question, if it is one.
    pub(in crate::soak::actor) answer: Option<Sent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::soak::actor) enum RequestKind {
    Execute,
    /// An execute of a known id with another body.
    Conflict,
    /// `seen`: a client has received the output up to the offset, so the offset must be accepted.
    /// `fresh`: begins a new view instead of resuming the existing one.
    Attach {
        offset: Option<u64>,
        seen: bool,
        fresh: bool,
        skip: bool,
    },
    Detach,
    Control,
    Cancel,
    Input(Offer),
    /// An answer to a question.
    Answer,
    List,
    /// A request about an execution of another principal.
    Attack(Attack),
    Other,
    /// An invalid request, which must be refused.
    Bad,
}

impl Request {
    pub(in crate::soak::actor) fn about(what: RequestKind, execution: &Arc<Execution>) -> Self {
        let facts = execution.facts();
        Self {
            what,
            execution: Some(Arc::clone(execution)),
            accepted: facts.accepted,
            ended: facts.terminal.is_some(),
            sent: Timestamp::now(),
            asked: Vec::new(),
            answer: None,
        }
    }

    /// Creates the request with an answer to a question of an execution.
    pub(in crate::soak::actor) fn answer(execution: &Arc<Execution>, answer: Sent) -> Self {
        Self {
            answer: Some(answer),
            ..Self::about(RequestKind::Answer, execution)
        }
    }

    pub(in crate::soak::actor) fn without_execution(what: RequestKind) -> Self {
        Self {
            what,
            execution: None,
            accepted: false,
            ended: false,
            sent: Timestamp::now(),
            asked: Vec::new(),
            answer: None,
        }
    }

    /// Creates a request about ids that do not exist for the client.
    pub(in crate::soak::actor) fn attack(what: Attack, asked: Vec<String>) -> Self {
        Self {
            asked,
            ..Self::without_execution(RequestKind::Attack(what))
        }
    }
}
