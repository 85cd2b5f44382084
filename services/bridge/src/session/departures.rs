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
    /// Views begun so far, and attaches that were granted, or failed because claude-api was away: a grace compares.
    begun: u64,
    tried: u64,
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
    tried: u64,
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
        let (begun, tried) = self.with(id, |e| {
            e.departing += 1;
            (e.begun, e.tried)
        });
        Departing {
            departures: self.clone(),
            id,
            begun,
            tried,
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

    /// The end of the grace; those who tried to attach count once.
    pub fn look(&mut self) -> Found {
        let found = self.found();
        self.tried = self.departures.with(self.id, |e| e.tried);
        found
    }

    fn found(&self) -> Found {
        self.departures.with(self.id, |e| {
            if e.viewers > 0 || e.begun != self.begun {
                Found::Viewer
            } else if e.asking > 0 || e.tried != self.tried {
                Found::Asking
            } else {
                Found::Nobody
            }
        })
    }
}

impl Asking {
    /// It was granted, and the view begins if its session is still there; or claude-api was away, and it will be asked for again.
    pub fn tried(&self) {
        self.0.with(self.1, |e| e.tried += 1);
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
        asking.tried();
        drop(asking);
        assert_eq!(departing.look(), Found::Asking, "a grace from there on");
        assert!(departing.is_deserted(), "no view began");
        departures.ask(id).tried();
        drop(departures.view(id));
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
