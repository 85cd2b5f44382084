//! Requests about the view of one execution take effect in the order received, whichever answer comes first.
//! Pure.

use std::collections::{HashMap, VecDeque};

use protocol::ExecutionId;

use super::replies::Token;

/// Who is before whom, per execution; `T` is what came for one that still waits for its turn.
#[derive(Debug)]
pub struct Turns<T> {
    lines: HashMap<ExecutionId, VecDeque<(Token, Option<T>)>>,
    ids: HashMap<Token, ExecutionId>,
    held: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            lines: HashMap::new(),
            ids: HashMap::new(),
            held: 0,
        }
    }
}

impl<T> Turns<T> {
    /// Requests in line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ids.len()
    }

    /// Counts the requests with an answer that waits for its turn.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// A request goes to the end of the line.
    pub fn join(&mut self, id: ExecutionId, token: Token) {
        self.lines.entry(id).or_default().push_back((token, None));
        self.ids.insert(token, id);
    }

    /// Something came for one; all whose turn it is now, in order. One that never joined has its turn at once.
    pub fn came(&mut self, token: Token, what: T) -> Vec<(Token, T)> {
        let Some(id) = self.ids.get(&token).copied() else {
            return vec![(token, what)];
        };
        let Some(line) = self.lines.get_mut(&id) else {
            return vec![(token, what)];
        };
        if let Some(place) = line.iter_mut().find(|(t, _)| *t == token) {
            self.held += usize::from(place.1.replace(what).is_none());
        }
        let mut ready = Vec::new();
        while let Some((token, what)) = line.front_mut()
            && let Some(what) = what.take()
        {
            self.ids.remove(token);
            ready.push((*token, what));
            self.held -= 1;
            line.pop_front();
        }
        if line.is_empty() {
            self.lines.remove(&id);
        }
        ready
    }

    /// All that came and still waits: nothing more will come.
    pub fn close(&mut self) -> Vec<(Token, T)> {
        self.ids.clear();
        self.held = 0;
        let lines = self.lines.drain().flat_map(|(_, line)| line);
        let mut all: Vec<_> = lines
            .filter_map(|(token, what)| what.map(|what| (token, what)))
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
        fn each_line_keeps_its_order(order in Just((0..12u64).collect::<Vec<_>>()).prop_shuffle(), split in 1..4u64) {
            let ids: Vec<_> = (0..split).map(|_| ExecutionId::random()).collect();
            let id = |token: u64| ids[(token % split) as usize];
            let mut turns = Turns::default();
            for token in 0..12 {
                turns.join(id(token), token);
            }
            let mut got: HashMap<ExecutionId, Vec<Token>> = HashMap::new();
            for token in order {
                for (token, what) in turns.came(token, token * 10) {
                    prop_assert_eq!(what, token * 10);
                    got.entry(id(token)).or_default().push(token);
                }
            }
            for tokens in got.values() {
                prop_assert!(tokens.is_sorted());
            }
            prop_assert_eq!(got.values().map(Vec::len).sum::<usize>(), 12);
            prop_assert!(turns.waiting() == 0 && turns.lines.is_empty());
        }
    }

    #[test]
    fn a_stranger_waits_for_nobody_and_a_close_gives_what_is_held() {
        let mut turns = Turns::default();
        let id = ExecutionId::random();
        turns.join(id, 1);
        turns.join(id, 2);
        assert_eq!(turns.came(7, "x"), [(7, "x")]);
        assert_eq!(turns.came(2, "second"), []);
        assert_eq!(turns.close(), [(2, "second")]);
        assert_eq!(turns.waiting(), 0);
    }
}
