//! Reserves memory for the message that a session is receiving, in the budget for incoming messages
//! that all sessions share. The first 64 KiB of a message are free. The rest is read only when the
//! budget has room for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::frames::FrameTracker;
use crate::budget::inbound::unfinished::Unfinished;
use crate::budget::inbound::{FREE_BYTES, InboundBudget, InboundCharge};

/// The shortest time between two attempts to evict another message. It keeps a bridge with a very
/// short ping interval from trying in a busy loop.
const MIN_EVICTION_PAUSE: Duration = Duration::from_millis(10);

/// The memory that the unfinished message of one session holds in the budget for incoming messages,
/// and its wait for more.
#[derive(Debug)]
pub struct MessageCharge {
    budget: Arc<InboundBudget>,
    /// The part of the client's principal in the budget. `None` without a principal.
    of_principal: Option<Arc<InboundBudget>>,
    /// The most bytes of one message of this session.
    message_bytes: u64,
    /// How many payload bytes of the unfinished message have been read.
    bytes: u64,
    /// The registration of the message in the budget. `None` while it has at most [`FREE_BYTES`]
    /// (64 KiB), which are not charged.
    unfinished: Option<Box<Unfinished>>,
    /// The timer of a message that waits for room, and how often it has expired. At each expiry the
    /// message may evict another one that is too slow. `None` while the message does not wait.
    wait: Option<(Pin<Box<Sleep>>, u32)>,
}

impl MessageCharge {
    /// Creates the charge of a new session, which holds no memory yet. `message_bytes` is the most
    /// bytes of one message.
    #[must_use]
    pub fn new(budget: Arc<InboundBudget>, message_bytes: u64) -> Self {
        Self {
            budget,
            of_principal: None,
            message_bytes,
            bytes: 0,
            unfinished: None,
            wait: None,
        }
    }

    /// Charges the messages also to the part of the client's principal.
    #[must_use]
    pub fn of_principal(mut self, part: Option<Arc<InboundBudget>>) -> Self {
        self.of_principal = part;
        self
    }

    /// Polls for the number of bytes that may be read next. `Pending` while the message waits for
    /// room in the budget. While it waits, it tries to evict another session's message. Frame
    /// headers, pings, pongs and closes are unlimited (`u64::MAX`), because they need no charged
    /// memory.
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
        let of_principal = &self.of_principal;
        let message = self.unfinished.get_or_insert_with(|| {
            let message = Unfinished::new(budget.clone(), max_bytes);
            Box::new(message.of_principal(of_principal.clone(), max_bytes))
        });
        if message.allowed() <= bytes {
            let next = (bytes + 1).next_power_of_two().max(2 * FREE_BYTES);
            if message
                .poll_grow(next.min(max_bytes.max(bytes + 1)), cx)
                .is_pending()
            {
                let wait_step = budget.wait_step();
                let begin = || (Box::pin(sleep(wait_step)), 0);
                let (wait, times) = self.wait.get_or_insert_with(begin);
                while wait.as_mut().poll(cx).is_ready() {
                    *times += 1;
                    message.try_evict(*times);
                    wait.as_mut()
                        .reset(Instant::now() + wait_step.max(MIN_EVICTION_PAUSE));
                }
                return Poll::Pending;
            }
            self.wait = None;
        }
        Poll::Ready(message.allowed() - bytes)
    }

    /// Ends the message, complete or not. Returns the reservation for the bytes that were read,
    /// which is released when the value is dropped. `None` if the message needed no reservation.
    pub(super) fn finish(&mut self) -> Option<InboundCharge> {
        let bytes = std::mem::take(&mut self.bytes);
        self.wait = None;
        self.unfinished.take().map(|message| message.finish(bytes))
    }

    /// Records that `payload_bytes` more bytes of the message were read. Each further 64 KiB count
    /// as progress, which protects the message from eviction.
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

    /// Returns whether the unfinished message holds a part of the budget.
    pub(super) fn holds_bytes(&self) -> bool {
        let message = self.unfinished.as_ref();
        message.is_some_and(|message| message.allowed() > 0)
    }

    /// Returns whether another message has evicted this one from the budget. Then the session must
    /// close with 1013 (try again later).
    pub(super) fn is_evicted(&self) -> bool {
        let message = self.unfinished.as_ref();
        message.is_some_and(|message| message.is_evicted())
    }

    /// Returns whether the message waits until the budget has room.
    pub(super) fn waits(&self) -> bool {
        self.wait.is_some()
    }

    /// Returns whether the message waits although no other unfinished message holds any of the
    /// budget. Then only replies of claude-api to earlier executes and inputs can free memory.
    pub(super) fn waits_alone(&self) -> bool {
        let message = self.unfinished.as_ref().filter(|_| self.waits());
        message.is_some_and(|message| !message.has_others())
    }
}
