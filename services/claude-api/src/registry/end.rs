//! Ends: the only code that writes the terminal status of an execution.

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

/// The outcome of [`Registry::finish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Finish {
    /// The end is on disk.
    Recorded,
    /// The execution had ended before: the earlier end stands.
    EarlierStands,
}

/// An execution that no task runs, for example after a restart, as read from the disk.
pub struct Ownerless {
    /// The files of the execution.
    pub entry: Entry,
    /// The newest readable status, with the identity of the CLI's process.
    pub record: Record,
    /// Whether a client's cancel was accepted, of this execution or of the one that it continues.
    pub cancelled: bool,
}

/// The outcome of [`Registry::end_damaged`].
pub enum DamageOutcome {
    /// The execution does not exist any more.
    Missing,
    /// The execution had ended, and its end is intact.
    Intact(Entry),
    /// The execution was ended, with this status.
    Ended(Entry, Box<Status>),
}

impl Registry {
    /// Writes the terminal status of an execution; it is on disk when this returns. If the
    /// execution has ended already, the earlier end stands and nothing is written. `cli` is the
    /// identity of the CLI's process, if it started. Blocks on the disk.
    ///
    /// # Errors
    /// A disk error: the execution has not ended then. `NotFound` after a deletion.
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

    /// Applies `change` to the terminal status of an ended execution, for facts that are known only
    /// after the end, such as the SHA-256 of the output. Blocks on the disk.
    ///
    /// # Errors
    /// A disk error, `NotFound` after a deletion, `InvalidInput` while no end is on disk, or a
    /// status that cannot be parsed.
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

    /// Ends an execution that no task runs and whose record is damaged. Its files are repaired as
    /// far as possible, and `end` computes the terminal status from what can be read. An end that
    /// is intact on disk stands. Blocks on the disk.
    ///
    /// # Errors
    /// A disk error, or that of `end`; the execution has not ended then.
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

/// Builds a status for an execution whose statuses are all damaged: from its body, or an empty one
/// when the body is damaged too.
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
