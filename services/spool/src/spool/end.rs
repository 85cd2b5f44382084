//! Writing the terminal (final) status of an execution. This needs the [`Spool`], so code that only
//! holds an [`Entry`] cannot end an execution.

use std::io;

use crate::entry::Entry;
use crate::spool::Spool;

impl Spool {
    /// Writes the terminal (final) status `json` of an execution, and waits until it is on disk.
    /// Returns true if it was written, and false if the execution already had a terminal status,
    /// which then stays. Works on a full disk, because the status is overwritten in place. If no
    /// writer exists, readers of the output get its end.
    ///
    /// # Errors
    /// `InvalidInput` if `json` is longer than [`crate::STATUS_BYTES_MAX`], `NotFound` if the
    /// execution was deleted, or the error of the operating system. On an error the previous status
    /// stays.
    pub fn end(&self, entry: &Entry, json: &[u8]) -> io::Result<bool> {
        entry.write_end(json, false)
    }

    /// Writes a terminal (final) status even if the execution already has one. Used to add facts to
    /// a terminal status or to replace a damaged one.
    ///
    /// # Errors
    /// The same errors as [`Spool::end`].
    pub fn replace_end(&self, entry: &Entry, json: &[u8]) -> io::Result<()> {
        entry.write_end(json, true).map(|_| ())
    }
}
