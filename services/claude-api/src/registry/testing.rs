//! Methods for the tests of this crate.

use spool::Entry;

use super::Registry;

impl Registry {
    /// Replaces the terminal status with any bytes.
    pub(crate) fn overwrite_end(&self, entry: &Entry, json: &[u8]) {
        self.spool.replace_end(entry, json).unwrap();
    }

    /// Returns the numbers of waiting and of running executions.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.admission.counts()
    }

    /// Returns the number of burned ids in memory.
    pub(crate) fn burned_ids(&self) -> usize {
        self.burned.ids().len()
    }
}
