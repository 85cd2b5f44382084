//! A table of the values in use, by id, so that all users of an id share one value.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use uuid::Uuid;

/// The values in use, by id. The table does not keep a value alive. The `Drop` of a value must call
/// [`OpenTable::forget_closed`], which removes its row.
pub(crate) struct OpenTable<T> {
    /// The rows. A lock, because a lookup and its insertion must be one step. No value is dropped
    /// and no await happens under it.
    open: Mutex<HashMap<Uuid, Weak<T>>>,
}

impl<T> OpenTable<T> {
    /// Creates an empty table.
    pub(crate) fn new() -> Self {
        Self {
            open: Mutex::default(),
        }
    }

    /// Returns the value in use with this id. `None` if no user holds it.
    pub(crate) fn get(&self, id: Uuid) -> Option<Arc<T>> {
        self.lock().get(&id).and_then(Weak::upgrade)
    }

    /// Returns the value that all users of `id` share. If one is in use, this is that value;
    /// otherwise `value` is added to the table and returned.
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

    /// Removes the row of a value that was just dropped. Keeps the row if a new value with the same
    /// id is in use already.
    pub(crate) fn forget_closed(&self, id: Uuid) {
        let mut open = self.lock();
        if open.get(&id).is_some_and(|value| value.strong_count() == 0) {
            open.remove(&id);
        }
    }

    /// Removes the row of this id even if its value is in use. The next user then gets a new value.
    pub(crate) fn remove(&self, id: Uuid) {
        self.lock().remove(&id);
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Locks the table, for a few operations in memory.
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Weak<T>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_an_id_share_the_first_value_while_it_is_in_use() {
        let table = OpenTable::new();
        let id = Uuid::from_u128(1);
        let (first, second) = (Arc::new(1), Arc::new(2));
        assert_eq!(*table.share(id, &first), 1);
        assert_eq!(*table.share(id, &second), 1);
        // As when the second value is dropped, which was never shared.
        table.forget_closed(id);
        assert_eq!(table.get(id).as_deref(), Some(&1));
        drop(first);
        assert_eq!(table.get(id), None);
        assert_eq!(*table.share(id, &second), 2);
        // As when the first value is dropped late.
        table.forget_closed(id);
        assert_eq!(table.get(id).as_deref(), Some(&2));
        drop(second);
        table.forget_closed(id);
        assert!(table.is_empty());
    }
}
