//! The registry's methods on the queue, which is in `admission`.

use protocol::ExecutionId;

use super::Registry;
use super::admission::{Full, Place, Ticket};
use super::record::Accepted;
use super::turns::Turn;

impl Registry {
    /// Reserves a place in the queue. Dropping the place frees it.
    ///
    /// # Errors
    /// The queue, or the lane's part of it, is full.
    pub fn reserve(&self, lane: Option<&str>) -> Result<Place, Full> {
        self.admission.reserve(lane)
    }

    /// Puts an accepted execution into the queue, whatever the limits say now. One that is `parked`
    /// does not start before [`Ticket::unpark`].
    #[must_use]
    pub fn restore(&self, id: ExecutionId, accepted: &Accepted, parked: bool) -> Ticket {
        let lane = accepted.body.lane.as_deref();
        let conversation = &accepted.conversation;
        self.admission.restore(id, lane, conversation, parked)
    }

    /// Gives no more permits. The queue stays.
    pub fn close(&self) {
        self.admission.close();
    }

    /// Whether an execution has no permit yet, also while it may not start before a time.
    #[must_use]
    pub fn waits(&self, id: ExecutionId) -> bool {
        self.admission.waits(id)
    }

    /// The number of executions that wait before this one; `None` when it does not wait, or may not
    /// start yet.
    #[must_use]
    pub fn position(&self, id: ExecutionId) -> Option<u64> {
        self.admission.position(id)
    }

    /// Waits for the turn to decide whether an id exists. Cancel safe.
    pub async fn turn(&self, id: ExecutionId) -> Turn {
        self.turns.of(id).await
    }

    /// Waits until every turn that is held now has been dropped: the acceptances under way are
    /// over. Cancel safe.
    pub async fn turns_over(&self) {
        self.turns.all().await;
    }
}
