//! The queue: which execution may start now. A lane runs one execution at a time, in the order
//! accepted, and so does a conversation. One limit bounds running executions, another
//! simultaneous starts.

mod lanes;
mod parked;

use std::sync::{Arc, Mutex, PoisonError};

use protocol::{ExecutionId, Limits};
use tokio::sync::oneshot;

pub use lanes::Full;
use lanes::Lanes;

/// Hands out places in the queue and permits to run. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    // Every change is short and synchronous, and permits are sent while it is held so that their order is the
    // queue's: no await happens inside.
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    lanes: Lanes,
    waiting: std::collections::HashMap<ExecutionId, oneshot::Sender<()>>,
    closed: bool,
}

/// A place in the queue before the execution is on disk; dropped before it is used, it is free again.
#[derive(Debug)]
pub struct Place {
    admission: Admission,
    lane: Option<String>,
    used: bool,
}

/// A queued or permitted execution. Dropping it leaves the queue, or releases the permit, the lane
/// and the conversation.
#[derive(Debug)]
pub struct Ticket {
    admission: Admission,
    id: ExecutionId,
    permit: Option<oneshot::Receiver<()>>,
}

impl Admission {
    /// An empty queue.
    #[must_use]
    pub(super) fn new(limits: &Limits) -> Self {
        let inner = Inner {
            lanes: Lanes::new(limits),
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

    /// Reserves a place in the queue.
    ///
    /// # Errors
    /// The queue, or the lane's part of it, is full.
    pub(super) fn reserve(&self, lane: Option<&str>) -> Result<Place, Full> {
        self.with(|inner| inner.lanes.reserve(lane))?;
        Ok(Place {
            admission: self.clone(),
            lane: lane.map(str::to_owned),
            used: false,
        })
    }

    /// Puts an accepted execution into the queue, whatever the limits say now. One that is `parked`
    /// does not start before [`Ticket::unpark`].
    #[must_use]
    pub(super) fn restore(
        &self,
        id: ExecutionId,
        lane: Option<&str>,
        conversation: &str,
        parked: bool,
    ) -> Ticket {
        self.with(|inner| inner.lanes.reserve_anyway(lane));
        self.enter(id, lane, conversation, parked)
    }

    /// Takes a place even beyond the limits; dropping the place frees it.
    #[must_use]
    pub(super) fn reserve_anyway(&self) -> Place {
        self.with(|inner| inner.lanes.reserve_anyway(None));
        Place {
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
            inner.lanes.enter(id, lane, conversation);
            inner.lanes.park(id, parked);
            inner.waiting.insert(id, sender);
            inner.grant();
        });
        Ticket {
            admission: self.clone(),
            id,
            permit: Some(permit),
        }
    }

    /// No execution starts from here on; the queue stays.
    pub(super) fn close(&self) {
        self.with(|inner| inner.closed = true);
    }

    /// Whether it has no permit yet, also while it may not start before a time.
    #[must_use]
    pub(super) fn waits(&self, id: ExecutionId) -> bool {
        self.with(|inner| inner.lanes.waits(id))
    }

    /// How many wait before this one; `None` when it does not wait, or may not start yet.
    #[must_use]
    pub(super) fn position(&self, id: ExecutionId) -> Option<u64> {
        self.with(|inner| inner.lanes.position(id))
    }

    /// How many wait and how many run.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (u64, u64) {
        self.with(|inner| (inner.lanes.waiting(), inner.lanes.running()))
    }
}

impl Inner {
    fn grant(&mut self) {
        if self.closed {
            return;
        }
        for id in self.lanes.start() {
            if let Some(sender) = self.waiting.remove(&id) {
                // A receiver that is gone is a ticket about to be dropped: its Drop releases the
                // permit.
                let _ = sender.send(());
            }
        }
    }
}

impl Place {
    /// Enters the queue with this execution.
    #[must_use]
    pub(super) fn enter(mut self, id: ExecutionId, conversation: &str) -> Ticket {
        self.used = true;
        self.admission
            .enter(id, self.lane.as_deref(), conversation, false)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.used {
            self.admission
                .with(|inner| inner.lanes.give_back(self.lane.as_deref()));
        }
    }
}

impl Ticket {
    /// Whether it may run now; then [`Ticket::permit`] waits no more.
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

    /// Waits until the execution may run. Cancel safe; pends for ever once the queue is closed.
    pub async fn permit(&mut self) {
        if let Some(permit) = &mut self.permit {
            if permit.await.is_err() {
                std::future::pending::<()>().await;
            }
            self.permit = None;
        }
    }

    /// Releases the start: another execution may begin to start.
    pub fn started(&self) {
        self.admission.with(|inner| {
            inner.lanes.started(self.id);
            inner.grant();
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.admission.with(|inner| {
            inner.waiting.remove(&self.id);
            inner.lanes.leave(self.id);
            inner.grant();
        });
    }
}
