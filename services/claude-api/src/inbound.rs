//! Reads the bodies of HTTP requests into memory, with limits of size, time and total memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use protocol::{Body, Limits, Problem, ProblemType};
use spool::Owner;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::owner_shares::{OwnerShare, OwnerShares};

/// The factor by which JSON may lengthen a text: one byte may be written as `\u0000`, six bytes.
const ESCAPE_FACTOR: u64 = 6;
/// The bytes that a request body may have in addition to the prompt and the two system prompts.
const OTHER_FIELDS_BYTES: u64 = 1024 * 1024;
/// The time in which a request body must arrive whole. The time that the body waits for room in the
/// memory budget does not count.
const ARRIVAL: Duration = Duration::from_secs(120);
/// How long a request body waits for room in the memory budget, each time that more of it has
/// arrived. Then it is refused with 503 (Service Unavailable).
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a refused body is still read and discarded. Without this, the client would see a reset
/// connection instead of the error.
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// The maximum number of bytes of a refused body that are still read and discarded.
const DRAIN_BYTES: u64 = 64 * 1024 * 1024;
/// The number of bytes of each body that are not charged to the memory budget, about as many as the
/// connection buffers anyway. The limit of connections bounds their sum. A common prompt therefore
/// never waits for room.
const FREE_BYTES: u64 = 16 * 1024;
/// The maximum size in bytes of a small body. Small bodies have their own part of the memory
/// budget, so that large ones cannot block them.
const SMALL_BYTES: u64 = 256 * 1024;
/// The divisor for the part of the memory budget that is for small bodies: one eighth. Larger
/// bodies have the rest.
const SMALL_SHARE: u64 = 8;

/// The bytes of the memory budget for incoming bodies that one request body holds. The holder must
/// keep this value as long as the body is in memory; dropping it releases the bytes.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// The bytes charged to the part for small bodies. `None` if there are none.
    small: Option<OwnedSemaphorePermit>,
    /// The bytes charged to the part for larger bodies. `None` if there are none.
    large: Option<OwnedSemaphorePermit>,
    /// The same bytes, as a part of what the principal may hold. `None` before the first byte.
    of_owner: Option<OwnerShare>,
}

/// One of the two parts of the memory budget for incoming bodies: for small bodies, or for larger
/// ones.
#[derive(Debug, Clone)]
struct Part {
    /// The free bytes, one permit for each.
    free: Arc<Semaphore>,
    /// The size of the part in bytes. A body is never charged more than this, so a single body can
    /// always be read, even if it is larger.
    all: u64,
    /// The bytes that each principal holds. One holds half of the part at most.
    by_owner: OwnerShares,
}

impl Part {
    fn new(bytes: u64) -> Self {
        let permits = usize::try_from(bytes).unwrap_or(usize::MAX);
        let permits = permits.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(permits)),
            all: permits as u64,
            by_owner: OwnerShares::default(),
        }
    }
}

/// The memory budget for the bodies of all incoming HTTP requests (the setting `inboundBytes`).
/// Cheap to clone.
///
/// - A body is charged for the bytes that have arrived. No memory is reserved for bytes that may
///   still arrive. A [`Share`] releases the whole charge when the body is no longer in memory.
/// - A body without room waits for at most [`PATIENCE`], after earlier ones of its size class.
///   Bodies of at most [`SMALL_BYTES`] never wait for larger ones, and bodies of at most
///   [`FREE_BYTES`] never wait. A body that gets no room in time is refused with 503 (Service
///   Unavailable) and releases its charge, so bodies that wait for each other do not deadlock.
/// - One principal holds at most half of each part, so that it cannot refuse the others.
/// - Answers are not counted. Each response holds less than three chunks (see `output.rs`), and the
///   limit of connections bounds the number of responses.
#[derive(Debug, Clone)]
pub(crate) struct Inbound {
    /// The part for bodies of at most [`SMALL_BYTES`].
    small: Part,
    /// The part for larger bodies.
    large: Part,
    /// The time in which a body must arrive, without its waits for room.
    arrival: Duration,
    /// How long a body waits for room, each time that it has grown.
    patience: Duration,
}

impl Inbound {
    /// Creates a memory budget of `bytes` bytes. One eighth is for small request bodies, and the
    /// rest is for larger ones.
    #[must_use]
    pub(crate) fn new(bytes: u64) -> Self {
        let small = bytes / SMALL_SHARE;
        Self {
            small: Part::new(small),
            large: Part::new(bytes - small),
            arrival: ARRIVAL,
            patience: PATIENCE,
        }
    }

