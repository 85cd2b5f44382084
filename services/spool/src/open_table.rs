//! The table of what is open: everybody who asks for an id holds the same value.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use uuid::Uuid;

/// The values that somebody holds, by id. A value removes itself with [`OpenTable::forget_closed`]
/// when it is dropped, so the table does not grow with the past.
pub(crate) struct OpenTable<T> {
    /// A lock, because a lookup and an insertion must not mix. No value is dropped and no await
    /// happens inside it.
    open: Mutex<HashMap<Uuid, Weak<T>>>,
}

impl<T> OpenTable<T> {
    pub(crate) fn new() -> Self {
        Self {
            open: Mutex::default(),
        }
    }

    /// Returns the value that is held under this id.
    pub(crate) fn get(&self, id: Uuid) -> Option<Arc<T>> {
        self.lock().get(&id).and_then(Weak::upgrade)
    }

    /// Returns the value that everybody holds: this one, if it is the first.
    pub(crate) fn share(&self, id: Uuid, value: &Arc<T>) -> Arc<T> {
        let mut open = self.lock();
        match open.get(&id).and_then(Weak::upgrade) {
            Some(first) => first,
            None => {
                open.insert(id, Arc::downgrade(value));
                Arc::clone(value)
            }
        }
    }

    /// Forgets the value under this id, if nobody holds it.
    pub(crate) fn forget_closed(&self, id: Uuid) {
        let mut open = self.lock();
        if open.get(&id).is_some_and(|value| value.strong_count() == 0) {
            open.remove(&id);
        }
    }

    /// Forgets the value under this id, even if it is held.
    pub(crate) fn remove(&self, id: Uuid) {
        self.lock().remove(&id);
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Weak<T>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_share_the_first_value_until_nobody_holds_it() {
        let table = OpenTable::new();
        let id = Uuid::from_u128(1);
        let (first, second) = (Arc::new(1), Arc::new(2));
        assert_eq!(*table.share(id, &first), 1);
        assert_eq!(*table.share(id, &second), 1);
        // The drop of the second one, which nobody shared.
        table.forget_closed(id);
        assert_eq!(table.get(id).as_deref(), Some(&1));
        drop(first);
        assert_eq!(table.get(id), None);
        assert_eq!(*table.share(id, &second), 2);
        // A late look at the first one.
        table.forget_closed(id);
        assert_eq!(table.get(id).as_deref(), Some(&2));
        drop(second);
        table.forget_closed(id);
        assert!(table.is_empty());
    }
}
