//! The queue of executions, which decides which one may start now.
//!
//! Executions of one lane run one at a time, in the order of acceptance; a lane is a queue of its
//! own that clients choose by name. Executions of one conversation also run one at a time. Two
//! limits apply to all of them: the number that run, and the number of CLIs that start at the same
//! time.

mod parked;
mod queue;

use std::sync::{Arc, Mutex, PoisonError};

use protocol::{ExecutionId, Limits};
use spool::Owner;
use tokio::sync::oneshot;

use queue::Queue;
pub use queue::QueueFull;

/// A handle to the queue of executions, which issues reservations of slots and permits to run.
/// Clones share one queue.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    // A lock, because every change is short and synchronous. Permits are sent while it is held, in
    // the order of the queue. No await happens inside.
    inner: Arc<Mutex<Inner>>,
}

/// The state behind the lock: the queue, and for each waiting execution the channel over which it
/// gets its permit to run.
#[derive(Debug)]
struct Inner {
    queue: Queue,
    waiting: std::collections::HashMap<ExecutionId, oneshot::Sender<()>>,
    /// Whether the queue has stopped granting permits, because the service stops.
    closed: bool,
}

/// A reserved slot of the queue, for an execution or a burned id that is not on disk yet. It is
/// made first, so an accepted execution always has a slot. Dropping an unused reservation releases
/// the slot.
#[derive(Debug)]
pub struct Reservation {
    admission: Admission,
    /// The owner whose limit the slot counts against.
    owner: Owner,
    /// The lane whose limit the slot counts against; `None` if there is no lane.
    lane: Option<String>,
    /// Whether an execution has entered the queue in this slot. Otherwise a drop releases the slot.
    used: bool,
}

/// The membership of an execution in the queue, and later its permit to run. Dropping it removes
/// the execution from the queue; a running execution frees its permit, lane and conversation for
/// others.
#[derive(Debug)]
pub struct Ticket {
    admission: Admission,
    id: ExecutionId,
    /// The channel over which the permit to run arrives; `None` once it has arrived.
    permit: Option<oneshot::Receiver<()>>,
}

impl Admission {
    /// Creates an empty queue with the sizes in `limits`.
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

    /// Runs `act` on the state of the queue while holding its lock.
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reserves a slot of the queue for an execution of `owner` in `lane`. For `None`, no lane,
    /// only the limits of the whole queue and of the owner count.
    ///
    /// # Errors
    /// The whole queue, or the owner's or the lane's part of it, is full.
    pub(super) fn reserve(
        &self,
        owner: Owner,
        lane: Option<&str>,
    ) -> Result<Reservation, QueueFull> {
        self.with(|inner| inner.queue.reserve(owner, lane))?;
        Ok(Reservation {
            admission: self.clone(),
            owner,
            lane: lane.map(str::to_owned),
            used: false,
        })
    }

    /// Puts an execution that is on disk already into the queue, even beyond the queue's limits. If
    /// `parked` is true, the execution does not start before [`Ticket::unpark`].
    #[must_use]
    pub(super) fn restore(
        &self,
        id: ExecutionId,
        owner: Owner,
        lane: Option<&str>,
        conversation: &str,
        parked: bool,
    ) -> Ticket {
        self.with(|inner| inner.queue.reserve_beyond_limits(owner, lane));
        self.enter(id, owner, lane, conversation, parked)
    }

    /// Reserves a slot of the queue even if the queue is full, for a burned id that is on disk
    /// already.
    #[must_use]
    pub(super) fn reserve_beyond_limits(&self, owner: Owner) -> Reservation {
        self.with(|inner| inner.queue.reserve_beyond_limits(owner, None));
        Reservation {
            admission: self.clone(),
            owner,
            lane: None,
            used: false,
        }
    }

    fn enter(
        &self,
        id: ExecutionId,
        owner: Owner,
        lane: Option<&str>,
        conversation: &str,
        parked: bool,
    ) -> Ticket {
        let (sender, permit) = oneshot::channel();
        self.with(|inner| {
            inner.queue.enter(id, owner, lane, conversation);
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

    /// Sets the maximum number of running executions of each owner that has such a limit. Starts
    /// the executions that may start now.
    pub(super) fn set_running_limits(&self, limits: std::collections::HashMap<Owner, u64>) {
        self.with(|inner| {
            inner.queue.set_running_limits(limits);
            inner.grant();
        });
    }

    /// Stops the queue from starting executions, because the service stops. Waiting executions stay
    /// in the queue.
    pub(super) fn close(&self) {
        self.with(|inner| inner.closed = true);
    }

    /// Returns whether an execution still waits in the queue. False once it has its permit to run,
    /// and for an unknown id. A parked execution, which may not start yet, counts as waiting.
    #[must_use]
    pub(super) fn waits(&self, id: ExecutionId) -> bool {
        self.with(|inner| inner.queue.waits(id))
    }

    /// Returns how many waiting executions are ahead of this one in the queue, 0 for the first.
    /// `None` if it does not wait, or if it is parked until a later time.
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
    /// Sends the permit to run to each waiting execution that may start now. Does nothing once the
    /// queue is closed.
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
    /// Turns the reservation into a place in the queue for the execution `id`, which starts once
    /// the limits, its lane and its `conversation` permit.
    #[must_use]
    pub(super) fn enter(mut self, id: ExecutionId, conversation: &str) -> Ticket {
        self.used = true;
        self.admission
            .enter(id, self.owner, self.lane.as_deref(), conversation, false)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.used {
            self.admission
                .with(|inner| inner.queue.release_slot(self.owner, self.lane.as_deref()));
        }
    }
}

impl Ticket {
    /// Returns whether the execution may run now, without waiting. If true, [`Ticket::permit`]
    /// returns immediately.
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

    /// Waits until the execution may run. If the queue was closed for a stop of the service, this
    /// waits forever. Cancel safe: a later call still gets the permit.
    pub async fn permit(&mut self) {
        if let Some(permit) = &mut self.permit {
            if permit.await.is_err() {
                std::future::pending::<()>().await;
            }
            self.permit = None;
        }
    }

    /// Reports to the queue that the CLI of this execution has started. The queue may then start
    /// another one: the number of CLIs that start at the same time is limited.
    pub fn started(&self) {
        self.admission.with(|inner| {
            inner.queue.started(self.id);
            inner.grant();
        });
    }

    /// Reports to the queue whether this execution waits for a person or for a message. While it
    /// does, another one may run in its place; its lane and its conversation stay occupied.
    pub fn set_waiting(&self, waits: bool) {
        self.admission.with(|inner| {
            inner.queue.set_waiting(self.id, waits);
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
