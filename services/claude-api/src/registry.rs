//! The registry decides, once for each id, what exists, who may start, and how an execution ended.
//!
//! - What exists: [`Registry::accept`] creates an execution, [`Registry::burn`] refuses an unknown
//!   id, [`Registry::delete`] and [`Registry::expire`] remove ended executions. Whoever accepts or
//!   burns an id holds its [`Turn`]. [`Registry::find`] and [`Registry::page`] read.
//! - Who may start: a [`Place`] is reserved before acceptance, and becomes a [`Ticket`] in the queue
//!   ([`Registry::admit`]). The ticket receives the permit once, and holds the lane, the
//!   conversation and the slot until it is dropped. A process starts only with a permit.
//! - How it ended: [`Registry::finish`] writes the terminal status, and the first one stands.
//!   [`Registry::amend`] adds to it later. [`Registry::end_damaged`] ends an execution whose record
//!   is damaged.
//!
//! The fields are private, and no other module holds the spool: nothing else can create, remove or
//! end an execution. Readers, owners and views of an execution get its [`spool::Entry`], which reads
//! everything and writes output, notes of cancels, and statuses before the end.
//!
//! What follows an end, and how often a failed write is retried, is decided by the service.
//!
//! Bounded things (turns and burned ids are described at their types):
//!
//! | | places in the queue | permits | simultaneous starts |
//! |---|---|---|---|
//! | taken | at a reservation | by the first in its lane and conversation while slots are free | with the permit |
//! | released | with the permit, or when it leaves the queue | with the ticket, when nothing of the execution is left | when the CLI has started, or with the ticket |
//! | who waits | nobody: a reservation in a full queue is refused with `queue-full` | executions, in the order accepted; one waits behind its lane and its conversation | executions, in the same order |
//! | the other direction | sends nothing | one message to the ticket | sends nothing |
//!
//! A registry that several machines share would answer the same questions from one store:
//! `reserve`, `admit` and `restore` (the permit), `accept`, `accept_next`, `burn`, `finish`, `amend`,
//! `end_damaged`, `delete`, `find`, `page` and `unfinished`. Each is one change or one read of a
//! record, and succeeds once or says who was first. A failure to reach the store is a [`Failure`],
//! never an answer. Turns, the lock of continuations, places of burned ids and the measured size
//! concern one process only; in a shared store the conditions of each change replace the turns.

mod accept;
mod admission;
mod burn;
mod burned;
mod end;
mod failure;
mod find;
mod queue;
pub mod record;
mod removal;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod turns;

pub use accept::{Admitted, Refused};
pub use admission::{Full, Place, Ticket};
pub use burn::NotBurned;
pub use end::{Finish, Mended, Remains};
pub use failure::Failure;
pub use find::{Lookup, NotListed, Page};
pub use removal::NotDeleted;
pub use turns::Turn;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use protocol::Limits;
use spool::{Spool, SpoolError, SpoolLimits};

use admission::Admission;
use burned::Burned;
use turns::Turns;

/// The most that a slot of the spool holds, bytes.
const SLOT_BYTES: usize = 64 * 1024;

/// The one place that decides; see the module's page.
pub struct Registry {
    /// The records of all executions on disk.
    spool: Spool,
    /// The queue.
    admission: Admission,
    /// The ids that were cancelled before they were accepted.
    burned: Burned,
    /// One acceptance or burn of an id at a time: two equal requests at once must meet.
    turns: Turns,
    /// One continuation by request at a time: nothing is continued twice.
    continuing: Arc<tokio::sync::Mutex<()>>,
    /// One change of a terminal status at a time. Held over its write; no await happens inside.
    amending: std::sync::Mutex<()>,
    /// The limit of a status in bytes.
    status_bytes: usize,
}

impl Registry {
    /// Opens the registry in a folder. Blocks on the disk. Returns warnings for the log, too.
    ///
    /// # Errors
    /// The spool cannot be used.
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
            burned: Burned::default(),
            turns: Turns::new(),
            continuing: Arc::default(),
            amending: std::sync::Mutex::default(),
            status_bytes: status_bytes.unwrap_or(usize::MAX).min(SLOT_BYTES),
        };
        Ok((registry, warnings))
    }

    /// The limit of a status in bytes.
    #[must_use]
    pub fn status_bytes(&self) -> usize {
        self.status_bytes
    }

    /// The bytes that all executions took on disk after the last pass of retention. Never waits for
    /// the disk.
    #[must_use]
    pub fn measured_bytes(&self) -> u64 {
        self.spool.measured_bytes()
    }

    /// Checks that the disk takes records, and has `need_bytes` free. Blocks on it.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check_writable(&self, need_bytes: u64) -> Result<(), String> {
        self.spool.check_writable(need_bytes)
    }
}
