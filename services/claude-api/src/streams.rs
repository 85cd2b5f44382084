//! The limit of open HTTP streams, over which clients follow outputs, events and statuses.

use std::sync::Arc;

use protocol::{Problem, ProblemType};
use spool::Owner;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::owner_shares::{OwnerShare, OwnerShares};

/// The permits for open HTTP streams of outputs, events and statuses. Three quarters of the maximum
/// number of connections may be streams; the other quarter stays free for short requests.
///
/// A stream acquires a permit when it begins and releases it when it ends. No request waits for a
/// permit: without one, the stream is refused with 503 (Service Unavailable). A slow reader has no
/// time limit. It holds its permit, less than three chunks of output, and the data in the kernel's
/// socket buffer. One principal may hold half of the permits.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    free: Arc<Semaphore>,
    /// The number of all permits.
    all: u64,
    by_owner: OwnerShares,
}

impl Streams {
    /// Creates the permits for a service that allows this number of connections. There is at least
    /// one.
    pub(crate) fn new(connections: usize) -> Self {
        let permits = (connections / 4 * 3).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(permits)),
            all: permits as u64,
            by_owner: OwnerShares::default(),
        }
    }

    /// Acquires the permit for one more stream of `owner`. It is held until the returned value is
    /// dropped.
    ///
    /// # Errors
    /// The problem `too-many-streams` (503 Service Unavailable) if all permits are held, or half of
    /// them by this owner.
    pub(crate) fn permit(&self, owner: Owner) -> Result<StreamPermit, Problem> {
        let full = || {
            Problem::new(
                ProblemType::TooManyStreams,
                "too many streams are open; close one, try again later, \
                 or ask for the status instead",
            )
        };
        let mut share = self.by_owner.begin(owner);
        if !share.grow(1, self.all) {
            return Err(full());
        }
        let permit = Arc::clone(&self.free).try_acquire_owned();
        Ok(StreamPermit {
            _permit: permit.map_err(|_| full())?,
            _share: share,
        })
    }
}

/// The right of one HTTP stream to be open. Dropping it lets another stream open.
#[derive(Debug)]
pub(crate) struct StreamPermit {
    _permit: OwnedSemaphorePermit,
    _share: OwnerShare,
}
