//! Request bodies: read with a limit on size, time and memory, whatever the client sends.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use protocol::{Body, Limits, Problem, ProblemType};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What JSON may add to a text: `\u0000` for a byte.
const ESCAPED: u64 = 6;
/// Room for everything but the three texts, bytes.
const OTHER_FIELDS_BYTES: u64 = 1024 * 1024;
/// How long a body may take.
const LIMIT: Duration = Duration::from_secs(120);
/// A refused body is read on for so long and so far, so that the client sees the answer and not a reset.
const READ_ON: (Duration, u64) = (Duration::from_secs(1), 64 * 1024 * 1024);
/// The unit in which memory is shared out, bytes.
const UNIT_BYTES: u64 = 64 * 1024;

/// What one body counts for; to be held as long as the body is in memory.
#[derive(Debug)]
pub(crate) struct Share {
    _units: Option<OwnedSemaphorePermit>,
}

/// The memory that all bodies on their way in may take (`inboundBytes`). Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Inbound {
    units: Arc<Semaphore>,
    all: u32,
}

impl Inbound {
    /// Shares out `bytes`.
    #[must_use]
    pub(crate) fn new(bytes: u64) -> Self {
        let all = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        Self {
            units: Arc::new(Semaphore::new(all as usize)),
            all,
        }
    }

    /// Reads a body of at most `most` bytes; waits for its share of the memory first.
    ///
    /// # Errors
    /// `too-large` with `advice`, or `invalid-body` when it did not arrive whole and in time.
    pub(crate) async fn read(
        &self,
        body: HttpBody,
        most: u64,
        advice: &str,
    ) -> Result<(Bytes, Share), Problem> {
        let expected = body.size_hint().upper().unwrap_or(most).min(most);
        let share = u32::try_from(expected / UNIT_BYTES + 1)
            .unwrap_or(u32::MAX)
            .min(self.all);
        let read = async {
            // Never closed.
            let units = Arc::clone(&self.units).acquire_many_owned(share).await.ok();
            let bytes = collect(body, most, advice).await?;
            Ok((bytes, Share { _units: units }))
        };
        tokio::time::timeout(LIMIT, read).await.unwrap_or_else(|_| {
            Err(Problem::new(
                ProblemType::InvalidBody,
                format!("the body did not arrive within {} s", LIMIT.as_secs()),
            ))
        })
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

async fn collect(mut body: HttpBody, most: u64, advice: &str) -> Result<Bytes, Problem> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| {
            Problem::new(
                ProblemType::InvalidBody,
                format!("the body did not arrive whole: {e}"),
            )
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if (bytes.len() + data.len()) as u64 > most {
            drop(bytes);
            read_on(body).await;
            return Err(Problem::new(
                ProblemType::TooLarge,
                format!("the body has more than {most} bytes; {advice}"),
            ));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

async fn read_on(mut body: HttpBody) {
    let mut left = READ_ON.1;
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, |d| d.len() as u64));
            if left == 0 {
                break;
            }
        }
    };
    // Whoever still sends then sees a reset.
    let _ = tokio::time::timeout(READ_ON.0, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sizes() {
        let inbound = Inbound::new(1 << 20);
        let read = |n: usize| inbound.read(HttpBody::from(vec![b'x'; n]), 1000, "send less");
        assert_eq!(read(1000).await.unwrap().0.len(), 1000);
        let problem = read(1001).await.unwrap_err();
        assert_eq!(problem.kind, ProblemType::TooLarge);
        assert!(problem.detail.contains("send less"));
    }

    #[tokio::test]
    async fn memory_is_shared_out_and_given_back() {
        let inbound = Inbound::new(UNIT_BYTES);
        let never = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        let stuck = inbound.read(HttpBody::from_stream(never), 1000, "");
        let moment = Duration::from_millis(50);
        let other = inbound.read(HttpBody::from("y"), 1000, "");
        let (stuck, other) = tokio::join!(tokio::time::timeout(moment, stuck), other);
        assert!(stuck.is_err(), "it is still on its way");
        assert_eq!(
            other.unwrap().0,
            "y",
            "and gave its share back when it was dropped"
        );
    }
}
