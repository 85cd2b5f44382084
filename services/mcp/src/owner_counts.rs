//! How many of a limited resource each owner uses, so that one principal cannot use up all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::caller::Owner;

/// The number of uses of one resource by each owner. Clones share the numbers. Without tokens there
/// is only one owner, which has no limit here.
#[derive(Debug, Clone)]
pub(crate) struct OwnerCounts {
    limit: usize,
    // A synchronous lock: held only to access the map, never across an await.
    uses: Arc<Mutex<HashMap<Option<Arc<str>>, usize>>>,
}

/// One use of a resource by an owner, until it is dropped.
#[derive(Debug)]
pub(crate) struct OwnerUse {
    counts: OwnerCounts,
    quota: Option<Arc<str>>,
}

impl OwnerCounts {
    /// Creates the counts without a use. Each owner may have `limit` uses at the same time.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            uses: Arc::default(),
        }
    }

    /// Returns the most uses that one owner may have at the same time.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Counts one more use by this owner. `None` if the owner has as many as it may have.
    pub(crate) fn begin(&self, owner: &Owner) -> Option<OwnerUse> {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let quota = owner.quota().cloned();
        let count = uses.get(&quota).copied().unwrap_or_default();
        if quota.is_some() && count >= self.limit {
            return None;
        }
        uses.insert(quota.clone(), count + 1);
        drop(uses);
        Some(OwnerUse {
            counts: self.clone(),
            quota,
        })
    }
}

impl Drop for OwnerUse {
    fn drop(&mut self) {
        let uses = self.counts.uses.lock();
        let mut uses = uses.unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = uses.get_mut(&self.quota) {
            *count -= 1;
            if *count == 0 {
                uses.remove(&self.quota);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Caller;

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
