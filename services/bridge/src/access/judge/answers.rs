//! The answers of claude-api about credentials, by the hash of the secret.
//!
//! - When is an entry added? When claude-api is asked about a credential. It is used for 10 s.
//! - Who waits for whom? Everybody who asks about one credential waits for the same answer. Nobody
//!   waits for room: the oldest entry is evicted for a new one.
//! - What bounds the other direction? The number of open connections bounds the questions that run
//!   at the same time.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use protocol::SecretHash;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::access::judgement::Judgement;

/// The most answers that are kept. One more evicts the oldest.
const ANSWERS: usize = 4096;

/// An answer of claude-api, or the wait for it.
type Pending = watch::Receiver<Option<Judgement>>;

/// The answers of claude-api about credentials, of which at most 4096 are kept.
#[derive(Debug, Default)]
pub(super) struct Answers {
    by_hash: HashMap<SecretHash, Entry>,
    /// The hashes by the number of their question, so that the oldest is first.
    by_age: BTreeMap<u64, SecretHash>,
    /// The number of the newest question.
    last_number: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    asked_at: Instant,
    answer: Pending,
}

impl Entry {
    /// Returns whether the answer may be used, or will be there soon.
    fn is_usable(&self, fresh: Duration) -> bool {
        match &*self.answer.borrow() {
            // The question is running, unless its task has failed.
            None => self.answer.has_changed().is_ok(),
            Some(Judgement::NoAnswer) => false,
            Some(Judgement::Refused) => self.asked_at.elapsed() < fresh,
            Some(Judgement::Granted(me)) => {
                let has_ended = me.expires.is_some_and(|end| end <= Timestamp::now());
                self.asked_at.elapsed() < fresh && !has_ended
            }
        }
    }
}

impl Answers {
    /// Returns the answer about a secret, or the wait for it. `None` if claude-api must be asked,
    /// because the answer is missing or older than `fresh`.
    pub(super) fn usable(&self, hash: SecretHash, fresh: Duration) -> Option<Pending> {
        let entry = self.by_hash.get(&hash)?;
        entry.is_usable(fresh).then(|| entry.answer.clone())
    }

    /// Adds the answer to a question that is asked now. Evicts the oldest answer if there are too
    /// many.
    pub(super) fn insert(&mut self, hash: SecretHash, answer: Pending) {
        self.last_number += 1;
        let number = self.last_number;
        let entry = Entry {
            number,
            asked_at: Instant::now(),
            answer,
        };
        if let Some(old) = self.by_hash.insert(hash, entry) {
            self.by_age.remove(&old.number);
        }
        self.by_age.insert(number, hash);
        if self.by_hash.len() > ANSWERS
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_hash.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: usize) -> SecretHash {
        SecretHash::of(&n.to_le_bytes())
    }

    #[test]
    fn the_oldest_answer_is_evicted_first() {
        let mut answers = Answers::default();
        let refused = || watch::channel(Some(Judgement::Refused)).1;
        for n in 0..ANSWERS {
            answers.insert(hash(n), refused());
        }
        // A newer answer about the same secret makes it young again.
        answers.insert(hash(0), refused());
        answers.insert(hash(ANSWERS), refused());
        let minute = Duration::from_secs(60);
        assert!(answers.usable(hash(0), minute).is_some());
        assert!(answers.usable(hash(1), minute).is_none());
        assert!(answers.usable(hash(2), minute).is_some());
        assert_eq!(answers.by_hash.len(), ANSWERS);
        assert_eq!(answers.by_age.len(), ANSWERS);
    }

    #[test]
    fn an_old_answer_and_a_missing_one_are_not_used() {
        let mut answers = Answers::default();
        let (sender, running) = watch::channel(None);
        answers.insert(hash(1), running);
        assert!(answers.usable(hash(1), Duration::ZERO).is_some());
        sender.send_replace(Some(Judgement::Refused));
        assert!(answers.usable(hash(1), Duration::from_secs(9)).is_some());
        assert!(answers.usable(hash(1), Duration::ZERO).is_none());
        sender.send_replace(Some(Judgement::NoAnswer));
        assert!(answers.usable(hash(1), Duration::from_secs(9)).is_none());
        answers.insert(hash(2), watch::channel(None).1);
        let failed = answers.usable(hash(2), Duration::from_secs(9));
        assert!(failed.is_none(), "the task of the question has failed");
    }
}
