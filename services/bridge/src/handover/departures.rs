//! Counts the viewers of each execution, so that a client that reconnects keeps its execution. A
//! departure is the end of a session with `onDisconnect: "cancel"`: claude-api cancels the
//! execution if no client views it during the grace period. A departure may have to wait for
//! claude-api, so this module also counts the views that begin meanwhile, and the requests for
//! views.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::ExecutionId;

/// The views of one execution, and its departures: sessions that ended with `onDisconnect:
/// "cancel"`.
#[derive(Debug, Default)]
struct ExecutionViews {
    viewers: usize,
    departing: usize,
    /// Attaches, and executes under a client's own id, whose view has not begun yet.
    requested: usize,
    /// Views begun so far. A departure compares this count with the count at its start.
    begun: u64,
}

/// The views of all executions in this bridge, and their departures: sessions that ended with
/// `onDisconnect: "cancel"`. Clones share the same counts.
#[derive(Debug, Default, Clone)]
pub struct Departures {
    // A plain lock, because it is held only to read or change the map, never across an await.
    entries: Arc<Mutex<HashMap<ExecutionId, ExecutionViews>>>,
}

/// Counts one open view of an execution until dropped.
#[derive(Debug)]
pub struct ViewGuard(Departures, ExecutionId);

/// A session that ended with `onDisconnect: "cancel"`, from its end until its cancel is settled. It
/// shows whether another client has viewed the execution since.
#[derive(Debug)]
pub struct Departure {
    departures: Departures,
    id: ExecutionId,
    begun: u64,
}

/// Counts one client that has asked for a view which has not begun: by an attach, or by an execute
/// under its own id. Dropped when the view begins, the request is refused, or the session ends.
#[derive(Debug)]
pub struct ViewRequest(Departures, ExecutionId);

/// Whether an execution still has a client, after a session with `onDisconnect: "cancel"` has left
/// it.
#[derive(Debug, PartialEq, Eq)]
pub enum Audience {
    /// A view is open, or has been open since the session left, so the execution is not cancelled.
    Viewer,
    /// A client has requested a view that has not begun, so the cancel waits for the outcome.
    Requested,
    /// There is no view and no request for one, so the execution is cancelled.
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

    /// Counts a view of this execution from now until the result is dropped.
    #[must_use]
    pub fn view(&self, id: ExecutionId) -> ViewGuard {
        self.update(id, |e| {
            e.viewers += 1;
            e.begun += 1;
        });
        ViewGuard(self.clone(), id)
    }

    /// Records that a session with `onDisconnect: "cancel"` has left this execution. The session
    /// must have dropped its own view, or that view would keep the execution.
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

    /// Counts a client that has asked for a view of this execution, until the result is dropped.
    #[must_use]
    pub fn request_view(&self, id: ExecutionId) -> ViewRequest {
        self.update(id, |e| e.requested += 1);
        ViewRequest(self.clone(), id)
    }
}

impl Departure {
    /// Returns whether another client views the execution, has viewed it since the session left, or
    /// has requested a view.
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
    /// Returns the execution whose view was requested.
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
