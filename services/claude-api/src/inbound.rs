//! Request bodies: read with a limit on size, time and memory, whatever the client sends.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use protocol::{Body, Limits, Problem, ProblemType};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What JSON may add to a text: `\u0000` for a byte.
const ESCAPED: u64 = 6;
/// Room for everything but the three texts, bytes.
const OTHER_FIELDS_BYTES: u64 = 1024 * 1024;
/// How long a body may take to arrive; the time that it waits for room does not count.
const ARRIVAL: Duration = Duration::from_secs(120);
/// How long a body waits for room in the budget, each time that it has grown. After that it is
/// refused with 503.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest time for which a refused body is read on, so that the client sees the answer and not
/// a reset.
const READ_ON_TIME: Duration = Duration::from_secs(1);
/// The most of a refused body that is read on, bytes.
const READ_ON_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of each body that are not counted: about as much as its connection holds anyway. The
/// number of connections bounds their sum, and a common prompt never waits for room.
const FREE_BYTES: u64 = 16 * 1024;
/// Bodies up to this many bytes have a part of the budget for themselves.
const SMALL_BYTES: u64 = 256 * 1024;
/// The divisor of the budget for small bodies: they have one part in so many for themselves.
const SMALL_SHARE: u64 = 8;

/// What one body counts for; to be held as long as the body is in memory.
#[derive(Debug, Default)]
pub(crate) struct Share {
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

/// A part of the budget, and all of it in bytes: one body alone always has room, so it takes no
/// more than that.
#[derive(Debug, Clone)]
struct Part {
    free: Arc<Semaphore>,
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

/// The memory that all bodies on their way in may take (`inboundBytes`), in bytes. Cheap to clone.
///
/// - Taken: when bytes have arrived, as many as arrived; nothing is reserved for bytes that may
///   come. A [`Share`] gives all of it back when the body is no longer in memory.
/// - Who waits: a body that finds no room, for at most [`PATIENCE`], behind earlier ones of its
///   size class. Bodies of at most [`SMALL_BYTES`] never wait for larger ones, and those of at most
///   [`FREE_BYTES`] never wait. A body that waits in vain is refused with 503 and gives back what
///   it held, so bodies that wait for each other do not stand still.
/// - The other direction: answers are not counted here. Each response holds one chunk (see
///   `output.rs`), and the number of connections bounds the responses.
#[derive(Debug, Clone)]
pub(crate) struct Inbound {
    small: Part,
    large: Part,
    arrival: Duration,
    patience: Duration,
}

impl Inbound {
    /// Shares out `bytes`.
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

