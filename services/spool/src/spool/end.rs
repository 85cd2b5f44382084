//! Writing the terminal status of an execution. Only the holder of the spool can write one; the
//! holder of an entry cannot.

use std::io;

use crate::entry::Entry;
use crate::spool::Spool;

impl Spool {
    /// Writes the terminal status; it is on disk when this returns. The write is in place, so it
    /// works on a full disk. Ends the entry's readers if there is no writer. Returns false if the
    /// entry already has a terminal status, which stays.
    ///
    /// # Errors
    /// `InvalidInput` over [`crate::STATUS_BYTES_MAX`] bytes, `NotFound` once deleted, or the
    /// disk's. On an error the previous status stays.
    pub fn end(&self, entry: &Entry, json: &[u8]) -> io::Result<bool> {
        entry.write_end(json, false)
    }

    /// Writes a terminal status even if the entry has one: to add facts to it, or to replace a
    /// damaged one.
    ///
    /// # Errors
    /// As [`Spool::end`].
    pub fn replace_end(&self, entry: &Entry, json: &[u8]) -> io::Result<()> {
        entry.write_end(json, true).map(|_| ())
    }
}
