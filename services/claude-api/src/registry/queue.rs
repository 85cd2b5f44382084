//! The registry's methods for the queue, which is in `admission`, and for the locks of ids.

use protocol::ExecutionId;

use super::Registry;
use super::admission::{QueueFull, Reservation, Ticket};
use super::id_locks::IdLock;
use super::record::Accepted;

impl Registry {
    /// Reserves a slot of the queue. Dropping the reservation releases the slot.
    ///
    /// # Errors
    /// The queue, or the lane's part of it, is full.
    pub fn reserve(&self, lane: Option<&str>) -> Result<Reservation, QueueFull> {
        self.admission.reserve(lane)
    }

    /// Puts an accepted execution into the queue, even beyond the limits. An execution that is
    /// `parked` does not start before [`Ticket::unpark`].
    #[must_use]
    pub fn restore(&self, id: ExecutionId, accepted: &Accepted, parked: bool) -> Ticket {
        let lane = accepted.body.lane.as_deref();
        let conversation = &accepted.conversation;
        self.admission.restore(id, lane, conversation, parked)
    }

    /// Stops granting permits. Waiting executions stay in the queue.
    pub fn close(&self) {
        self.admission.close();
    }

    /// Returns whether an execution has no permit yet. A parked one counts as waiting.
    #[must_use]
    pub fn waits(&self, id: ExecutionId) -> bool {
        self.admission.waits(id)
    }

    /// Returns the number of executions before this one in the queue; `None` when it does not wait,
    /// or is parked.
    #[must_use]
    pub fn position(&self, id: ExecutionId) -> Option<u64> {
        self.admission.position(id)
    }

    /// Locks an id for its acceptance or its burn. Cancel safe.
    pub async fn lock_id(&self, id: ExecutionId) -> IdLock {
        self.id_locks.lock(id).await
    }

    /// Waits until every lock of an id that is held now has been released: then the acceptances in
    /// progress are done. Cancel safe.
    pub async fn wait_for_id_locks(&self) {
        self.id_locks.wait_for_all().await;
    }
}
