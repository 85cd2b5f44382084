//! Places for streams.

use std::sync::Arc;

use protocol::{Problem, ProblemType};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for streams of outputs, events and statuses: three quarters of those for connections, so
/// that the rest is for short requests.
///
/// A stream takes one when it begins and gives it back at its end. Nobody waits: a stream without a
/// place is refused with 503 at once. A reader may be as slow as it likes: it holds its place, one
/// chunk and what the kernel buffers.
#[derive(Debug, Clone)]
pub(crate) struct Streams(Arc<Semaphore>);

impl Streams {
    pub(crate) fn new(connections: usize) -> Self {
        let places = (connections / 4 * 3).clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(places)))
    }

    /// Takes a place for one more stream.
    pub(crate) fn place(&self) -> Result<StreamPlace, Problem> {
        match Arc::clone(&self.0).try_acquire_owned() {
            Ok(permit) => Ok(StreamPlace { _permit: permit }),
            Err(_) => Err(Problem::new(
                ProblemType::TooManyStreams,
                "too many streams are open; close one, try again later, \
                 or ask for the status instead",
            )),
        }
    }
}

/// A stream's place, until dropped.
#[derive(Debug)]
pub(crate) struct StreamPlace {
    _permit: OwnedSemaphorePermit,
}
