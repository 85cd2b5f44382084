//! Receives the bodies of HTTP requests with limits on size, time and memory, so that many or slow
//! clients cannot exhaust the memory of the bridge.
//!
//! The memory for bodies ([`super::HttpSettings::inbound_bytes`]):
//! - A body acquires memory when the head of its request is read, for the announced length; without
//!   a length, when its bytes arrive. The first 64 KiB of each body are not counted. The memory is
//!   released when the request has been handled, or, for an `execute`, when its execution is
//!   accepted ([`Charge::release`]).
//! - A body without memory waits for earlier bodies, in order, for at most 10 s. Then it is refused
//!   with 503 and releases its bytes, so that bodies without a length do not wait for each other
//!   forever. A body of at most 64 KiB never waits. An incomplete body keeps its memory for at most
//!   60 s.
//! - A principal has at most half of the memory. Beyond it, only its own bodies wait.
//! - In the other direction, a response is a stream that pauses while the client does not read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Refusal;
use crate::caller::Owner;

/// The size of the first part of each request body, in bytes, that does not count as used memory. A
/// small request therefore never waits for memory. The limit on connections bounds the sum of these
/// parts.
pub(super) const SMALL_BYTES: usize = 64 * 1024;
/// The maximum time for a request body to arrive completely, without the time for which it waits
/// for memory.
pub(super) const BODY_TIME: Duration = Duration::from_secs(60);
/// The maximum time that a request body waits for memory, each time that it needs more. After it,
/// the body is refused with 503 (Service Unavailable).
const MEMORY_TIME: Duration = Duration::from_secs(10);
/// The maximum time for which the rest of a refused body is read and dropped. A connection that is
/// closed earlier would be reset, and the client would not receive the answer.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// The memory that the body of one HTTP request uses, as a part of the limit for all bodies. It is
/// released by [`Charge::release`], or when the last clone is dropped. Each request has a clone in
/// its extensions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Charge(Arc<Mutex<Option<Held>>>);

/// The memory of one body: its part in the memory of its principal, and in that of all bodies. Each
/// is `None` while the body needs none.
#[derive(Debug, Default)]
struct Held {
    of_owner: Option<OwnedSemaphorePermit>,
    of_all: Option<OwnedSemaphorePermit>,
}

