//! The number of uses of a limited resource by each principal. With a limit for each, one principal
//! cannot use up the resource alone. Uses without a principal are not counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The number of uses of one resource by each principal. A clone refers to the same numbers. Only
/// principals with a use are in the table.
#[derive(Debug, Clone, Default)]
pub struct PrincipalCounts {
    // A plain lock, because it is held only to read or change the map, never across an await.
    uses: Arc<Mutex<HashMap<Arc<str>, u64>>>,
}

/// One use by a principal, until it is dropped.
#[derive(Debug)]
pub struct PrincipalUse {
    counts: PrincipalCounts,
    principal: Arc<str>,
}

impl PrincipalCounts {
    /// Counts one more use by this principal. Returns `None` if it has `limit` uses.
    #[must_use]
    pub fn take(&self, principal: Arc<str>, limit: u64) -> Option<PrincipalUse> {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = uses.get(&principal).copied().unwrap_or_default();
        if count >= limit {
            return None;
        }
        uses.insert(principal.clone(), count + 1);
        drop(uses);
        Some(PrincipalUse {
            counts: self.clone(),
            principal,
        })
    }
}

impl Drop for PrincipalUse {
    fn drop(&mut self) {
        let uses = self.counts.uses.lock();
        let mut uses = uses.unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = uses.get_mut(&self.principal) {
            *count -= 1;
            if *count == 0 {
                uses.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_at_its_limit_takes_nothing_from_another() {
        let counts = PrincipalCounts::default();
        let take = |name: &str| counts.take(name.into(), 2);
        let (one, _another) = (take("a").unwrap(), take("a").unwrap());
        assert!(take("a").is_none());
        let other = take("b").unwrap();
        drop(one);
        assert!(take("a").is_some());
        drop(other);
        assert_eq!(counts.uses.lock().unwrap().len(), 1);
    }
}
