//! Request bodies: received with limits on size, time and memory.
//!
//! The memory for bodies ([`super::HttpSettings::inbound_bytes`]):
//! - Taken when: the head of a request is there, for the length that it announces; without a
//!   length, when bytes arrive. The first 64 KiB of each body are not counted. Released when the
//!   request has been handled; for an `execute` that is when its execution is accepted
//!   ([`Charge::release`]).
//! - Who waits behind whom: a body without room waits behind earlier ones, in their order, for at
//!   most 10 s. Then it is refused with 503 and releases its bytes, so that bodies without a length
//!   that wait for each other do not stand still. A body of at most 64 KiB never waits. A body that
//!   stops half-way keeps its room for at most 60 s.
//! - The other direction: a response is a stream that pauses while the client does not read it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Refusal;

/// A body of at most this size is not counted, in bytes. The number of connections bounds their
/// sum.
pub(super) const SMALL_BYTES: usize = 64 * 1024;
/// The longest time that a body may take, without the time that it waits for room.
pub(super) const BODY_TIME: Duration = Duration::from_secs(60);
/// The longest time that a body waits for room, each time that it grows.
const PATIENCE: Duration = Duration::from_secs(10);
/// A refused body is read for so long, so that its client sees the answer and not a reset.
const READ_ON_TIME: Duration = Duration::from_secs(5);

/// The memory that one body takes, until released or until the last clone is dropped. It is in the
/// extensions of the HTTP request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Charge(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Charge {
    /// Releases the memory: nothing holds the body any more.
    pub(crate) fn release(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Receives bodies.
#[derive(Debug, Clone)]
pub(super) struct Bodies {
    /// The memory that is free, in bytes.
    free: Arc<Semaphore>,
    /// All of it. A larger body takes all, so that one body alone always has room.
    all: usize,
    most: usize,
    stop: CancellationToken,
}

impl Bodies {
    /// `most`: the largest body, in bytes. `inbound`: the memory for all of them.
    pub(super) fn new(most: usize, inbound: usize, stop: CancellationToken) -> Self {
        // Permits are taken in numbers of 32 bits.
        let all = inbound.clamp(1, u32::MAX as usize);
        let free = Arc::new(Semaphore::new(all));
        Self {
            free,
            all,
            most,
            stop,
        }
    }

    /// Receives one body.
    ///
    /// # Errors
    /// The body is too long or too late, there is no room for it, or the server stops.
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
            // A client that still sends then sees a reset.
            let _ = tokio::time::timeout(READ_ON_TIME, rest).await;
        }
        received
    }

    async fn collect<B>(&self, body: &mut B) -> Result<(Bytes, Charge), Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > self.most {
            return Err(Refusal::TooLarge(self.most));
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
            if length > self.most {
                return Err(Refusal::TooLarge(self.most));
            }
            let waits = tokio::time::Instant::now();
            self.grow(&mut held, length.saturating_sub(SMALL_BYTES))
                .await?;
            deadline += waits.elapsed();
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.freeze(), Charge(Arc::new(Mutex::new(held)))))
    }

    /// Takes memory until `held` covers so many bytes, or all.
    async fn grow(
        &self,
        held: &mut Option<OwnedSemaphorePermit>,
        bytes: usize,
    ) -> Result<(), Refusal> {
        let has = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.min(self.all).saturating_sub(has);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| Refusal::InboundFull)?;
        let room = self.free.clone().acquire_many_owned(more);
        let Ok(Ok(more)) = tokio::time::timeout(PATIENCE, room).await else {
            return Err(Refusal::InboundFull);
        };
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }
}
