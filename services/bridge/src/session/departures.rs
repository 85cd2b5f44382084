//! `onDisconnect: "cancel"`: a session is gone, and nobody attaches within the grace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::ExecutionId;

#[derive(Debug, Default)]
struct Entry {
    viewers: usize,
    departing: usize,
    /// Views begun so far: a grace compares.
    begun: u64,
}

/// Who views what, in this bridge.
#[derive(Debug, Default, Clone)]
pub struct Departures {
    // A plain lock: held for a look into the map, never over an await.
    entries: Arc<Mutex<HashMap<ExecutionId, Entry>>>,
}

/// A view, until dropped.
#[derive(Debug)]
pub struct Viewing(Departures, ExecutionId);

/// A grace that runs, until dropped.
#[derive(Debug)]
pub struct Departing(Departures, ExecutionId, u64);

impl Departures {
    fn with<R>(&self, id: ExecutionId, change: impl FnOnce(&mut Entry) -> R) -> R {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(id).or_default();
        let result = change(entry);
        if entry.viewers == 0 && entry.departing == 0 {
            entries.remove(&id);
        }
        result
    }

    /// A view begins.
    #[must_use]
    pub fn view(&self, id: ExecutionId) -> Viewing {
        self.with(id, |e| {
            e.viewers += 1;
            e.begun += 1;
        });
        Viewing(self.clone(), id)
    }

    /// A grace begins; the departing session's own view must be over.
    #[must_use]
    pub fn depart(&self, id: ExecutionId) -> Departing {
        let begun = self.with(id, |e| {
            e.departing += 1;
            e.begun
        });
        Departing(self.clone(), id, begun)
    }
}

impl Departing {
    /// Whether nobody attached, nor does view it now.
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        self.0.with(self.1, |e| e.viewers == 0 && e.begun == self.2)
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        self.0.with(self.1, |e| e.viewers -= 1);
    }
}

impl Drop for Departing {
    fn drop(&mut self) {
        self.0.with(self.1, |e| e.departing -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_is_enough_to_stay() {
        let departures = Departures::default();
        let id = ExecutionId::random();
        drop(departures.view(id));
        let departing = departures.depart(id);
        assert!(departing.is_deserted());
        drop(departures.view(id));
        assert!(!departing.is_deserted());
        drop(departing);
        assert!(departures.entries.lock().unwrap().is_empty());
    }

    #[test]
    fn another_viewer_counts() {
        let departures = Departures::default();
        let id = ExecutionId::random();
        let _other = departures.view(id);
        assert!(!departures.depart(id).is_deserted());
    }
}
