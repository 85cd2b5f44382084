//! The queues of events that the runs of a client have not read yet, with a size limit for each
//! run.

use std::collections::{BTreeMap, VecDeque};

use futures::future::select_all;
use tokio::sync::mpsc;

use crate::event::{Event, Item};

/// The maximum size of the messages that wait in the queue of one run, in bytes. The run's channel
/// holds up to 16 further events.
///
/// - The bytes of an event count from when it is queued until it is delivered to the run.
/// - No run waits for another, because each has its own limit. Above the limit the client detaches
///   the run (`onSlow: "wait"`) or drops its oldest output (`"skip"`), and always reads the socket.
/// - In the other direction, the bridge's limit `messageBytes` bounds each request.
pub(super) const WAITING_BYTES: usize = 1024 * 1024;
/// The size that counts for an event that did not arrive as a message, such as a lost connection,
/// in bytes. It is a rough estimate of the memory for one event.
pub(super) const SMALL_BYTES: usize = 256;

/// The queues of waiting events of all runs, by the token that identifies the run. A run without
/// waiting events has no entry.
#[derive(Default)]
pub(super) struct WaitingEvents(BTreeMap<u64, Queue>);

/// The queue of waiting events of one run, with the size of each event and the channel to the run.
struct Queue {
    tx: mpsc::Sender<Item>,
    items: VecDeque<(Item, usize)>,
    bytes: usize,
}

impl WaitingEvents {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether no event waits for the run with this token, so that it has received all of
    /// them.
    pub(super) fn is_drained(&self, token: u64) -> bool {
        !self.0.contains_key(&token)
    }

    /// Returns whether more than [`WAITING_BYTES`] wait for the run with this token.
    pub(super) fn is_full(&self, token: u64) -> bool {
        let queue = self.0.get(&token);
        queue.is_some_and(|queue| queue.bytes > WAITING_BYTES)
    }

    /// Adds an event to the queue of the run with this token. `bytes` is the size that counts for
    /// it. The queue accepts every event; the caller checks the limit with [`Self::is_full`].
    pub(super) fn push(&mut self, token: u64, tx: &mpsc::Sender<Item>, item: Item, bytes: usize) {
        let queue = self.0.entry(token).or_insert_with(|| Queue {
            tx: tx.clone(),
            items: VecDeque::new(),
            bytes: 0,
        });
        queue.items.push_back((item, bytes));
        queue.bytes += bytes;
    }

    /// Removes the queue of a run that was dropped, with all its events.
    pub(super) fn remove(&mut self, token: u64) {
        self.0.remove(&token);
    }

    /// Makes room for `bytes` more in the queue of a run with `onSlow: "skip"`. Drops its oldest
    /// statuses and replaces its oldest output by gaps, until the limit is kept or nothing more can
    /// be dropped. Returns how many bytes of output were dropped.
    pub(super) fn skip(&mut self, token: u64, bytes: usize) -> u64 {
        let queue = self.0.get_mut(&token);
        queue.map_or(0, |queue| queue.skip(bytes))
    }

    /// Waits until the channel of any run has room, and moves the oldest event of that run's queue
    /// into it. Returns the token of the run. Cancel-safe, because the event stays queued until
    /// there is room.
    ///
    /// Panics if no event waits.
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
    /// Makes room for `more` bytes in this queue, as [`WaitingEvents::skip`] describes. Returns how
    /// many bytes of output were dropped.
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
