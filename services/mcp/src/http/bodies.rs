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
//! - In the other direction, a response is a stream that pauses while the client does not read.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Refusal;

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
pub(crate) struct Charge(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

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
    pub(super) async fn receive<B>(&self, body: B) -> Result<(Bytes, Charge), Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut body = Box::pin(body);
        let received = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Refusal::Stopping),
            received = self.collect(&mut body) => received,
        };
        if received.is_err() {
            let rest = async { while let Some(Ok(_)) = body.frame().await {} };
            // A client that still sends after this time gets a reset.
            let _ = tokio::time::timeout(DISCARD_TIME, rest).await;
        }
        received
    }

    async fn collect<B>(&self, body: &mut B) -> Result<(Bytes, Charge), Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > self.max_body {
            return Err(Refusal::TooLarge(self.max_body));
        }
        let mut bytes = BytesMut::new();
        let mut held = None;
        self.grow(&mut held, announced.saturating_sub(SMALL_BYTES))
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
            self.grow(&mut held, length.saturating_sub(SMALL_BYTES))
                .await?;
            deadline += wait_started.elapsed();
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.freeze(), Charge(Arc::new(Mutex::new(held)))))
    }

    /// Waits for memory until `held` has a permit for each of `bytes`, or for the whole limit if
    /// that is less. Refuses the body with [`Refusal::InboundFull`] after 10 s.
    async fn grow(
        &self,
        held: &mut Option<OwnedSemaphorePermit>,
        bytes: usize,
    ) -> Result<(), Refusal> {
        let present = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.min(self.total).saturating_sub(present);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| Refusal::InboundFull)?;
        let memory = self.free.clone().acquire_many_owned(more);
        let Ok(Ok(more)) = tokio::time::timeout(MEMORY_TIME, memory).await else {
            return Err(Refusal::InboundFull);
        };
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }
}
