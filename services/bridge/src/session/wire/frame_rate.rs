//! The limit of the frames that a session reads in a second. It keeps a client from using all the
//! time of the bridge with many small frames.
//!
//! - When is a frame counted? When its first byte is read. Pings, pongs and the fragments of a
//!   message count, too.
//! - Who waits for whom? Beyond the limit, only this session waits until its next frame is due. The
//!   bridge sends to it meanwhile.
//! - What bounds the other direction? The outgoing messages have a memory budget (`outbound`).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The rate limit (a token bucket) of the frames of one session. It is stored as the time at which
/// the bucket will be full again. So an idle session needs no timer.
#[derive(Debug)]
pub struct FrameRate {
    /// The time in which one frame becomes free, in nanoseconds: at most 1 s.
    interval_ns: u32,
    /// The most frames at once, after a quiet time.
    burst: u32,
    /// When the bucket is full again, on the monotonic clock.
    full_at: Instant,
    /// The timer of a session that waits. `None` while it does not wait.
    wait: Option<Pin<Box<Sleep>>>,
    /// Whether the last frame had to wait.
    has_waited: bool,
    /// How often the session began to wait since the last call of [`Self::take_waits`].
    waits: u32,
}

impl FrameRate {
    /// Creates the full bucket of a new session: `per_second` frames, and `burst` at once. Both are
    /// at least 1.
    #[must_use]
    pub fn new(per_second: u64, burst: u64) -> Self {
        let interval = 1_000_000_000 / per_second.max(1);
        Self {
            interval_ns: u32::try_from(interval).unwrap_or(u32::MAX),
            burst: u32::try_from(burst.max(1)).unwrap_or(u32::MAX),
            full_at: Instant::now(),
            wait: None,
            has_waited: false,
            waits: 0,
        }
    }

    /// Returns how often the session began to wait since the last call.
    pub(super) fn take_waits(&mut self) -> u32 {
        std::mem::take(&mut self.waits)
    }

    /// Polls until the next frame may be read. `Pending` while the session has read too many.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.wait.is_none() {
            let Some(due) = self.due_after(Instant::now()) else {
                self.has_waited = false;
                return Poll::Ready(());
            };
            if !std::mem::replace(&mut self.has_waited, true) {
                self.waits = self.waits.saturating_add(1);
            }
            self.wait = Some(Box::pin(sleep_until(due)));
        }
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
        }
        self.wait = None;
        Poll::Ready(())
    }

    /// Counts a frame whose first byte was read now.
    pub(super) fn count(&mut self) {
        self.count_at(Instant::now());
    }

    fn count_at(&mut self, now: Instant) {
        let interval = Duration::from_nanos(self.interval_ns.into());
        self.full_at = self.full_at.max(now) + interval;
    }

    /// Returns when the next frame may be read. `None` if it may be read at `now`.
    fn due_after(&self, now: Instant) -> Option<Instant> {
        let interval = Duration::from_nanos(self.interval_ns.into());
        let due = self.full_at.checked_sub(interval * (self.burst - 1))?;
        (due > now).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_frames_are_due_at_the_rate() {
        let mut rate = FrameRate::new(200, 10);
        let start = rate.full_at;
        for _ in 0..10 {
            assert_eq!(rate.due_after(start), None);
            rate.count_at(start);
        }
        let step = Duration::from_millis(5);
        assert_eq!(rate.due_after(start), Some(start + step));
        for n in 1..100 {
            let now = start + step * n;
            assert_eq!(rate.due_after(now), None, "{n}");
            rate.count_at(now);
            assert_eq!(rate.due_after(now), Some(now + step), "{n}");
        }
        // A quiet time allows a burst again, and no more than that.
        let later = start + Duration::from_secs(60);
        for _ in 0..10 {
            assert_eq!(rate.due_after(later), None);
            rate.count_at(later);
        }
        assert!(rate.due_after(later).is_some());
    }

    #[tokio::test]
    async fn a_session_that_sends_too_much_waits_once_and_goes_on() {
        let mut rate = FrameRate::new(50, 2);
        let start = Instant::now();
        for _ in 0..6 {
            std::future::poll_fn(|cx| rate.poll_frame(cx)).await;
            rate.count();
        }
        assert!(start.elapsed() >= Duration::from_millis(79));
        assert_eq!(rate.take_waits(), 1, "the frames waited in a row");
        tokio::time::sleep(Duration::from_millis(60)).await;
        for _ in 0..3 {
            std::future::poll_fn(|cx| rate.poll_frame(cx)).await;
            rate.count();
        }
        assert_eq!(rate.take_waits(), 1);
    }
}
