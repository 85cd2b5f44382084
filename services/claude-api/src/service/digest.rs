//! The SHA-256 of long outputs, added to the terminal status afterwards.

use std::sync::Arc;

use protocol::{ExecutionId, Status};
use tokio::sync::Semaphore;

use super::Service;
use crate::execution::ending::hex;
use crate::registry::Lookup;

/// Larger outputs that are hashed at once: each takes a thread, a core and memory, and nobody waits for it.
static DIGESTS: Semaphore = Semaphore::const_new(1);

/// Reads the output once more, beside everything else, and adds its SHA-256 to the status.
pub(crate) fn digest_later(service: &Arc<Service>, id: ExecutionId) {
    if !service.digesting.add(id) {
        return;
    }
    let service = Arc::clone(service);
    let background = Arc::clone(&service);
    background.background(async move {
        let place = tokio::select! {
            // Nobody waits for it: a stop does not either.
            biased;
            () = service.stopping() => return,
            place = DIGESTS.acquire() => place,
        };
        // Never closed.
        let Ok(_place) = place else { return };
        let made = tokio::select! {
            // A stop also drops the digest under way, after its current chunk.
            biased;
            () = service.stopping() => return,
            made = digest(&service, id) => made,
        };
        if let Err(error) = made {
            tracing::warn!(execution = %id, %error, "the SHA-256 was not recorded");
        }
        service.digesting.remove(id);
    });
}

/// Adds the SHA-256 to a terminal status, where all bytes are kept.
async fn digest(service: &Arc<Service>, id: ExecutionId) -> std::io::Result<()> {
    // The entry's files are open only during its turn.
    let opener = Arc::clone(service);
    let opened = spool::blocking::run_io(move || {
        let found = opener.engine.registry.find(id);
        found.map(Lookup::found).map_err(std::io::Error::other)
    });
    let Some(entry) = opened.await? else {
        return Ok(());
    };
    let Some(digest) = spool::sha256(&entry).await else {
        return Ok(());
    };
    let amending = Arc::clone(service);
    spool::blocking::run_io(move || {
        let add = |status: &mut Status| status.sha256 = Some(hex(digest));
        amending.engine.registry.amend(&entry, add)
    })
    .await
}

impl Service {
    /// Queues the SHA-256 of an ended output if a stop or a kill prevented it.
    pub(super) fn digest_if_missing(self: &Arc<Self>, status: &Status) {
        let all_kept = status.state.is_terminal() && status.kept_from == 0;
        if all_kept && status.sha256.is_none() && self.digesting.has_room() {
            digest_later(self, status.execution_id);
        }
    }
}