    /// Reads a request body of `owner` of at most `max_bytes` into memory. Returns the body and its
    /// share of the memory budget, which the caller must keep as long as the body.
    ///
    /// # Errors
    /// - `too-large` if the body is longer than `max_bytes`; `advice` completes the message.
    /// - `inbound-full` if the memory budget had no room in time.
    /// - `invalid-body` if the body did not arrive whole and in time.
    pub(crate) async fn read(
        &self,
        mut body: HttpBody,
        owner: Owner,
        max_bytes: u64,
        advice: &str,
    ) -> Result<(Bytes, Share), Problem> {
        if body.size_hint().lower() > max_bytes {
            return Err(too_large(body, max_bytes, advice).await);
        }
        let is_large = body.size_hint().lower() > SMALL_BYTES;
        let mut share = Share::default();
        let mut bytes = BytesMut::new();
        let mut deadline = Instant::now() + self.arrival;
        loop {
            let frame = match tokio::time::timeout_at(deadline, body.frame()).await {
                Ok(Some(frame)) => frame.map_err(|error| incomplete(&error))?,
                Ok(None) => return Ok((bytes.freeze(), share)),
                Err(_) => return Err(timed_out(self.arrival)),
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let grown = (bytes.len() + data.len()) as u64;
            if grown > max_bytes {
                drop((bytes, share));
                return Err(too_large(body, max_bytes, advice).await);
            }
            let wait_began = Instant::now();
            if self.grow(&mut share, owner, grown, is_large).await.is_err() {
                drop((bytes, share));
                drain(body).await;
                return Err(full());
            }
            deadline += wait_began.elapsed();
            bytes.extend_from_slice(&data);
        }
    }

    /// Charges a body that has grown to `bytes` bytes in total. `is_large` says that its announced
    /// length is above the limit of small bodies. A body that outgrows the part for small bodies
    /// moves its whole charge to the other part. So large bodies never use up the part of small
    /// ones. Fails if the budget had no room in time.
    async fn grow(
        &self,
        share: &mut Share,
        owner: Owner,
        bytes: u64,
        is_large: bool,
    ) -> Result<(), Full> {
        let counted = bytes.saturating_sub(FREE_BYTES);
        let is_small = !is_large && bytes <= SMALL_BYTES;
        let part = if is_small { &self.small } else { &self.large };
        if !is_small && share.large.is_none() {
            // The principal's part of the other memory counts from zero.
            share.of_owner = None;
        }
        let of_owner = share
            .of_owner
            .get_or_insert_with(|| part.by_owner.begin(owner));
        if !of_owner.grow(counted, part.all) {
            return Err(Full);
        }
        if is_small {
            return charge(part, &mut share.small, counted, self.patience).await;
        }
        charge(part, &mut share.large, counted, self.patience).await?;
        share.small = None;
        Ok(())
    }

    /// Reads and parses the body of a request for a new execution. Returns it with its share of the
    /// memory budget, which the caller must keep as long as the body.
    ///
    /// # Errors
    /// The errors of [`Inbound::read`], and the problem with the content if the body is not valid
    /// JSON or has an invalid field.
    pub(crate) async fn execution(
        &self,
        body: HttpBody,
        owner: Owner,
        limits: &Limits,
    ) -> Result<(Body, Share), Problem> {
        let texts = limits.prompt_bytes + 2 * limits.system_prompt_bytes;
        let max_bytes = ESCAPE_FACTOR * texts + OTHER_FIELDS_BYTES;
        let advice = format!("a prompt may have {} bytes", limits.prompt_bytes);
        let (bytes, share) = self.read(body, owner, max_bytes, &advice).await?;
        let body = Body::from_json(&bytes).map_err(|e| Problem::new(e.kind(), e.to_string()))?;
        Ok((body, share))
    }
}

/// The error for a memory budget that had no room for a body in time.
struct Full;

/// Charges bytes to one part of the memory budget until `held` covers `bytes`. A body that is
/// larger than the part is charged the whole part. Waits up to `patience` for room, and fails
/// without it.
async fn charge(
    part: &Part,
    held: &mut Option<OwnedSemaphorePermit>,
    bytes: u64,
    patience: Duration,
) -> Result<(), Full> {
    let charged = held.as_ref().map_or(0, |held| held.num_permits() as u64);
    let needed = bytes.min(part.all);
    if needed <= charged {
        return Ok(());
    }
    let more = u32::try_from(needed - charged).map_err(|_| Full)?;
    let room = Arc::clone(&part.free).acquire_many_owned(more);
    let Ok(Ok(more)) = tokio::time::timeout(patience, room).await else {
        return Err(Full);
    };
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
    Ok(())
}

/// Returns the problem `inbound-full` (503 Service Unavailable): the memory budget has no room.
fn full() -> Problem {
    Problem::new(
        ProblemType::InboundFull,
        "other requests leave no memory for this body now; send it again in a moment",
    )
}

/// Returns the problem `invalid-body` for a body that did not arrive in time.
fn timed_out(arrival: Duration) -> Problem {
    Problem::new(
        ProblemType::InvalidBody,
        format!("the body did not arrive within {} s", arrival.as_secs()),
    )
}

/// Returns the problem `invalid-body` for a body whose connection failed before its end.
fn incomplete(error: &axum::Error) -> Problem {
    Problem::new(
        ProblemType::InvalidBody,
        format!("the body did not arrive whole: {error}"),
    )
}

/// Discards the rest of a body that is too long, and returns the problem `too-large`.
async fn too_large(body: HttpBody, max_bytes: u64, advice: &str) -> Problem {
    drain(body).await;
    Problem::new(
        ProblemType::TooLarge,
        format!("the body has more than {max_bytes} bytes; {advice}"),
    )
}

/// Reads and discards the rest of a refused body, for at most a second and 64 MiB, so that the
/// client can read the error. A client that still sends after that sees a reset connection.
async fn drain(mut body: HttpBody) {
    let mut left = DRAIN_BYTES;
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, |d| d.len() as u64));
            if left == 0 {
                break;
            }
        }
    };
    // A client that still sends after that sees a reset.
    let _ = tokio::time::timeout(DRAIN_TIME, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};

    #[tokio::test]
    async fn a_body_above_its_limit_is_refused_with_advice() {
        let inbound = Inbound::new(1 << 20);
        let read = |n: usize| {
            inbound.read(
                HttpBody::from(vec![b'x'; n]),
                Owner::NONE,
                1000,
                "send less",
            )
        };
        assert_eq!(read(1000).await.unwrap().0.len(), 1000);
        let problem = read(1001).await.unwrap_err();
        assert_eq!(problem.kind, ProblemType::TooLarge);
        assert!(problem.detail.contains("send less"));
    }

    /// Returns a body of which only `bytes` arrive.
    fn stuck(bytes: usize) -> HttpBody {
        let first =
            futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; bytes]))]);
        HttpBody::from_stream(first.chain(futures::stream::pending()))
    }

    fn impatient(bytes: u64) -> Inbound {
        Inbound {
            patience: Duration::from_millis(50),
            arrival: Duration::from_secs(1),
            ..Inbound::new(bytes)
        }
    }

    fn whole(bytes: u64) -> HttpBody {
        HttpBody::from(vec![b'y'; usize::try_from(bytes).unwrap()])
    }

    #[tokio::test]
    async fn a_body_is_charged_only_for_arrived_bytes_and_releases_its_charge() {
        let inbound = Inbound {
            arrival: ARRIVAL,
            ..impatient(SMALL_SHARE * SMALL_BYTES)
        };
        let max_bytes = 100 * SMALL_BYTES;
        let mut holders = Vec::new();
        for bytes in [0, 1, 6 << 18] {
            let inbound = inbound.clone();
            let reading =
                async move { inbound.read(stuck(bytes), Owner::NONE, max_bytes, "").await };
            holders.push(tokio::spawn(reading));
        }
        let all = inbound.large.free.available_permits();
        while inbound.large.free.available_permits() == all {
            tokio::task::yield_now().await;
        }
        let read = |bytes: u64| inbound.read(whole(bytes), Owner::NONE, max_bytes, "");
        for bytes in [FREE_BYTES, SMALL_BYTES] {
            let read = read(bytes).now_or_never().expect("no wait").unwrap();
            assert_eq!(read.0.len() as u64, bytes);
        }
        let begun = Instant::now();
        let refused = read(5 * SMALL_BYTES).await.unwrap_err();
        assert_eq!(refused.kind, ProblemType::InboundFull, "{refused:?}");
        assert!(begun.elapsed() < ARRIVAL / 2, "it waited for an arrival");
        for holder in holders {
            holder.abort();
            let _ = holder.await;
        }
        let read = read(5 * SMALL_BYTES).await;
        assert!(read.is_ok(), "the whole charge was released");
    }

    #[tokio::test]
    async fn one_principal_cannot_refuse_the_bodies_of_another() {
        let inbound = impatient(4 << 20);
        let [a, b] = ["a", "b"].map(Owner::of);
        let read = |owner, bytes| inbound.read(whole(bytes), owner, 4 << 20, "");
        let first = read(a, 1 << 20).await.unwrap();
        let refused = read(a, 1 << 20).await.unwrap_err();
        assert_eq!(refused.kind, ProblemType::InboundFull);
        assert!(read(b, 1 << 20).await.is_ok());
        drop(first);
        assert!(read(a, 1 << 20).await.is_ok());
    }

    /// Bodies that had arrived but waited for room once got this error, too.
    #[tokio::test]
    async fn only_a_late_body_is_reported_as_not_arrived() {
        let inbound = impatient(SMALL_SHARE * SMALL_BYTES);
        let begun = Instant::now();
        let refused = inbound
            .read(stuck(1), Owner::NONE, 10, "")
            .await
            .unwrap_err();
        assert!(refused.detail.contains("within 1 s"), "{refused:?}");
        assert!(begun.elapsed() >= inbound.arrival);
        let larger_than_all = inbound.read(whole(1 << 22), Owner::NONE, 1 << 23, "").await;
        assert!(larger_than_all.is_ok(), "a single body always has room");
    }
}
