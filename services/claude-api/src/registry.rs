//! The registry of all executions: which exist on disk, which may start now, and how each one
//! ended. All of these decisions are made here, once for each execution id.
//!
//! - Existence: [`Registry::accept`] creates an execution on disk. [`Registry::burn`] makes sure
//!   that an unknown id is refused for an hour. [`Registry::delete`] and [`Registry::expire`]
//!   remove ended executions. A client's id is accepted or burned only by the holder of its
//!   [`IdLock`]; a policy's continuation has a new random id and needs no lock. [`Registry::find`]
//!   and [`Registry::page`] read.
//! - Start: a [`Reservation`] of a slot in the queue is made before acceptance. [`Registry::admit`]
//!   turns it into a [`Ticket`], over which the execution gets its permit to run. The ticket holds
//!   the lane, the conversation and the permit until it is dropped. A process starts only with a
//!   permit.
//! - End: [`Registry::finish`] writes the terminal status. If there are two, the first one stays.
//!   [`Registry::amend`] changes it later. [`Registry::end_damaged`] ends an execution whose record
//!   is damaged.
//!
//! The fields are private, and no other module holds the spool (the folder of all records), so no
//! other code can create, remove or end an execution. Other modules get the [`spool::Entry`] of an
//! execution, which reads everything and writes output, notes of cancels, and statuses before the
//! end.
//!
//! The service, not the registry, decides what follows an end, and how often a failed write is
//! retried.
//!
//! These resources are bounded (id locks and burned ids are too, as their types describe):
//!
//! - Slots of the queue, one for each waiting execution. There are `queued`, of which one lane may
//!   use `queuedPerLane`. A restart and a policy's continuation acquire a slot even beyond these
//!   limits. The slot is released when the execution gets its permit or leaves the queue. If the
//!   queue is full, a request is refused immediately and does not wait.
//! - Permits to run, at most `runningExecutions`. An execution acquires a permit when it is the
//!   first of its lane and of its conversation, and releases it with the ticket, when none of its
//!   processes is left. Executions wait in the order of acceptance.
//! - Simultaneous starts of CLIs, at most `simultaneousStarts`. A start is acquired together with
//!   the permit, and released when the CLI has started or the ticket is dropped. Executions wait in
//!   the same order.
//!
//! A registry that several machines share would answer these methods from one store: `reserve`,
//! `admit` and `restore` (the permit), `accept`, `accept_continuation`, `burn`, `finish`, `amend`,
//! `end_damaged`, `delete`, `expire`, `find`, `page` and `unfinished`. Each of them is a read, or a
//! change that succeeds once. If the store cannot be reached, the result is a [`RegistryError`],
//! never an answer. Id locks, the lock of continuations and the checks of the disk concern one
//! process; in a shared store, the condition of each change replaces the locks.

mod accept;
mod admission;
mod burn;
mod burned_ids;
mod end;
mod error;
mod find;
mod id_locks;
pub mod record;
mod removal;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use accept::{Admitted, NotAccepted};
pub use admission::{QueueFull, Reservation, Ticket};
pub use burn::NotBurned;
pub use end::{DamageOutcome, Finish, Ownerless};
pub use error::RegistryError;
pub use find::{Lookup, NotListed, Page};
pub use id_locks::IdLock;
pub use removal::NotDeleted;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ExecutionId, Limits};
use spool::{Owner, Spool, SpoolError, SpoolLimits};

use admission::Admission;
use burned_ids::BurnedIds;
use id_locks::IdLocks;
use record::Accepted;

/// The largest size that a status as JSON may have, in bytes, whatever the setting. The file of an
/// execution reserves 72 KiB for a status, and the identity of the CLI's process must also fit
/// there.
const STATUS_BYTES_MAX: usize = 64 * 1024;

/// The owner of all records of executions on disk, and of the queue. It decides which executions
/// exist, which may start, and how each one ended. See the module for the rules.
pub struct Registry {
    /// The folder on disk with the records and outputs of all executions.
    spool: Spool,
    /// The queue, which decides which execution may start now, by lanes, conversations and limits.
    admission: Admission,
    /// The ids that were cancelled before they were accepted, and are refused for an hour.
    burned: BurnedIds,
    /// The locks that let one task at a time accept or burn an id. With them, the second of two
    /// equal requests finds the execution that the first one created.
    id_locks: IdLocks,
    /// The lock that lets one request at a time continue an ended execution, so none is continued
    /// twice.
    continuations: Arc<tokio::sync::Mutex<()>>,
    /// The lock that lets one thread at a time change a terminal status, so no change overwrites
    /// another. Held during the write to disk; no await happens inside.
    amending: std::sync::Mutex<()>,
    /// The maximum size of a status as JSON, in bytes: `statusBytes`, and never over 64 KiB.
    status_bytes: usize,
}

