//! The progress of a request's body, which its reader and the record of the request share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::request::refusal::Refusal;
use crate::usage::estimate::Sent;

/// The upload of one body. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Upload(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// A lock, because the connections of the client and of the API run in different tasks. It is
    /// held for a change of plain values, never across an await.
    progress: Mutex<Progress>,
    /// Cancelled when the whole body was forwarded.
    whole: CancellationToken,
}

#[derive(Debug, Default)]
struct Progress {
    sent: Sent,
    /// The mistake of the client that ended the upload.
    failure: Option<Refusal>,
}

impl Upload {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        let progress = self.0.progress.lock();
        progress.unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a piece of the body is forwarded.
    pub fn pass(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let mut progress = self.progress();
        progress.sent.bytes = progress.sent.bytes.saturating_add(bytes);
    }

    /// Records that the body is whole, and what it asks for.
    pub fn finish(&self, model: Option<String>, is_fast: bool) {
        let mut progress = self.progress();
        progress.sent.model = model;
        progress.sent.is_fast = is_fast;
        drop(progress);
        self.0.whole.cancel();
    }

    /// Records a mistake of the client. The first one counts.
    pub fn fail(&self, refusal: Refusal) {
        self.progress().failure.get_or_insert(refusal);
    }

    /// Returns the mistake of the client. `None` if there was none.
    #[must_use]
    pub fn failure(&self) -> Option<Refusal> {
        self.progress().failure.clone()
    }

    /// Returns what was forwarded so far.
    #[must_use]
    pub fn sent(&self) -> Sent {
        self.progress().sent.clone()
    }

    /// Returns whether the whole body was forwarded.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.whole.is_cancelled()
    }

    /// Waits until the whole body was forwarded. Cancel-safe.
    pub async fn whole(&self) {
        self.0.whole.cancelled().await;
    }
}
