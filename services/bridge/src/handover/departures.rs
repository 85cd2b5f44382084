//! Counts the viewers of each execution, so that a client that reconnects keeps its execution.
//!
//! A departure is the end of a session with `onDisconnect: "cancel"`. claude-api cancels the
//! execution if no client views it during the grace period. A departure may have to wait until
//! claude-api can be reached. Therefore this module also counts the views that begin meanwhile, and
//! the requests for views.
//!
//! A view counts for everybody, because claude-api has admitted its client. A request for a view
//! counts only for clients of the same principal. Otherwise anybody could request a view of any id,
//! and so delay the cancel of another client's execution.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::ExecutionId;

/// The principal of a client. `None` while claude-api has no tokens.
pub type Principal = Option<Arc<str>>;

/// The open views of one execution, the requests for views, and the sessions that may still cancel
/// it.
#[derive(Debug, Default)]
struct ExecutionViews {
    /// The number of open views.
    viewers: usize,
    /// The number of ended sessions whose cancel is not settled yet.
    departing: usize,
    /// The principals of the clients that have requested a view which is not open yet. An attach
    /// requests a view, and so does an execute under the client's own id. One entry for each
    /// request.
    requested: Vec<Principal>,
    /// The number of views opened so far, closed ones included. It shows a departure whether any
    /// view was opened since its start.
    begun: u64,
}

/// The number of viewers of every execution in this bridge. It decides whether an execution is
/// cancelled after a client with `onDisconnect: "cancel"` has left. Clones share the same counts.
#[derive(Debug, Default, Clone)]
pub struct Departures {
    // A plain lock, because it is held only to read or change the map, never across an await.
    entries: Arc<Mutex<HashMap<ExecutionId, ExecutionViews>>>,
}

/// An open view of an execution. The execution counts as viewed until this is dropped.
#[derive(Debug)]
pub struct ViewGuard(Departures, ExecutionId);

/// The end of a session with `onDisconnect: "cancel"`, until its cancel is settled. It shows
/// whether another client has viewed the execution since.
#[derive(Debug)]
pub struct Departure {
    departures: Departures,
    id: ExecutionId,
    /// The principal of the client that has left.
    principal: Principal,
    /// The number of views that had been opened when the session ended.
    begun: u64,
}

/// A client's request for a view that is not open yet, by an attach or by an execute under the
/// client's own id. While it exists, the execution is not cancelled. It is dropped when the view
/// opens, the request is refused, or the session ends.
#[derive(Debug)]
pub struct ViewRequest(Departures, ExecutionId, Principal);

/// Whether a client still uses an execution after a session with `onDisconnect: "cancel"` has
/// ended. The answer decides whether the execution is cancelled.
#[derive(Debug, PartialEq, Eq)]
pub enum Audience {
    /// A view is open, or was open after the session ended. The execution is not cancelled.
    Viewer,
    /// A client of the same principal has requested a view that is not open yet. The cancel waits
    /// for the outcome.
    Requested,
    /// There is no view and no request for one. The execution is cancelled.
    Nobody,
}

impl Departures {
    /// Changes the counts of one execution and returns the result of `change`. Removes the entry
    /// when all counts are zero, so that the map has only executions in use.
    fn update<R>(&self, id: ExecutionId, change: impl FnOnce(&mut ExecutionViews) -> R) -> R {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(id).or_default();
        let result = change(entry);
        if entry.viewers == 0 && entry.departing == 0 && entry.requested.is_empty() {
            entries.remove(&id);
        }
        result
    }

    /// Counts one more view of this execution until the result is dropped.
    #[must_use]
    pub fn view(&self, id: ExecutionId) -> ViewGuard {
        self.update(id, |e| {
            e.viewers += 1;
            e.begun += 1;
        });
        ViewGuard(self.clone(), id)
    }

    /// Records that a session with `onDisconnect: "cancel"` has ended and left this execution. The
    /// session must have dropped its own view first. Otherwise that view would count as another
    /// viewer. `principal` is that of the session.
    #[must_use]
    pub fn depart(&self, id: ExecutionId, principal: Principal) -> Departure {
        let begun = self.update(id, |e| {
            e.departing += 1;
            e.begun
        });
        Departure {
            departures: self.clone(),
            id,
            principal,
            begun,
        }
    }

    /// Counts one more client of this principal that has requested a view of this execution, until
    /// the result is dropped.
    #[must_use]
    pub fn request_view(&self, id: ExecutionId, principal: Principal) -> ViewRequest {
        self.update(id, |e| e.requested.push(principal.clone()));
        ViewRequest(self.clone(), id, principal)
    }
}

impl Departure {
    /// Returns whether somebody keeps the execution. A client keeps it that views it, or has viewed
    /// it since the session ended. So does a client of the same principal that has requested a
    /// view. The answer may change until the result is dropped, so it is checked before each
    /// attempt to cancel.
    #[must_use]
    pub fn audience(&self) -> Audience {
        self.departures.update(self.id, |e| {
            if e.viewers > 0 || e.begun != self.begun {
                Audience::Viewer
            } else if e.requested.contains(&self.principal) {
                Audience::Requested
            } else {
                Audience::Nobody
            }
        })
    }
}

impl ViewRequest {
    /// Returns the id of the execution for which a view was requested.
    #[must_use]
    pub fn id(&self) -> ExecutionId {
        self.1
    }
}

impl Drop for ViewRequest {
    fn drop(&mut self) {
        self.0.update(self.1, |e| {
            let own = e.requested.iter().position(|other| *other == self.2);
            own.map(|index| e.requested.swap_remove(index));
        });
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
        let departing = departures.depart(id, None);
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
        let departing = departures.depart(id, None);
        let request = departures.request_view(id, None);
        assert_eq!(departing.audience(), Audience::Requested);
        drop(request);
        assert_eq!(departing.audience(), Audience::Nobody, "no view began");
        let request = departures.request_view(id, None);
        drop(departures.view(id));
        drop(request);
        assert_eq!(departing.audience(), Audience::Viewer);
        drop(departing);
        assert!(departures.entries.lock().unwrap().is_empty());
    }

    #[test]
    fn a_request_of_another_principal_keeps_no_execution() {
        let principal = |name: &str| Some(Arc::from(name));
        let departures = Departures::default();
        let id = ExecutionId::random();
        let departing = departures.depart(id, principal("a"));
        let foreign = departures.request_view(id, principal("b"));
        let without_token = departures.request_view(id, None);
        assert_eq!(departing.audience(), Audience::Nobody);
        let own = departures.request_view(id, principal("a"));
        assert_eq!(departing.audience(), Audience::Requested);
        drop((own, without_token));
        assert_eq!(departing.audience(), Audience::Nobody);
        // Whoever views the execution was admitted by claude-api.
        drop(departures.view(id));
        assert_eq!(departing.audience(), Audience::Viewer);
        drop((departing, foreign));
        assert!(departures.entries.lock().unwrap().is_empty());
    }

    #[test]
    fn a_viewer_of_another_session_keeps_an_execution() {
        let departures = Departures::default();
        let id = ExecutionId::random();
        let _other = departures.view(id);
        assert_eq!(departures.depart(id, None).audience(), Audience::Viewer);
    }
}
