//! Departures: sessions that ended with `onDisconnect: "cancel"`. claude-api cancels the execution
//! when nobody views it for the grace. This module knows which clients came back before the bridge
//! could ask claude-api for that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::ExecutionId;

#[derive(Debug, Default)]
struct Entry {
    viewers: usize,
    departing: usize,
    /// Attaches and executes asked for of which no view has begun yet.
    asking: usize,
    /// Views begun so far: a departure compares.
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

/// A departure that is not settled, until dropped.
#[derive(Debug)]
pub struct Departing {
    departures: Departures,
    id: ExecutionId,
    begun: u64,
}

/// A request for a view: an attach, or an execute whose id the client chose. It is dropped when the
/// view begins, the request is refused, or the session ends.
#[derive(Debug)]
pub struct Asking(Departures, ExecutionId);

/// Whether anybody views the execution of a departure.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A view began.
    Viewer,
    /// A client has asked for a view that has not begun.
    Asking,
    /// There is no view and no request for one.
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

    /// A departure begins; the departing session's own view must be over.
    #[must_use]
    pub fn depart(&self, id: ExecutionId) -> Departing {
        let begun = self.with(id, |e| {
            e.departing += 1;
            e.begun
        });
        Departing {
            departures: self.clone(),
            id,
            begun,
        }
    }

    /// A view is asked for.
    #[must_use]
    pub fn ask(&self, id: ExecutionId) -> Asking {
        self.with(id, |e| e.asking += 1);
        Asking(self.clone(), id)
    }
}

impl Departing {
    /// Says whether a view is open, was open since the departure, or is asked for.
    #[must_use]
    pub fn found(&self) -> Found {
        self.departures.with(self.id, |e| {
            if e.viewers > 0 || e.begun != self.begun {
                Found::Viewer
            } else if e.asking > 0 {
                Found::Asking
            } else {
                Found::Nobody
            }
        })
    }
}

impl Asking {
    /// Its execution.
    #[must_use]
    pub fn id(&self) -> ExecutionId {
        self.1
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
        assert_eq!(departing.found(), Found::Nobody);
        drop(departures.view(id));
        assert_eq!(departing.found(), Found::Viewer);
        drop(departing);
        assert!(departures.entries.lock().unwrap().is_empty());
    }

    #[test]
    fn who_tries_to_attach_is_no_deserter() {
        let departures = Departures::default();
        let id = ExecutionId::random();
        let departing = departures.depart(id);
        let asking = departures.ask(id);
        assert_eq!(departing.found(), Found::Asking);
        drop(asking);
        assert_eq!(departing.found(), Found::Nobody, "no view began");
        let asking = departures.ask(id);
        drop(departures.view(id));
        drop(asking);
        assert_eq!(departing.found(), Found::Viewer);
        drop(departing);
        assert!(departures.entries.lock().unwrap().is_empty());
    }

    #[test]
    fn another_viewer_counts() {
        let departures = Departures::default();
        let id = ExecutionId::random();
        let _other = departures.view(id);
        assert_eq!(departures.depart(id).found(), Found::Viewer);
    }
}
