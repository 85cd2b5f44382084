//! The order of the requests about one view. They take effect in the order received, whatever the
//! order of their replies (docs/protocol.md, "Order"). Pure.

use std::collections::{HashMap, VecDeque};

use protocol::ExecutionId;

use super::open_requests::Token;
use crate::viewer::Start;

/// A change of a session's views. It takes effect behind the answer to its request.
#[derive(Debug)]
pub(super) enum ViewChange {
    /// A view begins.
    Begin(Token, Box<Start>),
    /// The view of this execution ends.
    End(Token, ExecutionId),
}

impl ViewChange {
    /// Returns the request that changes the view.
    pub(super) fn request(&self) -> Token {
        match self {
            Self::Begin(token, _) | Self::End(token, _) => *token,
        }
    }

    /// Returns the execution whose view changes.
    pub(super) fn execution(&self) -> ExecutionId {
        match self {
            Self::Begin(_, start) => start.status.execution_id,
            Self::End(_, id) => *id,
        }
    }
}

/// The lines of requests, one for each execution. `T` is the reply to a request that waits for
/// earlier ones.
#[derive(Debug)]
pub struct ViewOrder<T> {
    lines: HashMap<ExecutionId, VecDeque<(Token, Option<T>)>>,
    ids: HashMap<Token, ExecutionId>,
    held: usize,
}

impl<T> Default for ViewOrder<T> {
    fn default() -> Self {
        Self {
            lines: HashMap::new(),
            ids: HashMap::new(),
            held: 0,
        }
    }
}

impl<T> ViewOrder<T> {
    /// Returns the number of requests in line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ids.len()
    }

    /// Returns the number of requests whose reply waits for earlier requests.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Adds a request to the end of its line.
    pub fn join(&mut self, id: ExecutionId, token: Token) {
        self.lines.entry(id).or_default().push_back((token, None));
        self.ids.insert(token, id);
    }

    /// Takes the reply to a request, and returns all requests whose turn it is now, in their order.
    /// A request that never joined a line has its turn at once.
    pub fn reply(&mut self, token: Token, reply: T) -> Vec<(Token, T)> {
        let Some(id) = self.ids.get(&token).copied() else {
            return vec![(token, reply)];
        };
        let Some(line) = self.lines.get_mut(&id) else {
            return vec![(token, reply)];
        };
        if let Some(place) = line.iter_mut().find(|(t, _)| *t == token) {
            self.held += usize::from(place.1.replace(reply).is_none());
        }
        let mut ready = Vec::new();
        while let Some((token, reply)) = line.front_mut()
            && let Some(reply) = reply.take()
        {
            self.ids.remove(token);
            ready.push((*token, reply));
            self.held -= 1;
            line.pop_front();
        }
        if line.is_empty() {
            self.lines.remove(&id);
        }
        ready
    }

    /// Ends all lines, and returns the replies that waited, in the order of their requests.
    pub fn close(&mut self) -> Vec<(Token, T)> {
        self.ids.clear();
        self.held = 0;
        let lines = self.lines.drain().flat_map(|(_, line)| line);
        let mut all: Vec<_> = lines
            .filter_map(|(token, reply)| reply.map(|reply| (token, reply)))
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
        fn each_line_keeps_its_order(
            arrival in Just((0..12u64).collect::<Vec<_>>()).prop_shuffle(), split in 1..4u64,
        ) {
            let ids: Vec<_> = (0..split).map(|_| ExecutionId::random()).collect();
            let id = |token: u64| ids[(token % split) as usize];
            let mut order = ViewOrder::default();
            for token in 0..12 {
                order.join(id(token), token);
            }
            let mut got: HashMap<ExecutionId, Vec<Token>> = HashMap::new();
            for token in arrival {
                for (token, reply) in order.reply(token, token * 10) {
                    prop_assert_eq!(reply, token * 10);
                    got.entry(id(token)).or_default().push(token);
                }
            }
            for tokens in got.values() {
                prop_assert!(tokens.is_sorted());
            }
            prop_assert_eq!(got.values().map(Vec::len).sum::<usize>(), 12);
            prop_assert!(order.waiting() == 0 && order.lines.is_empty());
        }
    }

    #[test]
    fn a_request_in_no_line_waits_for_nobody_and_a_close_returns_what_is_held() {
        let mut order = ViewOrder::default();
        let id = ExecutionId::random();
        order.join(id, 1);
        order.join(id, 2);
        assert_eq!(order.reply(7, "x"), [(7, "x")]);
        assert_eq!(order.reply(2, "second"), []);
        assert_eq!(order.close(), [(2, "second")]);
        assert_eq!(order.waiting(), 0);
    }
}
