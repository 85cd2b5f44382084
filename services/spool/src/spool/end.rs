//! Ends: the terminal status of an execution. Only the holder of the spool writes one; an entry
//! that was handed out cannot.

use std::io;

use crate::entry::Entry;
use crate::spool::Spool;

impl Spool {
    /// Writes the terminal status, in place, so that a full disk takes it; it is on disk when this
    /// returns. Readers of the entry end where there is no writer. Returns false when the entry
    /// has a terminal status already, which stays.
    ///
    /// # Errors
    /// `InvalidInput` over [`crate::STATUS_BYTES_MAX`] bytes, `NotFound` once deleted, or the
    /// disk's; the status before stands then.
    pub fn end(&self, entry: &Entry, json: &[u8]) -> io::Result<bool> {
        entry.write_end(json, false)
    }

    /// Writes the terminal status whether the entry has one or not: to add to an end, or to replace
    /// a damaged one.
    ///
    /// # Errors
    /// As [`Spool::end`].
    pub fn replace_end(&self, entry: &Entry, json: &[u8]) -> io::Result<()> {
        entry.write_end(json, true).map(|_| ())
    }
}
