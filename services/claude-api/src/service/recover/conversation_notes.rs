//! Recovery of the notes of conversations that a power cut lost. A note is a small file with the
//! workspace of a conversation. The acceptance of an execution does not wait until the note is on
//! disk, but waits for the record of the execution, from which the note is rebuilt.

use jiff::SignedDuration;
use protocol::Status;

use super::Service;

/// How long before the newest acceptance a note may have been lost by a power cut. The kernel
/// writes files to disk after half a minute (proc_sys_vm(5), `dirty_expire_centisecs`); five
/// minutes are a margin for slow disks.
const UNWRITTEN: SignedDuration = SignedDuration::from_mins(5);
/// The number of executions that are read from the list at a time.
const PAGE: usize = 1000;

impl Service {
    /// Writes the notes of conversations that are missing for the executions that were accepted
    /// last. Runs at the start of the service. A failure is logged and not fatal: later requests
    /// that name such a conversation are refused as 404 `unknown-conversation`.
    pub(super) fn restore_conversation_notes(&self) {
        let mut before = None;
        let mut newest = None;
        loop {
            let page = match self.engine.registry.page(before, PAGE, None) {
                Ok(page) => page,
                Err(error) => {
                    return tracing::warn!(
                        %error,
                        "could not list executions to rebuild lost notes of conversations; \
                         requests for a conversation without a note are refused"
                    );
                }
            };
            for id in page.ids {
                let Ok(ownerless) = self.read_ownerless(id) else {
                    continue;
                };
                let status = ownerless.record.status;
                if status.created_at < *newest.get_or_insert(status.created_at) - UNWRITTEN {
                    return;
                }
                self.restore_conversation_note(&status);
            }
            before = page.next;
            if before.is_none() {
                return;
            }
        }
    }

    /// Writes the note of the conversation of this status if it is missing. A failure is logged.
    fn restore_conversation_note(&self, status: &Status) {
        if let Some(conversation) = &status.conversation
            && self.engine.conversations.find(conversation).is_none()
            && let Err(error) = self.engine.conversations.add(
                conversation,
                &status.workspace,
                status.principal.as_deref(),
            )
        {
            let execution = status.execution_id;
            tracing::warn!(
                %execution,
                %error,
                "could not write the note of a conversation; requests that name it are refused"
            );
        }
    }
}
