//! Request bodies, read with limits of size, time and memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use protocol::{Body, Limits, Problem, ProblemType};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The factor by which JSON may lengthen a text: `\u0000` for one byte.
const ESCAPE_FACTOR: u64 = 6;
/// The room in a body for everything but the prompt and the two system prompts, bytes.
const OTHER_FIELDS_BYTES: u64 = 1024 * 1024;
/// The time limit for the arrival of a body. The time that the body waits for room does not count.
const ARRIVAL: Duration = Duration::from_secs(120);
/// How long a body waits for room in the budget, each time that it has grown. After that it is
/// refused with 503.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest time for which a refused body is still read, so that the client sees the answer and
/// not a reset.
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// The maximum number of bytes of a refused body that are still read.
const DRAIN_BYTES: u64 = 64 * 1024 * 1024;
/// The bytes of each body that are not counted: about as many as its connection buffers anyway. The
/// number of connections bounds their sum, and a common prompt never waits for room.
const FREE_BYTES: u64 = 16 * 1024;
/// The maximum size of a small body, bytes. Small bodies have their own part of the budget.
const SMALL_BYTES: u64 = 256 * 1024;
/// The divisor of the budget that gives the part of small bodies. Larger bodies have the rest.
const SMALL_SHARE: u64 = 8;

/// The part of the memory budget that one request body holds. It must be held as long as the body
/// is in memory.
#[derive(Debug, Default)]
pub(crate) struct Share {
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

/// A part of the budget for bodies of one size class.
#[derive(Debug, Clone)]
struct Part {
    free: Arc<Semaphore>,
    /// The size of the part in bytes. A body never holds more than this, so that a single body
    /// always has room.
    all: u64,
}

impl Part {
    fn new(bytes: u64) -> Self {
        let permits = usize::try_from(bytes).unwrap_or(usize::MAX);
        let permits = permits.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(permits)),
            all: permits as u64,
        }
    }
}

/// The memory budget of all inbound bodies (`inboundBytes`), in bytes. Cheap to clone.
///
/// - A body is charged for the bytes that have arrived. No memory is reserved for bytes that may
///   still arrive. A [`Share`] releases the whole charge when the body is no longer in memory.
/// - A body without room waits for at most [`PATIENCE`], after earlier ones of its size class.
///   Bodies of at most [`SMALL_BYTES`] never wait for larger ones, and those of at most
///   [`FREE_BYTES`] never wait. A body that finds no room in time is refused with 503 and releases
///   its charge, so bodies that wait for each other do not deadlock.
/// - Answers are not counted here. Each response holds one chunk (see `output.rs`), and the number
///   of connections bounds the responses.
#[derive(Debug, Clone)]
pub(crate) struct Inbound {
    small: Part,
    large: Part,
    arrival: Duration,
    patience: Duration,
}

impl Inbound {
    /// Creates a budget of `bytes`: a part for small request bodies, and the rest for larger ones.
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

    /// Reads a body of at most `max_bytes` into memory. Returns the body, and its share of the
    /// budget, which must be held as long as the body.
    ///
    /// # Errors
    /// `too-large` with `advice`; `inbound-full` if the budget has no room for the body;
    /// `invalid-body` if the body did not arrive whole and in time.
    pub(crate) async fn read(
        &self,
        mut body: HttpBody,
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
            if self.grow(&mut share, grown, is_large).await.is_err() {
                drop((bytes, share));
                drain(body).await;
                return Err(full());
            }
            deadline += wait_began.elapsed();
            bytes.extend_from_slice(&data);
        }
    }

    /// Charges a body that has grown to `bytes`. `is_large` means that its announced length is
    /// large. A body that outgrows the part of small bodies moves its whole charge, so that large
    /// bodies never use that part.
    async fn grow(&self, share: &mut Share, bytes: u64, is_large: bool) -> Result<(), Full> {
        let counted = bytes.saturating_sub(FREE_BYTES);
        if !is_large && bytes <= SMALL_BYTES {
            return charge(&self.small, &mut share.small, counted, self.patience).await;
        }
        charge(&self.large, &mut share.large, counted, self.patience).await?;
        share.small = None;
        Ok(())
    }

    /// Reads and parses the body of a request for a new execution. Its share of the budget must be
    /// held as long as the body.
    ///
    /// # Errors
    /// As [`Inbound::read`], or the fault of the body.
    pub(crate) async fn execution(
        &self,
        body: HttpBody,
        limits: &Limits,
    ) -> Result<(Body, Share), Problem> {
        let texts = limits.prompt_bytes + 2 * limits.system_prompt_bytes;
        let max_bytes = ESCAPE_FACTOR * texts + OTHER_FIELDS_BYTES;
        let advice = format!("a prompt may have {} bytes", limits.prompt_bytes);
        let (bytes, share) = self.read(body, max_bytes, &advice).await?;
        let body = Body::from_json(&bytes).map_err(|e| Problem::new(e.kind(), e.to_string()))?;
        Ok((body, share))
    }
}

/// The error that the budget had no room for a body in time.
struct Full;

/// Takes bytes of `part` until `held` covers `bytes`, or all of a part that is smaller. Waits up to
/// `patience` for room.
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

fn full() -> Problem {
    Problem::new(
        ProblemType::InboundFull,
        "other requests leave no memory for this body now; send it again in a moment",
    )
}

fn timed_out(arrival: Duration) -> Problem {
    Problem::new(
        ProblemType::InvalidBody,
        format!("the body did not arrive within {} s", arrival.as_secs()),
    )
}

fn incomplete(error: &axum::Error) -> Problem {
    Problem::new(
        ProblemType::InvalidBody,
        format!("the body did not arrive whole: {error}"),
    )
}

async fn too_large(body: HttpBody, max_bytes: u64, advice: &str) -> Problem {
    drain(body).await;
    Problem::new(
        ProblemType::TooLarge,
        format!("the body has more than {max_bytes} bytes; {advice}"),
    )
}

/// Reads and discards the rest of a refused body, within limits.
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
        let read = |n: usize| inbound.read(HttpBody::from(vec![b'x'; n]), 1000, "send less");
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
            let reading = async move { inbound.read(stuck(bytes), max_bytes, "").await };
            holders.push(tokio::spawn(reading));
        }
        let all = inbound.large.free.available_permits();
        while inbound.large.free.available_permits() == all {
            tokio::task::yield_now().await;
        }
        let read = |bytes: u64| inbound.read(whole(bytes), max_bytes, "");
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

    /// Bodies that had arrived but waited for room once got this error, too.
    #[tokio::test]
    async fn only_a_late_body_is_reported_as_not_arrived() {
        let inbound = impatient(SMALL_SHARE * SMALL_BYTES);
        let begun = Instant::now();
        let refused = inbound.read(stuck(1), 10, "").await.unwrap_err();
        assert!(refused.detail.contains("within 1 s"), "{refused:?}");
        assert!(begun.elapsed() >= inbound.arrival);
        let larger_than_all = inbound.read(whole(1 << 22), 1 << 23, "").await;
        assert!(larger_than_all.is_ok(), "a single body always has room");
    }
}
