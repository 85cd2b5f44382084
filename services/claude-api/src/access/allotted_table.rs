//! A table of short-lived secrets in which no principal and no share takes the room of others.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use protocol::SecretHash;
use protocol::access::ShareParts;
use spool::Owner;

use super::subject::Subject;

/// Entries that are found by the hash of their secret, and that end at a time.
///
/// - When is room taken? When an entry is added. It is free again when the entry is removed, or
///   when its time has passed and another entry of the same owner is added.
/// - Who waits for whom? Nobody: a new entry evicts an old one when its holder has no room left.
///   - The tokens of one principal have `per_owner` entries. One more evicts their oldest.
///   - The shares of one owner have further entries of their own, [`ShareParts::together`] of them.
///     One more evicts the oldest entry of the share that has the most.
///   - One share has [`ShareParts::each`] of those. One more evicts its own oldest.
/// - What bounds the other direction? Nothing: entries are only looked up.
#[derive(Debug)]
pub(super) struct AllottedTable<T> {
    /// The most entries of the tokens of one principal.
    per_owner: usize,
    /// The most entries of the shares of one owner.
    of_shares: ShareParts,
    entries: HashMap<SecretHash, Entry<T>>,
    by_owner: HashMap<Owner, Queues>,
}

/// An entry of the table.
#[derive(Debug)]
struct Entry<T> {
    holder: Holder,
    until: Instant,
    value: T,
}

/// The client for which an entry counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    owner: Owner,
    /// The hash of the share. `None` for a token of the operator's file.
    share: Option<SecretHash>,
}

impl Holder {
    /// Returns the holder of `subject`. The owner is the principal of the token, or that of the
    /// shared execution.
    pub(super) fn new(subject: Subject, owner: Owner) -> Self {
        let share = match subject {
            Subject::Token(_) => None,
            Subject::Share(_, hash) => Some(hash),
        };
        Self { owner, share }
    }
}

/// The hashes of one owner's entries, the oldest first.
#[derive(Debug, Default)]
struct Queues {
    of_tokens: VecDeque<SecretHash>,
    of_shares: HashMap<SecretHash, VecDeque<SecretHash>>,
}

impl Queues {
    fn queue(&mut self, share: Option<SecretHash>) -> &mut VecDeque<SecretHash> {
        match share {
            None => &mut self.of_tokens,
            Some(hash) => self.of_shares.entry(hash).or_default(),
        }
    }

    fn shares_length(&self) -> usize {
        self.of_shares.values().map(VecDeque::len).sum()
    }
}

impl<T> AllottedTable<T> {
    /// Creates an empty table, in which the tokens of one principal have `per_owner` entries.
    pub(super) fn new(per_owner: usize) -> Self {
        Self {
            per_owner,
            of_shares: ShareParts::of(per_owner),
            entries: HashMap::new(),
            by_owner: HashMap::new(),
        }
    }

    /// Adds an entry that ends at `until`. Evicts others of the same owner if there is no room.
    pub(super) fn insert(
        &mut self,
        hash: SecretHash,
        holder: Holder,
        until: Instant,
        value: T,
        now: Instant,
    ) {
        self.remove_ended(holder.owner, now);
        let (together, each) = (self.of_shares.together, self.of_shares.each);
        let limit = holder.share.map_or(self.per_owner, |_| each);
        let queues = self.by_owner.entry(holder.owner).or_default();
        while queues.queue(holder.share).len() >= limit {
            let oldest = queues.queue(holder.share).pop_front();
            oldest.and_then(|oldest| self.entries.remove(&oldest));
        }
        while holder.share.is_some() && queues.shares_length() >= together {
            let entries = &self.entries;
            let until = |hash: &SecretHash| entries.get(hash).map(|entry| entry.until);
            let greediest = queues.of_shares.values_mut().max_by_key(|queue| {
                let oldest = queue.front().and_then(until);
                (queue.len(), std::cmp::Reverse(oldest))
            });
            let oldest = greediest.and_then(VecDeque::pop_front);
            oldest.and_then(|oldest| self.entries.remove(&oldest));
        }
        queues.of_shares.retain(|_, queue| !queue.is_empty());
        queues.queue(holder.share).push_back(hash);
        let entry = Entry {
            holder,
            until,
            value,
        };
        self.entries.insert(hash, entry);
    }

    /// Returns the value of an entry that has not ended.
    pub(super) fn get(&self, hash: &SecretHash, now: Instant) -> Option<&T> {
        let entry = self.entries.get(hash)?;
        (entry.until > now).then_some(&entry.value)
    }

    /// Moves the end of an entry, which becomes the newest of its holder. Returns false if there is
    /// no such entry, or if it has ended.
    pub(super) fn renew(&mut self, hash: &SecretHash, until: Instant, now: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(hash).filter(|e| e.until > now) else {
            return false;
        };
        entry.until = until;
        let holder = entry.holder;
        let queue = self.by_owner.entry(holder.owner).or_default();
        let queue = queue.queue(holder.share);
        queue.retain(|other| other != hash);
        queue.push_back(*hash);
        true
    }

    /// Removes an entry. Returns its value if it had not ended.
    pub(super) fn remove(&mut self, hash: &SecretHash, now: Instant) -> Option<T> {
        let entry = self.entries.remove(hash)?;
        if let Some(queues) = self.by_owner.get_mut(&entry.holder.owner) {
            queues
                .queue(entry.holder.share)
                .retain(|other| other != hash);
        }
        self.remove_ended(entry.holder.owner, now);
        (entry.until > now).then_some(entry.value)
    }

    /// Removes the entries of an owner that have ended, as far as they are the oldest of their
    /// holder.
    fn remove_ended(&mut self, owner: Owner, now: Instant) {
        let Some(queues) = self.by_owner.get_mut(&owner) else {
            return;
        };
        let entries = &mut self.entries;
        let mut shorten = |queue: &mut VecDeque<SecretHash>| {
            while let Some(oldest) = queue.front() {
                if entries.get(oldest).is_some_and(|entry| entry.until > now) {
                    break;
                }
                entries.remove(oldest);
                queue.pop_front();
            }
        };
        shorten(&mut queues.of_tokens);
        queues.of_shares.values_mut().for_each(shorten);
        queues.of_shares.retain(|_, queue| !queue.is_empty());
        if queues.of_tokens.is_empty() && queues.of_shares.is_empty() {
            self.by_owner.remove(&owner);
        }
    }
}

#[cfg(test)]
mod tests;
