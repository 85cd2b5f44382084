//! The events that wait until their runs read them, with a limit for each run.

use std::collections::{BTreeMap, VecDeque};

use futures::future::select_all;
use tokio::sync::mpsc;

use crate::event::{Event, Item};

/// The maximum bytes of messages that wait for one run, in addition to its channel of 16 events.
///
/// - The bytes of an event count from when it is queued until it is delivered to the run.
/// - No run waits for another, because each has its own limit. Above the limit the client detaches
///   the run (`onSlow: "wait"`) or drops its oldest output (`"skip"`), and always reads the socket.
/// - In the other direction, the bridge's limit `messageBytes` bounds each request.
pub(super) const WAITING_BYTES: usize = 1024 * 1024;
/// The size that is counted for an event without a message of its own, such as a lost connection,
/// in bytes.
pub(super) const SMALL_BYTES: usize = 256;

/// The waiting events of all runs, by the token of the run's view. A run without waiting events has
/// no entry.
#[derive(Default)]
pub(super) struct WaitingEvents(BTreeMap<u64, Queue>);

/// The waiting events of one run, with their sizes and the channel to the run.
struct Queue {
    tx: mpsc::Sender<Item>,
    items: VecDeque<(Item, usize)>,
    bytes: usize,
}

impl WaitingEvents {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether no event waits for the run of this view.
    pub(super) fn is_drained(&self, token: u64) -> bool {
        !self.0.contains_key(&token)
    }

    /// Returns whether the run of this view has more waiting bytes than [`WAITING_BYTES`].
    pub(super) fn is_full(&self, token: u64) -> bool {
        let queue = self.0.get(&token);
        queue.is_some_and(|queue| queue.bytes > WAITING_BYTES)
    }

    /// Adds an event for a run. `bytes` is the size to count for it. There is no limit here: the
    /// caller checks [`Self::is_full`].
    pub(super) fn push(&mut self, token: u64, tx: &mpsc::Sender<Item>, item: Item, bytes: usize) {
        let queue = self.0.entry(token).or_insert_with(|| Queue {
            tx: tx.clone(),
            items: VecDeque::new(),
            bytes: 0,
        });
        queue.items.push_back((item, bytes));
        queue.bytes += bytes;
    }

    /// Drops the waiting events of a run that was dropped.
    pub(super) fn remove(&mut self, token: u64) {
        self.0.remove(&token);
    }

    /// Makes room for `bytes` more of a run with `onSlow: "skip"`: drops its oldest statuses, and
    /// replaces its oldest output by gaps. Returns how many bytes of output were dropped.
    pub(super) fn skip(&mut self, token: u64, bytes: usize) -> u64 {
        let queue = self.0.get_mut(&token);
        queue.map_or(0, |queue| queue.skip(bytes))
    }

    /// Waits until a run has room in its channel, sends it its oldest event, and returns the run's
    /// token. Cancel-safe: the event stays queued until there is room.
    ///
    /// At least one event must wait, or the function panics.
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
    /// Does for this run what [`WaitingEvents::skip`] describes, to make room for `more` bytes.
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
