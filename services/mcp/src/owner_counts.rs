//! How many of a limited resource each owner uses, so that one principal cannot use up all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::SecretHash;
use protocol::access::ShareParts;

use crate::caller::Owner;

/// The number of uses of one resource by each owner. Clones share the numbers. Without tokens there
/// is only one owner, which has no limit here. Nobody waits for a use: one beyond a limit is
/// refused.
///
/// - The tokens of one principal have `limit` uses.
/// - The shares of one principal have further uses of their own, [`ShareParts::together`] of them.
/// - One share has at most [`ShareParts::each`] of those.
#[derive(Debug, Clone)]
pub(crate) struct OwnerCounts {
    limit: usize,
    // A synchronous lock: held only to access the map, never across an await.
    uses: Arc<Mutex<HashMap<Counted, usize>>>,
}

/// A holder of uses that has a limit of its own. The text is the key of the principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Counted {
    /// All tokens of a principal. `None` if the service has no tokens.
    Tokens(Option<Arc<str>>),
    /// All shares of a principal.
    Shares(Option<Arc<str>>),
    /// One share.
    Share(Option<Arc<str>>, Option<SecretHash>),
}

/// One use of a resource by an owner, until it is dropped.
#[derive(Debug)]
pub(crate) struct OwnerUse {
    counts: OwnerCounts,
    counted: Vec<Counted>,
}

impl OwnerCounts {
    /// Creates the counts without a use. The tokens of each principal may have `limit` uses at the
    /// same time.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            uses: Arc::default(),
        }
    }

    /// Returns the most uses that this owner may have at the same time.
    pub(crate) fn limit_of(&self, owner: &Owner) -> usize {
        match owner.share() {
            None => self.limit,
            Some(_) => ShareParts::of(self.limit).each,
        }
    }

    /// Counts one more use by this owner. `None` if the owner, or the shares of its principal
    /// together, have as many as they may have.
    pub(crate) fn begin(&self, owner: &Owner) -> Option<OwnerUse> {
        let quota = owner.quota().cloned();
        let limited = quota.is_some();
        let limits = match owner.share() {
            None => vec![(Counted::Tokens(quota), self.limit)],
            Some(share) => {
                let ShareParts { together, each } = ShareParts::of(self.limit);
                vec![
                    (Counted::Share(quota.clone(), share), each),
                    (Counted::Shares(quota), together),
                ]
            }
        };
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |counted: &Counted| uses.get(counted).copied().unwrap_or_default();
        if limited
            && limits
                .iter()
                .any(|(counted, limit)| count(counted) >= *limit)
        {
            return None;
        }
        let counted: Vec<_> = limits.into_iter().map(|(counted, _)| counted).collect();
        for counted in &counted {
            *uses.entry(counted.clone()).or_default() += 1;
        }
        drop(uses);
        Some(OwnerUse {
            counts: self.clone(),
            counted,
        })
    }
}

impl Drop for OwnerUse {
    fn drop(&mut self) {
        let uses = self.counts.uses.lock();
        let mut uses = uses.unwrap_or_else(PoisonError::into_inner);
        for counted in &self.counted {
            if let Some(count) = uses.get_mut(counted) {
                *count -= 1;
                if *count == 0 {
                    uses.remove(counted);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Caller;

    #[test]
    fn shares_take_no_use_of_their_principal_and_one_share_leaves_some_to_others() {
        let share = |token: &str| {
            Owner::from(&Caller {
                token: token.parse().ok(),
                quota: Some("a".into()),
                share: Some(protocol::ExecutionId::random()),
                ..Caller::default()
            })
        };
        let token = Owner::from(&Caller {
            principal: Some("a".into()),
            ..Caller::default()
        });
        let counts = OwnerCounts::new(16);
        let begin = |owner: &Owner| counts.begin(owner);
        let (greedy, modest) = (share("greedy"), share("modest"));
        let mut held: Vec<_> = (0..2).map(|_| begin(&greedy).unwrap()).collect();
        assert!(begin(&greedy).is_none());
        held.push(begin(&modest).unwrap());
        for n in 0..5 {
            held.push(begin(&share(&format!("share{n}"))).unwrap());
        }
        assert!(begin(&modest).is_none(), "all shares together");
        held.extend((0..16).map(|_| begin(&token).unwrap()));
        assert!(begin(&token).is_none());
        drop(held);
        assert!(counts.uses.lock().unwrap().is_empty());
    }

    #[test]
    fn an_owner_at_its_limit_takes_nothing_from_another() {
        let owner = |name: &str| {
            Owner::from(&Caller {
                principal: Some(name.into()),
                ..Caller::default()
            })
        };
        let counts = OwnerCounts::new(1);
        let one = counts.begin(&owner("a")).unwrap();
        assert!(counts.begin(&owner("a")).is_none());
        let _other = counts.begin(&owner("b")).unwrap();
        drop(one);
        assert!(counts.begin(&owner("a")).is_some());
        // Without tokens everybody is one owner.
        let everybody = Owner::default();
        let uses = [(); 3].map(|()| counts.begin(&everybody));
        assert!(uses.iter().all(Option::is_some));
        drop(uses);
        assert_eq!(counts.uses.lock().unwrap().len(), 1);
    }
}
