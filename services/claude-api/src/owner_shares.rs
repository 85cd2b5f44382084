//! The part of a shared resource that one principal may use, so that nobody uses it up alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use spool::Owner;

/// The divisor for the part of a shared resource that one principal may use: half of it.
pub(crate) const OWNER_DIVISOR: u64 = 2;

/// The use of a shared resource by each principal, in the unit of the resource: bytes of bodies, or
/// streams. Cheap to clone.
///
/// - When is a part taken? With the resource itself; it is released with it.
/// - Who waits for whom? Nobody: a principal that uses its part already is refused at once.
/// - Without a token file there is no principal, and no such limit.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnerShares {
    // Held for one change; no await happens inside.
    used: Arc<Mutex<HashMap<Owner, u64>>>,
}

/// The use of a shared resource by one request of a principal. Dropping it ends the use.
#[derive(Debug)]
pub(crate) struct OwnerShare {
    shares: OwnerShares,
    owner: Owner,
    amount: u64,
}

impl OwnerShares {
    /// Creates the use of a new request of `owner`, which is 0 for now.
    pub(crate) fn begin(&self, owner: Owner) -> OwnerShare {
        OwnerShare {
            shares: self.clone(),
            owner,
            amount: 0,
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<Owner, u64>) -> T) -> T {
        act(&mut self.used.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl OwnerShare {
    /// Raises the use of the request to `amount`. Returns false, and changes nothing, if the
    /// principal would then use more than half of `all`. A principal's only request may use any
    /// amount: otherwise a large one would be refused on every attempt. Without a principal nothing
    /// is counted, and the result is true.
    pub(crate) fn grow(&mut self, amount: u64, all: u64) -> bool {
        let more = amount.saturating_sub(self.amount);
        if self.owner == Owner::NONE || more == 0 {
            return true;
        }
        let own = self.amount;
        let fits = self.shares.with(|used| {
            let used = used.entry(self.owner).or_default();
            let is_alone = *used == own;
            let fits = is_alone || *used + more <= all / OWNER_DIVISOR;
            *used += if fits { more } else { 0 };
            fits
        });
        if fits {
            self.amount = amount;
        }
        fits
    }
}

impl Drop for OwnerShare {
    fn drop(&mut self) {
        self.shares.with(|used| {
            if let Some(amount) = used.get_mut(&self.owner) {
                *amount = amount.saturating_sub(self.amount);
                if *amount == 0 {
                    used.remove(&self.owner);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_uses_at_most_half_and_the_first_request_any_amount() {
        let shares = OwnerShares::default();
        let [a, b] = ["a", "b"].map(Owner::of);
        let mut first = shares.begin(a);
        assert!(first.grow(80, 100) && first.grow(90, 100));
        let mut second = shares.begin(a);
        assert!(!second.grow(1, 100));
        assert!(shares.begin(b).grow(50, 100), "another principal");
        drop(first);
        assert!(second.grow(30, 100));
        let mut third = shares.begin(a);
        assert!(third.grow(20, 100) && !third.grow(21, 100));
        drop((second, third));
        assert!(shares.used.lock().unwrap().is_empty());
    }

    #[test]
    fn without_principals_there_is_no_limit() {
        let shares = OwnerShares::default();
        let held: Vec<_> = (0..3).map(|_| shares.begin(Owner::NONE)).collect();
        for mut share in held {
            assert!(share.grow(100, 100));
        }
    }
}
