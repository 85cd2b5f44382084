//! The order of the requests that begin or end a view (execute, attach, detach). They take effect
//! in the order received, even if claude-api answers them in another order (docs/protocol.md,
//! "Order"). Does no I/O.

use std::collections::{HashMap, VecDeque};

use protocol::ExecutionId;

use super::open_requests::Token;
use crate::viewer::ViewStart;

/// The start or the end of a view, which streams an execution to the client. It takes effect
/// directly after the answer to its request is queued.
#[derive(Debug)]
pub(super) enum ViewChange {
    /// A view begins with this status. It replaces an older view of the same execution, if there is
    /// one. The token is that of the execute or attach request.
    Begin(Token, Box<ViewStart>),
    /// The view of this execution ends. The token is that of the detach request.
    End(Token, ExecutionId),
}

impl ViewChange {
    /// Returns the token of the request that begins or ends the view.
    pub(super) fn request(&self) -> Token {
        match self {
            Self::Begin(token, _) | Self::End(token, _) => *token,
        }
    }

    /// Returns the id of the execution whose view begins or ends.
    pub(super) fn execution(&self) -> ExecutionId {
        match self {
            Self::Begin(_, start) => start.status.execution_id,
            Self::End(_, id) => *id,
        }
    }
}

/// The requests about views that have not taken effect yet, in one queue for each execution. `T` is
/// the outcome of a request. An outcome stays in the queue until all earlier requests in it have
/// theirs.
#[derive(Debug)]
pub struct ViewOrder<T> {
    /// The queued requests of each execution, oldest first, with their outcomes as far as known.
    queues: HashMap<ExecutionId, VecDeque<(Token, Option<T>)>>,
    /// The execution of each queued request.
    ids: HashMap<Token, ExecutionId>,
    /// The number of outcomes that are known but wait for an earlier request.
    held: usize,
}

impl<T> Default for ViewOrder<T> {
    fn default() -> Self {
        Self {
            queues: HashMap::new(),
            ids: HashMap::new(),
            held: 0,
        }
    }
}

impl<T> ViewOrder<T> {
    /// Returns the number of requests in all queues, with and without an outcome.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ids.len()
    }

    /// Returns the number of outcomes that are known but wait for an earlier request. Each becomes
    /// an answer later, so the session reserves memory for it.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Adds a request to the end of the queue of its execution. Called when the request is
    /// received, because the order of reception counts.
    pub fn enqueue(&mut self, id: ExecutionId, token: Token) {
        self.queues.entry(id).or_default().push_back((token, None));
        self.ids.insert(token, id);
    }

    /// Stores the outcome of a request. Returns all requests of its queue that can take effect now,
    /// in their order. The result is empty while an earlier request has no outcome. A request that
    /// was never queued takes effect immediately.
    pub fn add_outcome(&mut self, token: Token, outcome: T) -> Vec<(Token, T)> {
        let Some(id) = self.ids.get(&token).copied() else {
            return vec![(token, outcome)];
        };
        let Some(queue) = self.queues.get_mut(&id) else {
            return vec![(token, outcome)];
        };
        if let Some((_, slot)) = queue.iter_mut().find(|(t, _)| *t == token) {
            self.held += usize::from(slot.replace(outcome).is_none());
        }
        let mut ready = Vec::new();
        while let Some((token, outcome)) = queue.front_mut()
            && let Some(outcome) = outcome.take()
        {
            self.ids.remove(token);
            ready.push((*token, outcome));
            self.held -= 1;
            queue.pop_front();
        }
        if queue.is_empty() {
            self.queues.remove(&id);
        }
        ready
    }

    /// Empties all queues at the end of the session. Returns the outcomes that waited, in the order
    /// of their requests. Requests without an outcome are dropped.
    pub fn close(&mut self) -> Vec<(Token, T)> {
        self.ids.clear();
        self.held = 0;
        let queues = self.queues.drain().flat_map(|(_, queue)| queue);
        let mut all: Vec<_> = queues
            .filter_map(|(token, outcome)| outcome.map(|outcome| (token, outcome)))
            .collect();
        all.sort_by_key(|(token, _)| *token);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_queue_keeps_its_order(
            arrival in Just((0..12u64).collect::<Vec<_>>()).prop_shuffle(), split in 1..4u64,
        ) {
            let ids: Vec<_> = (0..split).map(|_| ExecutionId::random()).collect();
            let id = |token: u64| ids[(token % split) as usize];
            let mut order = ViewOrder::default();
            for token in 0..12 {
                order.enqueue(id(token), token);
            }
            let mut got: HashMap<ExecutionId, Vec<Token>> = HashMap::new();
            for token in arrival {
                for (token, outcome) in order.add_outcome(token, token * 10) {
                    prop_assert_eq!(outcome, token * 10);
                    got.entry(id(token)).or_default().push(token);
                }
            }
            for tokens in got.values() {
                prop_assert!(tokens.is_sorted());
            }
            prop_assert_eq!(got.values().map(Vec::len).sum::<usize>(), 12);
            prop_assert!(order.waiting() == 0 && order.queues.is_empty());
        }
    }

    #[test]
    fn a_request_in_no_queue_never_waits_and_a_close_returns_held_outcomes() {
        let mut order = ViewOrder::default();
        let id = ExecutionId::random();
        order.enqueue(id, 1);
        order.enqueue(id, 2);
        assert_eq!(order.add_outcome(7, "x"), [(7, "x")]);
        assert_eq!(order.add_outcome(2, "second"), []);
        assert_eq!(order.close(), [(2, "second")]);
        assert_eq!(order.waiting(), 0);
    }
}
