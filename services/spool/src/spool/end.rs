//! Writing the terminal status of an execution. Only the holder of the spool can write one; the
//! holder of an entry cannot.

use std::io;

use crate::entry::Entry;
use crate::spool::Spool;

impl Spool {
    /// Writes the terminal (final) status of an execution; it is on disk when this returns. Works
    /// on a full disk, because the status is overwritten in place. Ends the execution's readers if
    /// it has no writer. Returns false if it already has a terminal status, which then stays.
    ///
    /// # Errors
    /// `InvalidInput` over [`crate::STATUS_BYTES_MAX`] bytes, `NotFound` once deleted, or the
    /// disk's. On an error the previous status stays.
    pub fn end(&self, entry: &Entry, json: &[u8]) -> io::Result<bool> {
        entry.write_end(json, false)
    }

    /// Writes a terminal (final) status even if the execution already has one: to add facts to it,
    /// or to replace a damaged one.
    ///
    /// # Errors
    /// As [`Spool::end`].
    pub fn replace_end(&self, entry: &Entry, json: &[u8]) -> io::Result<()> {
        entry.write_end(json, true).map(|_| ())
    }
}
