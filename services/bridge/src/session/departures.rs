//! `onDisconnect: "cancel"`: a session is gone, and nobody attaches within the grace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::ExecutionId;

#[derive(Debug, Default)]
struct Entry {
    viewers: usize,
    departing: usize,
    /// Attaches asked for and not answered.
    asking: usize,
    /// Views begun so far, and attaches that failed because claude-api was away: a grace compares.
    begun: u64,
    failed: u64,
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
pub struct Departing {
    departures: Departures,
    id: ExecutionId,
    begun: u64,
    failed: u64,
}

/// An attach that is asked for, until dropped.
#[derive(Debug)]
pub struct Asking(Departures, ExecutionId);

/// What is found at the end of a grace.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Somebody attached.
    Viewer,
    /// Somebody tries to.
    Asking,
    /// Nobody.
    Nobody,
}

impl Departures {
    fn with<R>(&self, id: ExecutionId, change: impl FnOnce(&mut Entry) -> R) -> R {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(id).or_default();
        let result = change(entry);
        if entry.viewers == 0 && entry.departing == 0 && entry.asking == 0 {
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
        let (begun, failed) = self.with(id, |e| {
            e.departing += 1;
            (e.begun, e.failed)
        });
        Departing {
            departures: self.clone(),
            id,
            begun,
            failed,
        }
    }

    /// An attach is asked for.
    #[must_use]
    pub fn ask(&self, id: ExecutionId) -> Asking {
        self.with(id, |e| e.asking += 1);
        Asking(self.clone(), id)
    }
}

impl Departing {
    /// Whether nobody attached or tried to, nor does view it now.
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        self.found() == Found::Nobody
    }

    /// The end of the grace; those who failed to attach count once.
    pub fn look(&mut self) -> Found {
        let found = self.found();
        self.failed = self.departures.with(self.id, |e| e.failed);
        found
    }

    fn found(&self) -> Found {
        self.departures.with(self.id, |e| {
            if e.viewers > 0 || e.begun != self.begun {
                Found::Viewer
            } else if e.asking > 0 || e.failed != self.failed {
                Found::Asking
            } else {
                Found::Nobody
            }
        })
    }
}

impl Asking {
    /// It was granted: the view begins.
    pub fn granted(&self) {
        self.0.with(self.1, |e| e.begun += 1);
    }

    /// claude-api was away: it will be asked for again.
    pub fn failed(&self) {
        self.0.with(self.1, |e| e.failed += 1);
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.with(self.1, |e| e.asking -= 1);
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        self.0.with(self.1, |e| e.viewers -= 1);
    }
}

impl Drop for Departing {
    fn drop(&mut self) {
        self.departures.with(self.id, |e| e.departing -= 1);
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
    fn who_tries_to_attach_is_no_deserter() {
        let departures = Departures::default();
        let id = ExecutionId::random();
        let mut departing = departures.depart(id);
        let asking = departures.ask(id);
        assert_eq!(departing.look(), Found::Asking);
        asking.failed();
        drop(asking);
        assert_eq!(departing.look(), Found::Asking, "a grace from there on");
        assert!(departing.is_deserted());
        departures.ask(id).granted();
        assert_eq!(departing.look(), Found::Viewer);
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