impl Registry {
    /// Opens the records in the folder `dir`, with the sizes and times in `limits`, and an empty
    /// queue. Returns the registry with warnings for the log, one text each. Blocks on the disk.
    ///
    /// # Errors
    /// The folder cannot be created, locked, read or written.
    pub fn open(dir: &Path, limits: &Limits) -> Result<(Self, Vec<String>), SpoolError> {
        let spool_limits = SpoolLimits {
            kept_bytes: limits.kept_bytes,
            kept_lines: limits.kept_lines,
            events_bytes: limits.events_bytes,
            retention: Duration::from_millis(limits.retention_ms),
            retention_bytes: limits.retention_bytes,
        };
        let (spool, warnings) = Spool::open(dir, spool_limits)?;
        let status_bytes = usize::try_from(limits.status_bytes);
        let registry = Self {
            spool,
            admission: Admission::new(limits),
            burned: BurnedIds::default(),
            id_locks: IdLocks::new(),
            continuations: Arc::default(),
            amending: std::sync::Mutex::default(),
            status_bytes: status_bytes.unwrap_or(usize::MAX).min(STATUS_BYTES_MAX),
        };
        Ok((registry, warnings))
    }

    /// Returns the maximum size of a status as JSON, in bytes. A longer status is shortened to it.
    #[must_use]
    pub fn status_bytes(&self) -> usize {
        self.status_bytes
    }

    /// Returns how many bytes on disk all executions used when retention last measured them, which
    /// happens every minute. Never waits for the disk.
    #[must_use]
    pub fn measured_bytes(&self) -> u64 {
        self.spool.measured_bytes()
    }

    /// Returns how many bytes could still be written to the spool's disk when it was last checked.
    /// Never waits for the disk.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.spool.free_bytes()
    }

    /// Checks that records can be written to the disk, and that `need_bytes` are free there. Used
    /// by the health checks. Blocks on the disk.
    ///
    /// # Errors
    /// The reason why the check failed, as a text for the operator.
    pub fn check_writable(&self, need_bytes: u64) -> Result<(), String> {
        self.spool.check_writable(need_bytes)
    }

    /// Reserves a slot of the queue for an execution of `owner` in `lane`, before the execution is
    /// on disk: an accepted execution then always has a slot. For `None`, no lane, only the limits
    /// of the whole queue and of the owner count. Dropping the reservation releases the slot.
    ///
    /// # Errors
    /// The whole queue, or the owner's or the lane's part of it, is full. Requests do not wait for
    /// a slot.
    pub fn reserve(&self, owner: Owner, lane: Option<&str>) -> Result<Reservation, QueueFull> {
        self.admission.reserve(owner, lane)
    }

    /// Sets the maximum number of running executions of each owner that has such a limit. A lower
    /// limit than before ends no running execution.
    pub fn set_running_limits(&self, limits: std::collections::HashMap<Owner, u64>) {
        self.admission.set_running_limits(limits);
    }

    /// Puts an execution that is on disk already into the queue, even beyond the queue's limits:
    /// used after a restart, and for a policy's continuation. If `parked` is true, the execution
    /// does not start before [`Ticket::unpark`].
    #[must_use]
    pub fn restore(&self, id: ExecutionId, accepted: &Accepted, parked: bool) -> Ticket {
        let lane = accepted.body.lane.as_deref();
        let conversation = &accepted.conversation;
        self.admission
            .restore(id, accepted.owner(), lane, conversation, parked)
    }

    /// Stops the queue from starting executions, because the service stops. Waiting executions stay
    /// in the queue and on disk; the next start of the service queues them again.
    pub fn close(&self) {
        self.admission.close();
    }

    /// Returns whether an execution still waits in the queue. False once it has its permit to run,
    /// and for an unknown id. A parked execution, which may not start yet, counts as waiting.
    #[must_use]
    pub fn waits(&self, id: ExecutionId) -> bool {
        self.admission.waits(id)
    }

    /// Returns how many waiting executions are ahead of this one in the queue, 0 for the first.
    /// `None` if it does not wait, or if it is parked until a later time.
    #[must_use]
    pub fn position(&self, id: ExecutionId) -> Option<u64> {
        self.admission.position(id)
    }

    /// Waits until no other task accepts or burns this id, then locks the id until the result is
    /// dropped. Cancel safe: a dropped future holds no lock.
    pub async fn lock_id(&self, id: ExecutionId) -> IdLock {
        self.id_locks.lock(id).await
    }

    /// Waits until all acceptances and burns that are in progress now have finished. A stop of the
    /// service uses it, so that no execution is left without an owner. Cancel safe.
    pub async fn wait_for_id_locks(&self) {
        self.id_locks.wait_for_all().await;
    }
}
