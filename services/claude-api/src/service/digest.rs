//! The SHA-256 of long outputs. Hashing a long output would delay the end of its execution, so a
//! background task computes it later and adds it to the terminal status.

use std::sync::Arc;

use protocol::{ExecutionId, Status};
use tokio::sync::Semaphore;

use super::Service;
use crate::execution::ending::hex;
use crate::registry::Lookup;

/// The permit to hash an output, of which there is one: each hash uses a thread, a core and memory,
/// and no client waits for it.
static DIGESTS: Semaphore = Semaphore::const_new(1);

/// Computes the SHA-256 of an ended execution's output in the background, and adds it to the
/// terminal status. Does nothing if the output is in the queue already. A stop of the service drops
/// the work; the next read of the status queues it again. A failure is logged.
pub(crate) fn digest_later(service: &Arc<Service>, id: ExecutionId) {
    if !service.digest_queue.add(id) {
        return;
    }
    let service = Arc::clone(service);
    let background = Arc::clone(&service);
    background.background(async move {
        let permit = tokio::select! {
            // A stop does not wait for digests.
            biased;
            () = service.stopping() => return,
            permit = DIGESTS.acquire() => permit,
        };
        // The semaphore is never closed.
        let Ok(_permit) = permit else { return };
        let result = tokio::select! {
            // A stop also drops the digest in progress, after its current chunk.
            biased;
            () = service.stopping() => return,
            result = digest(&service, id) => result,
        };
        if let Err(error) = result {
            tracing::warn!(
                execution = %id,
                %error,
                "could not add the SHA-256 of an output to its status; the next read of the \
                 status retries"
            );
        }
        service.digest_queue.remove(id);
    });
}

/// Computes the SHA-256 of an ended execution's output and adds it to the terminal status. Does
/// nothing if the execution was deleted, or if bytes of its output are no longer kept. Fails after
/// a disk error.
async fn digest(service: &Arc<Service>, id: ExecutionId) -> std::io::Result<()> {
    // Opened only now: a waiting output holds no open files.
    let opener = Arc::clone(service);
    let opened = spool::blocking::run_io(move || {
        let found = opener.engine.registry.find(id);
        found
            .map(Lookup::into_option)
            .map_err(std::io::Error::other)
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
    /// Queues the computation of an output's SHA-256 if the terminal `status` lacks it, for example
    /// because the service was stopped too early. Does nothing if bytes of the output are no longer
    /// kept, or if many outputs wait already; a later read of the status tries again.
    pub(super) fn digest_if_missing(self: &Arc<Self>, status: &Status) {
        let all_kept = status.state.is_terminal() && status.kept_from == 0;
        if all_kept && status.sha256.is_none() && self.digest_queue.has_room() {
            digest_later(self, status.execution_id);
        }
    }
}
