//! The ends of executions. This is the only code that writes a terminal status to disk.

use std::io;
use std::sync::PoisonError;

use jiff::Timestamp;
use protocol::body::DEFAULT_WORKSPACE;
use protocol::{ExecutionId, Status};
use spool::Entry;

use super::Registry;
use super::error::RegistryError;
use super::record::{Accepted, CliProcess, Record, first_status};
use crate::times::now;

/// The result of writing a terminal status with [`Registry::finish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Finish {
    /// The terminal status was written to disk.
    Recorded,
    /// The execution already had a terminal status on disk. It stays, and the new one was not
    /// written.
    EarlierStands,
}

/// An execution that no task runs, as read from the disk: for example one that was running when the
/// service was killed.
pub struct Ownerless {
    /// The execution's files on disk.
    pub entry: Entry,
    /// The newest status that could be read, with the process of the CLI if it had started.
    pub record: Record,
    /// Whether a client had cancelled this execution, or the execution that it continues.
    pub cancelled: bool,
}

/// The result of ending an execution with a damaged record ([`Registry::end_damaged`]).
pub enum DamageOutcome {
    /// The execution has no files any more: it was deleted.
    Missing,
    /// The execution had ended, and its terminal status can be read. Nothing was changed.
    Intact(Entry),
    /// The execution was ended now, with this terminal status.
    Ended(Entry, Box<Status>),
}

impl Registry {
    /// Writes the terminal status of an execution, which is on disk when this returns. If the
    /// execution has one already, that one stays and the new one is not written. `cli` identifies
    /// the CLI's process; `None` if it never started. Blocks on the disk.
    ///
    /// # Errors
    /// A disk error: the execution has no terminal status then, and the call may be repeated. The
    /// kind `NotFound` means that the execution was deleted.
    pub fn finish(
        &self,
        entry: &Entry,
        status: &Status,
        cli: Option<&CliProcess>,
    ) -> io::Result<Finish> {
        let json = Record::encode(status, cli, self.status_bytes);
        Ok(match self.spool.end(entry, &json)? {
            true => Finish::Recorded,
            false => Finish::EarlierStands,
        })
    }

    /// Changes the terminal status of an ended execution with `change`. Used for facts that are
    /// known only after the end, such as the SHA-256 of a long output. Blocks on the disk.
    ///
    /// # Errors
    /// A disk error; `NotFound` after a deletion; `InvalidInput` if the execution has no terminal
    /// status on disk; any other kind if the status on disk cannot be parsed.
    pub fn amend(&self, entry: &Entry, change: impl FnOnce(&mut Status)) -> io::Result<()> {
        let _amending = self.amending.lock().unwrap_or_else(PoisonError::into_inner);
        if !entry.is_terminal() {
            let message = "the status is not terminal yet";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut record = Record::decode(&entry.status()?).map_err(io::Error::other)?;
        change(&mut record.status);
        let json = Record::encode(&record.status, record.cli.as_ref(), self.status_bytes);
        self.spool.replace_end(entry, &json)
    }

    /// Ends an execution that no task runs and whose record on disk is damaged. Without this, its
    /// clients would wait for an end forever. Its files are repaired as far as possible, then `end`
    /// computes the terminal status from the readable parts. A terminal status that can be read
    /// stays. Blocks on the disk.
    ///
    /// # Errors
    /// A disk error, or the error of `end`. The execution has not ended then.
    pub fn end_damaged(
        &self,
        id: ExecutionId,
        end: impl FnOnce(&Ownerless) -> io::Result<Status>,
    ) -> Result<DamageOutcome, RegistryError> {
        let _amending = self.amending.lock().unwrap_or_else(PoisonError::into_inner);
        let digest_of = |body: &[u8]| {
            let accepted: Accepted = serde_json::from_slice(body).ok()?;
            Some(accepted.body.digest())
        };
        let Some(entry) = self.spool.restore(id.uuid(), digest_of)? else {
            return Ok(DamageOutcome::Missing);
        };
        let json = entry.status().ok();
        let record = json.and_then(|json| Record::decode(&json).ok());
        let intact = record
            .as_ref()
            .is_some_and(|record| record.status.state.is_terminal());
        if entry.is_terminal() && intact {
            return Ok(DamageOutcome::Intact(entry));
        }
        let record = record.unwrap_or_else(|| Record {
            status: status_from_body(id, &entry),
            cli: None,
        });
        let cancelled = entry.is_cancel_noted().unwrap_or(false);
        let remains = Ownerless {
            entry,
            record,
            cancelled,
        };
        let status = end(&remains)?;
        let Ownerless { entry, record, .. } = remains;
        let json = Record::encode(&status, record.cli.as_ref(), self.status_bytes);
        if entry.is_terminal() {
            // Its end is on disk but cannot be parsed.
            self.spool.replace_end(&entry, &json)?;
        } else if !self.spool.end(&entry, &json)? {
            // Another end was recorded first.
            return Ok(DamageOutcome::Intact(entry));
        }
        Ok(DamageOutcome::Ended(entry, Box::new(status)))
    }
}

/// Builds a status for an execution that has no readable status on disk. It uses the accepted
/// request, or only `id` and the default workspace if the request is damaged too.
fn status_from_body(id: ExecutionId, entry: &Entry) -> Status {
    let accepted = entry
        .body()
        .ok()
        .and_then(|json| serde_json::from_slice::<Accepted>(&json).ok());
    let mut status = match accepted {
        Some(accepted) => first_status(id, &accepted),
        None => Status::queued(id, now(), DEFAULT_WORKSPACE.to_owned()),
    };
    let accepted_at = entry
        .file_time()
        .and_then(|time| Timestamp::try_from(time).ok())
        .and_then(|time| Timestamp::from_millisecond(time.as_millisecond()).ok());
    if let Some(time) = accepted_at {
        status.created_at = time;
    }
    status
}
