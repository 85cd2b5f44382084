//! Parked executions, which may not start before a given time, for example when a usage limit of
//! the model resets.
//!
//! A parked execution keeps its position in the queue and blocks its conversation. It does not
//! block its lane, because a usage limit lasts for hours. When its time has come, it is the next of
//! its lane, before all executions that were accepted later.

use protocol::ExecutionId;

use super::Ticket;
use super::queue::Queue;

impl Queue {
    /// Parks a waiting execution, or ends its parking. Has no effect if the execution does not
    /// wait.
    pub(super) fn park(&mut self, id: ExecutionId, parked: bool) {
        if let Some(waiting) = self.waiting.iter_mut().find(|w| w.id == id) {
            waiting.parked = parked;
        }
    }
}

impl Ticket {
    /// Ends the parking of an execution: from now on it starts like any other, when the limits and
    /// its lane permit. The caller calls this at the time `notBefore` of the execution. Has no
    /// effect on an execution that is not parked.
    pub fn unpark(&self) {
        self.admission.with(|inner| {
            inner.queue.park(self.id, false);
            inner.grant();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::Admission;
    use super::*;
    use futures::FutureExt;
    use protocol::Limits;
    use spool::Owner;

    fn id(n: u128) -> ExecutionId {
        uuid::Uuid::from_u128(n).into()
    }

    fn may_run(ticket: &mut Ticket) -> bool {
        ticket.permit().now_or_never().is_some()
    }

    #[test]
    fn a_parked_execution_blocks_its_conversation_but_not_its_lane() {
        let admission = Admission::new(&Limits::default());
        let mut parked = admission.restore(id(1), Owner::NONE, Some("a"), "c", true);
        let mut lane = admission.restore(id(2), Owner::NONE, Some("a"), "d", false);
        let mut later = admission.restore(id(3), Owner::NONE, Some("a"), "e", false);
        let mut conversation = admission.restore(id(4), Owner::NONE, Some("b"), "c", false);
        assert!(!may_run(&mut parked) && !may_run(&mut conversation));
        assert!(may_run(&mut lane), "the lane is not blocked");
        assert_eq!(admission.position(id(1)), None);
        assert_eq!(admission.position(id(3)), Some(0));
        assert_eq!(admission.counts(), (3, 1));
        parked.unpark();
        assert!(!may_run(&mut parked), "another execution of its lane runs");
        drop(lane);
        assert!(may_run(&mut parked) && !may_run(&mut later));
        drop(parked);
        assert!(may_run(&mut later) && may_run(&mut conversation));
    }

    #[test]
    fn a_parked_execution_that_leaves_the_queue_releases_its_conversation() {
        let admission = Admission::new(&Limits::default());
        let parked = admission.restore(id(1), Owner::NONE, None, "c", true);
        let mut next = admission.restore(id(2), Owner::NONE, None, "c", false);
        assert!(!may_run(&mut next));
        drop(parked);
        assert!(may_run(&mut next));
        drop(next);
        assert_eq!(admission.counts(), (0, 0));
    }
}
