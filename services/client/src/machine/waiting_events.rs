//! The events that wait for runs to read them, bounded for each run.

use std::collections::{BTreeMap, VecDeque};

use futures::future::select_all;
use tokio::sync::mpsc;

use crate::event::{Event, Item};

/// The maximum bytes of messages that wait for one run, in addition to its channel of 16 events.
///
/// - Bytes are charged when an event is queued, and released when it is delivered to the run.
/// - No run waits for another: each has its own limit. Beyond the limit the client detaches the run
///   (`onSlow: "wait"`) or drops its oldest output (`"skip"`), and always reads the socket.
/// - The other direction is bounded by the bridge's `messageBytes`.
pub(super) const WAITING_BYTES: usize = 1024 * 1024;
/// The nominal size of an event that does not stem from a message, in bytes.
pub(super) const SMALL_BYTES: usize = 256;

/// The waiting events, by the token of their run. A run without waiting events has no entry.
#[derive(Default)]
pub(super) struct WaitingEvents(BTreeMap<u64, Queue>);

/// The waiting events of one run, with their sizes.
struct Queue {
    tx: mpsc::Sender<Item>,
    items: VecDeque<(Item, usize)>,
    bytes: usize,
}

impl WaitingEvents {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether no event waits for this run.
    pub(super) fn is_drained(&self, token: u64) -> bool {
        !self.0.contains_key(&token)
    }

    /// Returns whether the waiting events of this run exceed [`WAITING_BYTES`].
    pub(super) fn is_full(&self, token: u64) -> bool {
        let queue = self.0.get(&token);
        queue.is_some_and(|queue| queue.bytes > WAITING_BYTES)
    }

    /// Adds an event of `bytes`.
    pub(super) fn push(&mut self, token: u64, tx: &mpsc::Sender<Item>, item: Item, bytes: usize) {
        let queue = self.0.entry(token).or_insert_with(|| Queue {
            tx: tx.clone(),
            items: VecDeque::new(),
            bytes: 0,
        });
        queue.items.push_back((item, bytes));
        queue.bytes += bytes;
    }

    /// Drops the events of a run that has ended.
    pub(super) fn remove(&mut self, token: u64) {
        self.0.remove(&token);
    }

    /// Replaces the oldest output by gaps, and drops the oldest statuses, until `bytes` more fit.
    /// Returns how many bytes of output were dropped.
    pub(super) fn skip(&mut self, token: u64, bytes: usize) -> u64 {
        let queue = self.0.get_mut(&token);
        queue.map_or(0, |queue| queue.skip(bytes))
    }

    /// Delivers the oldest event of a run that has room for it, and returns the run's token.
    /// Cancel-safe: the event stays queued until there is room. At least one event must wait.
    pub(super) async fn deliver(&mut self) -> u64 {
        let waiting = self.0.iter().map(|(token, queue)| {
            let (token, tx) = (*token, queue.tx.clone());
            Box::pin(async move { (token, tx.reserve_owned().await) })
        });
        let ((token, permit), ..) = select_all(waiting).await;
        let Some(queue) = self.0.get_mut(&token) else {
            return token;
        };
        match (permit, queue.items.pop_front()) {
            (Ok(permit), Some((item, bytes))) => {
                queue.bytes -= bytes;
                permit.send(item);
            }
            // The run was dropped.
            _ => queue.items.clear(),
        }
        if queue.items.is_empty() {
            self.0.remove(&token);
        }
        token
    }
}

impl Queue {
    /// As [`WaitingEvents::skip`], for one run.
    fn skip(&mut self, more: usize) -> u64 {
        let mut skipped = 0;
        while self.bytes + more > WAITING_BYTES {
            let droppable = |(item, _): &(Item, usize)| {
                matches!(item, Ok(Event::Output { .. } | Event::Status(_)))
            };
            let Some(at) = self.items.iter().position(droppable) else {
                break;
            };
            let Some((item, bytes)) = self.items.remove(at) else {
                break;
            };
            self.bytes -= bytes;
            if let Ok(Event::Output { offset, bytes }) = item {
                let end = offset + bytes.len() as u64;
                skipped += end - offset;
                match at
                    .checked_sub(1)
                    .and_then(|previous| self.items.get_mut(previous))
                {
                    Some((Ok(Event::Gap(gap)), _)) if gap.end == offset => gap.end = end,
                    _ => {
                        let gap = (Ok(Event::Gap(offset..end)), SMALL_BYTES);
                        self.items.insert(at, gap);
                        self.bytes += SMALL_BYTES;
                    }
                }
            }
        }
        skipped
    }
}
