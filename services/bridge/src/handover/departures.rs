//! Departures: sessions that ended with `onDisconnect: "cancel"`. claude-api cancels the execution
//! if nobody views it during the grace period. This module counts the views and the requests for
//! views. So a departure notices a client that returned before the bridge could reach claude-api.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::ExecutionId;

/// The views and departures of one execution.
#[derive(Debug, Default)]
struct ExecutionViews {
    viewers: usize,
    departing: usize,
    /// Attaches and executes whose view has not begun yet.
    requested: usize,
    /// Views begun so far. A departure compares this count with the one at its beginning.
    begun: u64,
}

/// The views and departures of all executions in this bridge.
#[derive(Debug, Default, Clone)]
pub struct Departures {
    // A plain lock, because it is held only to read or change the map, never across an await.
    entries: Arc<Mutex<HashMap<ExecutionId, ExecutionViews>>>,
}

/// A view, until dropped.
#[derive(Debug)]
pub struct ViewGuard(Departures, ExecutionId);

/// A departure that is not settled, until dropped.
#[derive(Debug)]
pub struct Departure {
    departures: Departures,
    id: ExecutionId,
    begun: u64,
}

/// A request for a view: an attach, or an execute whose id the client chose. It is dropped when the
/// view begins, the request is refused, or the session ends.
#[derive(Debug)]
pub struct ViewRequest(Departures, ExecutionId);

/// Whether anybody views the execution of a departure.
#[derive(Debug, PartialEq, Eq)]
pub enum Audience {
    /// A view is open, or began since the departure.
    Viewer,
    /// A client has requested a view that has not begun.
    Requested,
    /// There is no view and no request for one.
    Nobody,
}

impl Departures {
    fn update<R>(&self, id: ExecutionId, change: impl FnOnce(&mut ExecutionViews) -> R) -> R {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(id).or_default();
        let result = change(entry);
        if entry.viewers == 0 && entry.departing == 0 && entry.requested == 0 {
            entries.remove(&id);
        }
        result
    }

    /// Notes that a view begins.
    #[must_use]
    pub fn view(&self, id: ExecutionId) -> ViewGuard {
        self.update(id, |e| {
            e.viewers += 1;
            e.begun += 1;
        });
        ViewGuard(self.clone(), id)
    }

    /// Notes that a departure begins. The departing session's own view must be over.
    #[must_use]
    pub fn depart(&self, id: ExecutionId) -> Departure {
        let begun = self.update(id, |e| {
            e.departing += 1;
            e.begun
        });
        Departure {
            departures: self.clone(),
            id,
            begun,
        }
    }

    /// Notes that a view is requested.
    #[must_use]
    pub fn request_view(&self, id: ExecutionId) -> ViewRequest {
        self.update(id, |e| e.requested += 1);
        ViewRequest(self.clone(), id)
    }
}

impl Departure {
    /// Returns whether a view is open, was open since the departure, or is requested.
    #[must_use]
    pub fn audience(&self) -> Audience {
        self.departures.update(self.id, |e| {
            if e.viewers > 0 || e.begun != self.begun {
                Audience::Viewer
            } else if e.requested > 0 {
                Audience::Requested
            } else {
                Audience::Nobody
            }
        })
    }
}

impl ViewRequest {
    /// Returns the execution of the view.
    #[must_use]
    pub fn id(&self) -> ExecutionId {
        self.1
    }
}

impl Drop for ViewRequest {
    fn drop(&mut self) {
        self.0.update(self.1, |e| e.requested -= 1);
    }
}

impl Drop for ViewGuard {
    fn drop(&mut self) {
        self.0.update(self.1, |e| e.viewers -= 1);
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.departures.update(self.id, |e| e.departing -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_since_the_departure_keeps_an_execution() {
        let departures = Departures::default();
        let id = ExecutionId::random();
        drop(departures.view(id));
        let departing = departures.depart(id);
        assert_eq!(departing.audience(), Audience::Nobody);
        drop(departures.view(id));
        assert_eq!(departing.audience(), Audience::Viewer);
        drop(departing);
        assert!(departures.entries.lock().unwrap().is_empty());
    }

    #[test]
    fn a_request_for_a_view_keeps_an_execution_until_it_is_dropped() {
        let departures = Departures::default();
        let id = ExecutionId::random();
        let departing = departures.depart(id);
        let request = departures.request_view(id);
        assert_eq!(departing.audience(), Audience::Requested);
        drop(request);
        assert_eq!(departing.audience(), Audience::Nobody, "no view began");
        let request = departures.request_view(id);
        drop(departures.view(id));
        drop(request);
        assert_eq!(departing.audience(), Audience::Viewer);
        drop(departing);
        assert!(departures.entries.lock().unwrap().is_empty());
    }

    #[test]
    fn a_viewer_of_another_session_keeps_an_execution() {
        let departures = Departures::default();
        let id = ExecutionId::random();
        let _other = departures.view(id);
        assert_eq!(departures.depart(id).audience(), Audience::Viewer);
    }
}
