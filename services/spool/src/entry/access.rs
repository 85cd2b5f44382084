//! Who may use an execution: its owner and its shares.

use std::io;

use super::Entry;
use crate::owner::Owner;

impl Entry {
    /// Returns the owner with which the execution was accepted. [`Owner::UNKNOWN`] if the record
    /// and the index row were damaged. Never touches the disk.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.header().owner
    }

    /// Reads the shares of the execution, as the bytes that were written. Empty if it has none.
    ///
    /// # Errors
    /// `InvalidData` if the shares are damaged; they then open nothing until
    /// [`Entry::write_shares`] replaces them. `NotFound` if the execution was deleted, or the error
    /// of the operating system.
    pub fn shares(&self) -> io::Result<Vec<u8>> {
        self.ensure_not_deleted()?;
        self.inner.store.shares(self.id())
    }

    /// Replaces the shares of the execution, and waits until they are on disk. A reader gets the
    /// old shares or the new ones, and so does the next start after a crash. Needs free disk space,
    /// unlike a status; only removing all shares works on a full disk. Two calls take turns, but
    /// the caller must order its own reads and writes.
    ///
    /// # Errors
    /// `InvalidInput` if the shares are longer than [`crate::SHARES_BYTES_MAX`], `NotFound` if the
    /// execution was deleted, or the error of the operating system. On an error the old shares
    /// stay, or the new ones may not survive a power cut.
    pub fn write_shares(&self, shares: &[u8]) -> io::Result<()> {
        let store = &self.inner.store;
        // A deletion of the execution has either finished before the write, or begins after it.
        let _busy = store.hold(self.id());
        self.ensure_not_deleted()?;
        store.write_shares(self.id(), shares)
    }
}
