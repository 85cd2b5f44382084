//! Charges the message that a session is receiving to the inbound budget. The bytes of a message
//! over 64 KiB are read only when the budget has room for them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::frames::FrameTracker;
use crate::budget::inbound::unfinished::Unfinished;
use crate::budget::inbound::{FREE_BYTES, InboundBudget, InboundCharge};

/// The least time between two attempts to evict another message, however short the patience is.
const LEAST_PATIENCE: Duration = Duration::from_millis(10);

/// The memory that a session's unfinished message holds in the inbound budget, and its wait for
/// more.
#[derive(Debug)]
pub struct MessageCharge {
    budget: Arc<InboundBudget>,
    /// The most bytes of one message of this session.
    message_bytes: u64,
    /// The payload bytes of the unfinished message that have been read.
    bytes: u64,
    /// The message in the budget. `None` while it has at most [`FREE_BYTES`], which need no room.
    unfinished: Option<Unfinished>,
    /// While the message waits for room: a timer, and how often it has ended. Each time the message
    /// may evict another one.
    wait: Option<(Pin<Box<Sleep>>, u32)>,
}

impl MessageCharge {
    /// Creates the charge of a new session, which holds nothing. `message_bytes`: the most bytes of
    /// one message.
    #[must_use]
    pub fn new(budget: Arc<InboundBudget>, message_bytes: u64) -> Self {
        Self {
            budget,
            message_bytes,
            bytes: 0,
            unfinished: None,
            wait: None,
        }
    }

    /// Polls for the number of bytes that may be read next. Pending while the message waits for
    /// room; it may evict another message meanwhile. Unlimited in the head of a frame and in a
    /// ping, a pong or a close.
    pub(super) fn poll_room(&mut self, frames: &FrameTracker, cx: &mut Context<'_>) -> Poll<u64> {
        if frames.is_control() || frames.payload() == 0 {
            return Poll::Ready(u64::MAX);
        }
        if self.bytes < FREE_BYTES && self.unfinished.is_none() {
            return Poll::Ready(FREE_BYTES - self.bytes);
        }
        // A message in fragments may have any length.
        let rest = if frames.ends_message() {
            frames.payload()
        } else {
            self.message_bytes
        };
        let max_bytes = self.bytes.saturating_add(rest).min(self.message_bytes);
        let (budget, bytes) = (&self.budget, self.bytes);
        let message = self
            .unfinished
            .get_or_insert_with(|| Unfinished::new(budget.clone(), max_bytes));
        if message.allowed() <= bytes {
            let next = (bytes + 1).next_power_of_two().max(2 * FREE_BYTES);
            if message
                .poll_grow(next.min(max_bytes.max(bytes + 1)), cx)
                .is_pending()
            {
                let patience = budget.patience();
                let begin = || (Box::pin(sleep(patience)), 0);
                let (wait, times) = self.wait.get_or_insert_with(begin);
                while wait.as_mut().poll(cx).is_ready() {
                    *times += 1;
                    message.try_evict(*times);
                    wait.as_mut()
                        .reset(Instant::now() + patience.max(LEAST_PATIENCE));
                }
                return Poll::Pending;
            }
            self.wait = None;
        }
        Poll::Ready(message.allowed() - bytes)
    }

    /// Ends the message, complete or not. Returns the charge for its bytes; `None` if it needed no
    /// room.
    pub(super) fn finish(&mut self) -> Option<InboundCharge> {
        let bytes = std::mem::take(&mut self.bytes);
        self.wait = None;
        self.unfinished.take().map(|message| message.finish(bytes))
    }

    /// Records that `payload_bytes` more were read. Every 64 KiB count as progress, which protects
    /// the message from eviction.
    pub(super) fn grow(&mut self, payload_bytes: u64) {
        let steps = |bytes: u64| bytes / FREE_BYTES;
        let old = self.bytes;
        self.bytes += payload_bytes;
        if let Some(message) = &self.unfinished
            && steps(old) != steps(self.bytes)
        {
            message.note_progress(self.bytes);
        }
    }

    /// Whether the unfinished message holds a part of the budget.
    pub(super) fn holds_bytes(&self) -> bool {
        let message = self.unfinished.as_ref();
        message.is_some_and(|message| message.allowed() > 0)
    }

    /// Whether another message evicted this one. Then the session must close with 1013.
    pub(super) fn is_evicted(&self) -> bool {
        self.unfinished.as_ref().is_some_and(Unfinished::is_evicted)
    }

    /// Whether the message waits until the budget has room.
    pub(super) fn waits(&self) -> bool {
        self.wait.is_some()
    }

    /// Whether the message waits although no other unfinished message holds any room. Then only
    /// answers of claude-api can make room.
    pub(super) fn waits_alone(&self) -> bool {
        let message = self.unfinished.as_ref().filter(|_| self.waits());
        message.is_some_and(|message| !message.has_others())
    }
}
