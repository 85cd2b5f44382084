//! What tests of this crate need beside the interface.

use spool::Entry;

use super::Registry;

impl Registry {
    /// Writes a terminal status of any form.
    pub(crate) fn end_as(&self, entry: &Entry, json: &[u8]) {
        self.spool.replace_end(entry, json).unwrap();
    }

    /// The number of executions that wait, and that run.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.admission.counts()
    }

    /// The number of burned ids in memory.
    pub(crate) fn burned_ids(&self) -> usize {
        self.burned.ids().len()
    }
}
