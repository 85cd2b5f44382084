//! The queue, which decides which execution may start now. A lane runs one execution at a time, in
//! the order accepted, and so does a conversation. One limit bounds running executions, another
//! bounds simultaneous starts.

mod parked;
mod queue;

use std::sync::{Arc, Mutex, PoisonError};

use protocol::{ExecutionId, Limits};
use tokio::sync::oneshot;

use queue::Queue;
pub use queue::QueueFull;

/// The queue, which issues reservations and permits to run. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    // A lock, because every change is short and synchronous. Permits are sent while it is held, in
    // the order of the queue. No await happens inside.
    inner: Arc<Mutex<Inner>>,
}

/// The state of the queue, with a channel to each waiting execution over which it gets its permit.
#[derive(Debug)]
struct Inner {
    queue: Queue,
    waiting: std::collections::HashMap<ExecutionId, oneshot::Sender<()>>,
    closed: bool,
}

/// A reserved slot of the queue for an execution that is not on disk yet, so that an accepted
/// execution always has one. Dropping an unused reservation releases the slot.
#[derive(Debug)]
pub struct Reservation {
    admission: Admission,
    lane: Option<String>,
    used: bool,
}

/// The membership of an execution in the queue, and later its permit to run. Dropping it makes the
/// execution leave the queue, or frees the permit, the lane and the conversation for others.
#[derive(Debug)]
pub struct Ticket {
    admission: Admission,
    id: ExecutionId,
    permit: Option<oneshot::Receiver<()>>,
}

impl Admission {
    /// Creates an empty queue.
    #[must_use]
    pub(super) fn new(limits: &Limits) -> Self {
        let inner = Inner {
            queue: Queue::new(limits),
            waiting: std::collections::HashMap::new(),
            closed: false,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reserves a slot of the queue for an execution of `lane`. `None` means no lane, for which
    /// only the limit of the whole queue counts.
    ///
    /// # Errors
    /// The queue, or the lane's part of it, is full.
    pub(super) fn reserve(&self, lane: Option<&str>) -> Result<Reservation, QueueFull> {
        self.with(|inner| inner.queue.reserve(lane))?;
        Ok(Reservation {
            admission: self.clone(),
            lane: lane.map(str::to_owned),
            used: false,
        })
    }

    /// Puts an execution that was accepted earlier into the queue, even beyond the limits. An
    /// execution that is `parked` does not start before [`Ticket::unpark`].
    #[must_use]
    pub(super) fn restore(
        &self,
        id: ExecutionId,
        lane: Option<&str>,
        conversation: &str,
        parked: bool,
    ) -> Ticket {
        self.with(|inner| inner.queue.reserve_beyond_limits(lane));
        self.enter(id, lane, conversation, parked)
    }

    /// Reserves a slot of the queue, even if the queue is full, for an id that is burned already.
    #[must_use]
    pub(super) fn reserve_beyond_limits(&self) -> Reservation {
        self.with(|inner| inner.queue.reserve_beyond_limits(None));
        Reservation {
            admission: self.clone(),
            lane: None,
            used: false,
        }
    }

    fn enter(
        &self,
        id: ExecutionId,
        lane: Option<&str>,
        conversation: &str,
        parked: bool,
    ) -> Ticket {
        let (sender, permit) = oneshot::channel();
        self.with(|inner| {
            inner.queue.enter(id, lane, conversation);
            inner.queue.park(id, parked);
            inner.waiting.insert(id, sender);
            inner.grant();
        });
        Ticket {
            admission: self.clone(),
            id,
            permit: Some(permit),
        }
    }

    /// Stops granting permits to run, for a stop of the service. Waiting executions stay in the
    /// queue.
    pub(super) fn close(&self) {
        self.with(|inner| inner.closed = true);
    }

    /// Returns whether an execution is in the queue, and so has no permit to run yet. A parked one
    /// counts as waiting.
    #[must_use]
    pub(super) fn waits(&self, id: ExecutionId) -> bool {
        self.with(|inner| inner.queue.waits(id))
    }

    /// Returns how many executions are before this one in the queue; `None` when it does not wait,
    /// or is parked.
    #[must_use]
    pub(super) fn position(&self, id: ExecutionId) -> Option<u64> {
        self.with(|inner| inner.queue.position(id))
    }

    /// Returns the numbers of waiting and of running executions.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (u64, u64) {
        self.with(|inner| (inner.queue.waiting(), inner.queue.running()))
    }
}

impl Inner {
    fn grant(&mut self) {
        if self.closed {
            return;
        }
        for id in self.queue.start() {
            if let Some(sender) = self.waiting.remove(&id) {
                // Without a receiver, the ticket is about to be dropped, which releases the permit.
                let _ = sender.send(());
            }
        }
    }
}

impl Reservation {
    /// Puts an execution into the queue, in the reserved slot.
    #[must_use]
    pub(super) fn enter(mut self, id: ExecutionId, conversation: &str) -> Ticket {
        self.used = true;
        self.admission
            .enter(id, self.lane.as_deref(), conversation, false)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.used {
            self.admission
                .with(|inner| inner.queue.release_slot(self.lane.as_deref()));
        }
    }
}

impl Ticket {
    /// Returns whether the execution has its permit to run; then [`Ticket::permit`] returns
    /// immediately.
    pub(super) fn may_run(&mut self) -> bool {
        if self
            .permit
            .as_mut()
            .is_some_and(|permit| permit.try_recv().is_ok())
        {
            self.permit = None;
        }
        self.permit.is_none()
    }

    /// Waits until the execution may run. Waits forever if the queue is closed first. Cancel safe.
    pub async fn permit(&mut self) {
        if let Some(permit) = &mut self.permit {
            if permit.await.is_err() {
                std::future::pending::<()>().await;
            }
            self.permit = None;
        }
    }

    /// Reports that the CLI of this execution has started. Then another one may start: the number
    /// of CLIs that start at the same time is limited.
    pub fn started(&self) {
        self.admission.with(|inner| {
            inner.queue.started(self.id);
            inner.grant();
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.admission.with(|inner| {
            inner.waiting.remove(&self.id);
            inner.queue.leave(self.id);
            inner.grant();
        });
    }
}
