//! The registry's methods for the queue of waiting executions, which is in `admission`, and for the
//! locks of ids.

use protocol::ExecutionId;

use super::Registry;
use super::admission::{QueueFull, Reservation, Ticket};
use super::id_locks::IdLock;
use super::record::Accepted;

impl Registry {
    /// Reserves a slot of the queue for an execution of `lane`. `None` means no lane, for which
    /// only the limit of the whole queue counts. Dropping the reservation releases the slot.
    ///
    /// # Errors
    /// The queue, or the lane's part of it, is full.
    pub fn reserve(&self, lane: Option<&str>) -> Result<Reservation, QueueFull> {
        self.admission.reserve(lane)
    }

    /// Puts an execution that was accepted earlier into the queue, even beyond the limits. An
    /// execution that is `parked` does not start before [`Ticket::unpark`].
    #[must_use]
    pub fn restore(&self, id: ExecutionId, accepted: &Accepted, parked: bool) -> Ticket {
        let lane = accepted.body.lane.as_deref();
        let conversation = &accepted.conversation;
        self.admission.restore(id, lane, conversation, parked)
    }

    /// Stops granting permits to run, for a stop of the service. Waiting executions stay in the
    /// queue.
    pub fn close(&self) {
        self.admission.close();
    }

    /// Returns whether an execution is in the queue, and so has no permit to run yet. A parked one
    /// counts as waiting.
    #[must_use]
    pub fn waits(&self, id: ExecutionId) -> bool {
        self.admission.waits(id)
    }

    /// Returns how many executions are before this one in the queue; `None` when it does not wait,
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
