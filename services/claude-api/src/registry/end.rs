//! Ends: the terminal status of an execution is written here alone.

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
    /// The execution had ended before: that end stands.
    EarlierStands,
}

/// An execution without an owner, as it is on disk.
pub struct Remains {
    /// Its files.
    pub entry: Entry,
    /// Its record.
    pub record: Record,
    /// A client's cancel of this execution, or of the one that it continues, was accepted.
    pub cancelled: bool,
}

/// The outcome of [`Registry::end_damaged`].
pub enum Mended {
    /// There is no such execution any more.
    Missing,
    /// It had ended, and its end is whole.
    Whole(Entry),
    /// It ended now, with this status.
    Ended(Entry, Box<Status>),
}

impl Registry {
    /// Records an end; it is on disk when this returns. The first end of an execution stands.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// The disk's: the execution has not ended then. `NotFound` once deleted.
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

    /// Adds to an end on disk. Blocks on it.
    ///
    /// # Errors
    /// The disk's, `NotFound` once deleted, `InvalidInput` while no end is on disk, or a status
    /// that cannot be understood.
    pub fn amend(&self, entry: &Entry, change: impl FnOnce(&mut Status)) -> io::Result<()> {
        let _alone = self.amending.lock().unwrap_or_else(PoisonError::into_inner);
        if !entry.is_terminal() {
            let early = "the status is not terminal yet";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, early));
        }
        let mut record = Record::decode(&entry.status()?).map_err(io::Error::other)?;
        change(&mut record.status);
        let json = Record::encode(&record.status, record.cli.as_ref(), self.status_bytes);
        self.spool.replace_end(entry, &json)
    }

    /// Ends an execution without an owner whose record is damaged, with the status that `end` makes
    /// of its remains. An end that is whole on disk stays. Blocks on the disk.
    ///
    /// # Errors
    /// The disk's, or that of `end`; the execution has not ended then.
    pub fn end_damaged(
        &self,
        id: ExecutionId,
        end: impl FnOnce(&Remains) -> io::Result<Status>,
    ) -> Result<Mended, RegistryError> {
        let _alone = self.amending.lock().unwrap_or_else(PoisonError::into_inner);
        let digest_of = |body: &[u8]| {
            let accepted: Accepted = serde_json::from_slice(body).ok()?;
            Some(accepted.body.digest())
        };
        let Some(entry) = self.spool.restore(id.uuid(), digest_of)? else {
            return Ok(Mended::Missing);
        };
        let json = entry.status().ok();
        let record = json.and_then(|json| Record::decode(&json).ok());
        let whole = record
            .as_ref()
            .is_some_and(|record| record.status.state.is_terminal());
        if entry.is_terminal() && whole {
            return Ok(Mended::Whole(entry));
        }
        let record = record.unwrap_or_else(|| Record {
            status: status_from_body(id, &entry),
            cli: None,
        });
        let cancelled = entry.cancel_noted().unwrap_or(false);
        let remains = Remains {
            entry,
            record,
            cancelled,
        };
        let status = end(&remains)?;
        let Remains { entry, record, .. } = remains;
        let json = Record::encode(&status, record.cli.as_ref(), self.status_bytes);
        if entry.is_terminal() {
            // Its end is there and cannot be understood.
            self.spool.replace_end(&entry, &json)?;
        } else if !self.spool.end(&entry, &json)? {
            // Another end came first.
            return Ok(Mended::Whole(entry));
        }
        Ok(Mended::Ended(entry, Box::new(status)))
    }
}

/// Builds a status for an execution that has none left: from its body, or empty when the body is
/// damaged too.
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