impl Charge {
    /// Releases the memory for other request bodies, because this body is no longer in use. A
    /// repeated call does nothing.
    pub(crate) fn release(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The receiver of all HTTP request bodies, with one limit on their memory.
#[derive(Debug, Clone)]
pub(super) struct Bodies {
    /// The memory that is free for request bodies, with one permit for each byte.
    free: Arc<Semaphore>,
    /// The memory that is free for the bodies of each principal that has some.
    // A synchronous lock: held only to access the map, never across an await.
    by_owner: Arc<Mutex<HashMap<Arc<str>, Weak<Semaphore>>>>,
    /// The memory limit for all request bodies, in bytes. A body that is larger acquires all of it,
    /// so that a single body can always be received.
    total: usize,
    max_body: usize,
    stop: CancellationToken,
}

impl Bodies {
    /// Creates the receiver of request bodies. `max_body` is the maximum size of one body, and
    /// `inbound` the memory limit for all of them, both in bytes. When `stop` is cancelled, bodies
    /// that are still arriving are refused.
    pub(super) fn new(max_body: usize, inbound: usize, stop: CancellationToken) -> Self {
        // The semaphore acquires at most `u32::MAX` permits in one call.
        let total = inbound.clamp(1, u32::MAX as usize);
        let free = Arc::new(Semaphore::new(total));
        Self {
            free,
            by_owner: Arc::default(),
            total,
            max_body,
            stop,
        }
    }

    /// Receives one request body completely, and returns it with the memory that it uses. If the
    /// body is refused, its rest is read and dropped for at most 5 s, so that the client receives
    /// the answer.
    ///
    /// # Errors
    /// The body is too long, arrives too slowly or is incomplete, no memory becomes free in time,
    /// or the server stops.
    pub(super) async fn receive<B>(
        &self,
        body: B,
        owner: &Owner,
    ) -> Result<(Bytes, Charge), Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut body = Box::pin(body);
        let received = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Refusal::Stopping),
            received = self.collect(&mut body, owner) => received,
        };
        if received.is_err() {
            let rest = async { while let Some(Ok(_)) = body.frame().await {} };
            // A client that still sends after this time gets a reset.
            let _ = tokio::time::timeout(DISCARD_TIME, rest).await;
        }
        received
    }

    async fn collect<B>(&self, body: &mut B, owner: &Owner) -> Result<(Bytes, Charge), Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > self.max_body {
            return Err(Refusal::TooLarge(self.max_body));
        }
        let mut bytes = BytesMut::new();
        let mut held = Held::default();
        let of_owner = self.memory_of(owner);
        let of_owner = of_owner.as_ref();
        self.grow(of_owner, &mut held, announced.saturating_sub(SMALL_BYTES))
            .await?;
        let mut deadline = tokio::time::Instant::now() + BODY_TIME;
        loop {
            let frame = match tokio::time::timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => break,
                Ok(Some(Err(_))) | Err(_) => return Err(Refusal::Incomplete),
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let length = bytes.len() + data.len();
            if length > self.max_body {
                return Err(Refusal::TooLarge(self.max_body));
            }
            let wait_started = tokio::time::Instant::now();
            self.grow(of_owner, &mut held, length.saturating_sub(SMALL_BYTES))
                .await?;
            deadline += wait_started.elapsed();
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.freeze(), Charge(Arc::new(Mutex::new(Some(held))))))
    }

    /// Returns the memory for the bodies of this owner: half of all. `None` without tokens.
    fn memory_of(&self, owner: &Owner) -> Option<Arc<Semaphore>> {
        let quota = owner.quota()?;
        let by_owner = self.by_owner.lock();
        let mut by_owner = by_owner.unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = by_owner.get(quota).and_then(Weak::upgrade) {
            return Some(known);
        }
        by_owner.retain(|_, memory| memory.strong_count() > 0);
        let memory = Arc::new(Semaphore::new((self.total / 2).max(1)));
        by_owner.insert(quota.clone(), Arc::downgrade(&memory));
        Some(memory)
    }

    /// Waits for memory until `held` has a permit for each of `bytes`, or for the whole limit if
    /// that is less: first in the memory of the owner, then in that of all bodies. Refuses the body
    /// with [`Refusal::InboundFull`] after 10 s.
    async fn grow(
        &self,
        of_owner: Option<&Arc<Semaphore>>,
        held: &mut Held,
        bytes: usize,
    ) -> Result<(), Refusal> {
        let grow = async {
            if let Some(of_owner) = of_owner {
                let total = (self.total / 2).max(1);
                acquire(of_owner, &mut held.of_owner, bytes.min(total)).await?;
            }
            acquire(&self.free, &mut held.of_all, bytes.min(self.total)).await
        };
        let grown = tokio::time::timeout(MEMORY_TIME, grow).await;
        grown.ok().flatten().ok_or(Refusal::InboundFull)
    }
}

/// Waits until `held` has `bytes` permits of this memory. `None` if it has no such permits.
async fn acquire(
    memory: &Arc<Semaphore>,
    held: &mut Option<OwnedSemaphorePermit>,
    bytes: usize,
) -> Option<()> {
    let present = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let more = u32::try_from(bytes.saturating_sub(present)).ok()?;
    if more == 0 {
        return Some(());
    }
    let more = memory.clone().acquire_many_owned(more).await.ok()?;
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;
    use crate::caller::Caller;

    #[tokio::test]
    async fn the_bodies_of_one_principal_leave_half_of_the_memory() {
        let bodies = Bodies::new(1 << 20, 400_000, CancellationToken::new());
        let owner = |name: &str| {
            Owner::from(&Caller {
                principal: Some(name.into()),
                ..Caller::default()
            })
        };
        let receive = async |name: &str| {
            let owner = owner(name);
            let body = Full::new(Bytes::from(vec![b'x'; 150_000 + SMALL_BYTES]));
            let wait = std::time::Duration::from_millis(100);
            let received = tokio::time::timeout(wait, bodies.receive(body, &owner));
            received.await.ok().map(|received| received.unwrap().1)
        };
        let first = receive("a").await.unwrap();
        assert!(receive("a").await.is_none(), "it waits for its own body");
        let other = receive("b").await.unwrap();
        first.release();
        drop(first);
        assert!(receive("a").await.is_some());
        drop(other);
        assert_eq!(bodies.free.available_permits(), 400_000);
    }
}
