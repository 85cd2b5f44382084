//! Notes of conversations that a power cut took: an acceptance does not wait for them, but their executions are on disk.

use jiff::SignedDuration;
use protocol::Status;

use super::Service;

/// How long before the last acceptance a note may have been written that is not on disk: the kernel writes back after half a
/// minute (proc_sys_vm(5), `dirty_expire_centisecs`).
const UNWRITTEN: SignedDuration = SignedDuration::from_mins(5);
/// Executions looked at together.
const PAGE: usize = 1000;

impl Service {
    /// Writes again the notes that are missing of those accepted last. What fails is no more than a conversation that is
    /// unknown to who wants to go on in it.
    pub(super) fn mend_notes(&self) {
        let mut before = None;
        let mut newest = None;
        loop {
            let page = match self.engine.registry.page(before, PAGE) {
                Ok(page) => page,
                Err(error) => {
                    return tracing::warn!(%error, "notes of conversations are not looked at");
                }
            };
            for id in page.ids {
                let Ok(found) = self.remains(id) else {
                    continue;
                };
                let status = found.record.status;
                if status.created_at < *newest.get_or_insert(status.created_at) - UNWRITTEN {
                    return;
                }
                self.mend_note(&status);
            }
            before = page.next;
            if before.is_none() {
                return;
            }
        }
    }

    fn mend_note(&self, status: &Status) {
        if let Some(conversation) = &status.conversation
            && self.engine.conversations.workspace(conversation).is_none()
            && let Err(error) = self
                .engine
                .conversations
                .add(conversation, &status.workspace)
        {
            tracing::warn!(execution = %status.execution_id, %error, "the conversation's note was not written");
        }
    }
}
