//! The bounds of deliveries in progress.

use std::collections::HashMap;
use std::hash::Hash;

/// The maximum number of deliveries in progress.
const ALL: usize = 32;
/// The maximum for one principal, half of all.
const PER_PRINCIPAL: usize = 16;
/// The maximum for one receiver (host and port), so that one that hangs delays no other.
const PER_HOST: usize = 4;

/// The places of deliveries in progress. A delivery takes a place when it starts, which is when its
/// event is due, and frees it with its result, after 10 s at most. An event without a place waits,
/// and the events of other receivers and principals overtake it.
#[derive(Debug, Default)]
pub(super) struct Places {
    all: usize,
    by_principal: HashMap<Option<String>, usize>,
    by_host: HashMap<String, usize>,
}

impl Places {
    /// Takes a place for a delivery. Returns false if there is none.
    pub(super) fn start(&mut self, principal: &Option<String>, host: &str) -> bool {
        let used = |count: Option<&usize>| count.copied().unwrap_or(0);
        let is_full = self.all >= ALL
            || used(self.by_principal.get(principal)) >= PER_PRINCIPAL
            || used(self.by_host.get(host)) >= PER_HOST;
        if is_full {
            return false;
        }
        self.all += 1;
        *self.by_principal.entry(principal.clone()).or_default() += 1;
        *self.by_host.entry(host.to_owned()).or_default() += 1;
        true
    }

    /// Frees the place of a delivery.
    pub(super) fn end(&mut self, principal: &Option<String>, host: &str) {
        self.all = self.all.saturating_sub(1);
        decrease(&mut self.by_principal, principal);
        decrease(&mut self.by_host, host);
    }
}

/// Decreases a count, and removes it when it is zero, so that the map does not grow.
fn decrease<K, Q>(counts: &mut HashMap<K, usize>, key: &Q)
where
    K: Hash + Eq + std::borrow::Borrow<Q>,
    Q: Hash + Eq + ?Sized,
{
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_receiver_and_one_principal_leave_places_for_others() {
        let mut places = Places::default();
        let [a, b, c] = ["a", "b", "c"].map(|name| Some(name.to_owned()));
        for _ in 0..PER_HOST {
            assert!(places.start(&a, "hangs"));
        }
        assert!(!places.start(&a, "hangs") && !places.start(&b, "hangs"));
        for n in PER_HOST..PER_PRINCIPAL {
            assert!(places.start(&a, &n.to_string()), "{n}");
        }
        assert!(!places.start(&a, "other"), "the principal's part is used");
        for n in 0..PER_PRINCIPAL {
            assert!(places.start(&b, &format!("b{n}")), "{n}");
        }
        assert!(!places.start(&c, "c"), "all places are used");
        places.end(&a, "hangs");
        assert!(places.start(&c, "hangs"));
    }

    #[test]
    fn freed_places_leave_nothing_behind() {
        let mut places = Places::default();
        for n in 0..1000 {
            assert!(places.start(&None, &n.to_string()));
            places.end(&None, &n.to_string());
        }
        assert_eq!(places.all, 0);
        assert!(places.by_host.is_empty() && places.by_principal.is_empty());
    }
}
