//! The limit of open streams, over which clients follow outputs, events and statuses.

use std::sync::Arc;

use protocol::{Problem, ProblemType};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The permits for streams of outputs, events and statuses: three quarters of the connections. The
/// rest of the connections is for short requests.
///
/// A stream acquires a permit when it begins and releases it at its end. No request waits: a stream
/// without a permit is refused with 503 immediately. A slow reader has no time limit. It holds its
/// permit, one chunk, and the data that the kernel buffers.
#[derive(Debug, Clone)]
pub(crate) struct Streams(Arc<Semaphore>);

impl Streams {
    pub(crate) fn new(connections: usize) -> Self {
        let permits = (connections / 4 * 3).clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(permits)))
    }

    /// Acquires the permit for one more stream.
    ///
    /// # Errors
    /// `too-many-streams` if all permits are held.
    pub(crate) fn permit(&self) -> Result<StreamPermit, Problem> {
        match Arc::clone(&self.0).try_acquire_owned() {
            Ok(permit) => Ok(StreamPermit { _permit: permit }),
            Err(_) => Err(Problem::new(
                ProblemType::TooManyStreams,
                "too many streams are open; close one, try again later, \
                 or ask for the status instead",
            )),
        }
    }
}

/// The permit of one stream, released when dropped.
#[derive(Debug)]
pub(crate) struct StreamPermit {
    _permit: OwnedSemaphorePermit,
}