    /// Reads a body of at most `most` bytes.
    ///
    /// # Errors
    /// `too-large` with `advice`; `inbound-full` when there is no room for it; `invalid-body` when
    /// it did not arrive whole and in time.
    pub(crate) async fn read(
        &self,
        mut body: HttpBody,
        most: u64,
        advice: &str,
    ) -> Result<(Bytes, Share), Problem> {
        if body.size_hint().lower() > most {
            return Err(too_large(body, most, advice).await);
        }
        let is_large = body.size_hint().lower() > SMALL_BYTES;
        let mut share = Share::default();
        let mut bytes = BytesMut::new();
        let mut deadline = Instant::now() + self.arrival;
        loop {
            let frame = match tokio::time::timeout_at(deadline, body.frame()).await {
                Ok(Some(frame)) => frame.map_err(|error| did_not_arrive(&error))?,
                Ok(None) => return Ok((bytes.freeze(), share)),
                Err(_) => return Err(late(self.arrival)),
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let grown = (bytes.len() + data.len()) as u64;
            if grown > most {
                drop((bytes, share));
                return Err(too_large(body, most, advice).await);
            }
            let waits_since = Instant::now();
            if self.grow(&mut share, grown, is_large).await.is_err() {
                drop((bytes, share));
                read_on(body).await;
                return Err(full());
            }
            deadline += waits_since.elapsed();
            bytes.extend_from_slice(&data);
        }
    }

    /// Takes room for a body that has grown to `bytes`. `is_large`: its announced length is large.
    /// A body that outgrows the small share moves its whole charge, so that large bodies never use
    /// the share of small ones.
    async fn grow(&self, share: &mut Share, bytes: u64, is_large: bool) -> Result<(), Full> {
        let counted = bytes.saturating_sub(FREE_BYTES);
        if !is_large && bytes <= SMALL_BYTES {
            return take(&self.small, &mut share.small, counted, self.patience).await;
        }
        take(&self.large, &mut share.large, counted, self.patience).await?;
        share.small = None;
        Ok(())
    }

    /// Reads an execution's body.
    ///
    /// # Errors
    /// As [`Inbound::read`], or what is wrong with it.
    pub(crate) async fn execution(
        &self,
        body: HttpBody,
        limits: &Limits,
    ) -> Result<(Body, Share), Problem> {
        let most =
            ESCAPED * (limits.prompt_bytes + 2 * limits.system_prompt_bytes) + OTHER_FIELDS_BYTES;
        let advice = format!("a prompt may have {} bytes", limits.prompt_bytes);
        let (bytes, share) = self.read(body, most, &advice).await?;
        let body = Body::from_json(&bytes).map_err(|e| Problem::new(e.kind(), e.to_string()))?;
        Ok((body, share))
    }
}

/// The budget has no room.
struct Full;

/// Adds to the held permits until they cover `bytes`.
async fn take(
    part: &Part,
    held: &mut Option<OwnedSemaphorePermit>,
    bytes: u64,
    patience: Duration,
) -> Result<(), Full> {
    let has = held.as_ref().map_or(0, |held| held.num_permits() as u64);
    let wanted = bytes.min(part.all);
    if wanted <= has {
        return Ok(());
    }
    let more = u32::try_from(wanted - has).map_err(|_| Full)?;
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

fn late(arrival: Duration) -> Problem {
    Problem::new(
        ProblemType::InvalidBody,
        format!("the body did not arrive within {} s", arrival.as_secs()),
    )
}

fn did_not_arrive(error: &axum::Error) -> Problem {
    Problem::new(
        ProblemType::InvalidBody,
        format!("the body did not arrive whole: {error}"),
    )
}

async fn too_large(body: HttpBody, most: u64, advice: &str) -> Problem {
    read_on(body).await;
    Problem::new(
        ProblemType::TooLarge,
        format!("the body has more than {most} bytes; {advice}"),
    )
}

async fn read_on(mut body: HttpBody) {
    let mut left = READ_ON_BYTES;
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, |d| d.len() as u64));
            if left == 0 {
                break;
            }
        }
    };
    // Whoever still sends then sees a reset.
    let _ = tokio::time::timeout(READ_ON_TIME, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};

    #[tokio::test]
    async fn sizes() {
        let inbound = Inbound::new(1 << 20);
        let read = |n: usize| inbound.read(HttpBody::from(vec![b'x'; n]), 1000, "send less");
        assert_eq!(read(1000).await.unwrap().0.len(), 1000);
        let problem = read(1001).await.unwrap_err();
        assert_eq!(problem.kind, ProblemType::TooLarge);
        assert!(problem.detail.contains("send less"));
    }

    /// A body of which so many bytes arrive, and no more.
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

    /// ENGINE A2.
    #[tokio::test]
    async fn a_body_counts_for_what_has_arrived_and_gives_it_back() {
        let inbound = Inbound {
            arrival: ARRIVAL,
            ..impatient(SMALL_SHARE * SMALL_BYTES)
        };
        let most = 100 * SMALL_BYTES;
        let mut holders = Vec::new();
        for bytes in [0, 1, 6 << 18] {
            let inbound = inbound.clone();
            let reading = async move { inbound.read(stuck(bytes), most, "").await };
            holders.push(tokio::spawn(reading));
        }
        let all = inbound.large.free.available_permits();
        while inbound.large.free.available_permits() == all {
            tokio::task::yield_now().await;
        }
        let read = |bytes: u64| inbound.read(whole(bytes), most, "");
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
        assert!(read(5 * SMALL_BYTES).await.is_ok(), "all was given back");
    }

    /// ENGINE A2: the text was also said of bodies that had arrived.
    #[tokio::test]
    async fn only_a_late_body_is_reported_as_not_arrived() {
        let inbound = impatient(SMALL_SHARE * SMALL_BYTES);
        let begun = Instant::now();
        let refused = inbound.read(stuck(1), 10, "").await.unwrap_err();
        assert!(refused.detail.contains("within 1 s"), "{refused:?}");
        assert!(begun.elapsed() >= inbound.arrival);
        let larger_than_all = inbound.read(whole(1 << 22), 1 << 23, "").await;
        assert!(larger_than_all.is_ok(), "one alone always has room");
    }
}
