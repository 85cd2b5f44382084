//! The SHA-256 of long outputs, added to the terminal status afterwards.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::ExecutionId;
use tokio::sync::Semaphore;

use super::Service;
use crate::blocking::blocking;
use crate::execution::ending::hex;

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
    let opened = blocking(move || {
        opener
            .engine
            .spool
            .get(id.uuid())
            .map_err(std::io::Error::other)
    });
    let Some(entry) = opened.await? else {
        return Ok(());
    };
    let Some(digest) = spool::sha256(&entry).await else {
        return Ok(());
    };
    let amending = Arc::clone(service);
    blocking(move || amending.amend(&entry, |status| status.sha256 = Some(hex(digest)))).await
}

/// The outputs that wait for their SHA-256 or are being hashed, each once.
///
/// - Taken when: an execution ends, always, at the cost of an id. A look at an old status takes a
///   place only while fewer than 64 are taken; otherwise the next look tries again. A place is
///   released when the digest is recorded or cannot be made.
/// - Who waits behind whom: outputs wait for one core, in order. No client waits for them.
/// - The other direction: a digest sends nothing.
#[derive(Debug, Default)]
pub(crate) struct Digesting(Mutex<HashSet<ExecutionId>>);

impl Digesting {
    /// Places that looks at old statuses may fill.
    const LOOKS: usize = 64;

    /// Adds an output; false when it already waits.
    fn add(&self, id: ExecutionId) -> bool {
        self.ids().insert(id)
    }

    fn remove(&self, id: ExecutionId) {
        self.ids().remove(&id);
    }

    /// Whether a look at an old status may add its output.
    pub(crate) fn has_room(&self) -> bool {
        self.ids().len() < Self::LOOKS
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<ExecutionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
