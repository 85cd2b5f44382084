//! Reading the raw events of an execution, which are the CLI's exact stdout. They are read from a
//! file of their own, or rebuilt from the output and its patches (the places where the two differ).

mod seek;
mod state;

use std::sync::Arc;

use bytes::Bytes;
use protocol::Patch;
use tokio::sync::watch;

pub use seek::EventsExtent;
pub(crate) use state::EventsState;
pub use state::EventsStorage;

use crate::{
    error::ReadError,
    patches::PatchLog,
    reader::{Reader, run_disk_read},
    track::Track,
};

/// The file from which a reader gets the raw events.
enum Source {
    /// Not known yet, because the execution has had no writer. If it ends without one, it has no
    /// events.
    Waiting(watch::Receiver<EventsState>),
    /// The events have a file of their own.
    Raw(Reader),
    /// The events are rebuilt from the output file and these patches.
    Rebuilt(Arc<PatchLog>),
}

/// Reads the raw events of an execution, which are the CLI's exact stdout, and waits for events of
/// an execution that still runs. Begins at the oldest byte on disk or at an offset. Callers need
/// not know whether the events have a file of their own or are rebuilt from the output.
pub struct EventsReader {
    /// The file from which the events are read.
    source: Source,
    /// Reads the output. Its end also shows the end of events that have no file of their own.
    output: Reader,
    /// The position of the next patch in the events file, in bytes.
    log_at: u64,
    /// The next patch, already read, which lies after the reader's offset in the output.
    patch: Option<Patch>,
    /// Original bytes of a patch that did not fit into the `max` of the last call. The next call
    /// returns them.
    rest: Bytes,
    /// The number of bytes that may still be returned; `None` means no limit.
    remaining: Option<u64>,
}

impl EventsReader {
    /// Creates a reader that begins at the oldest byte on disk. If it is not known yet how the
    /// events are stored, its first call waits.
    pub(crate) fn new(output: Arc<Track>, state: watch::Receiver<EventsState>) -> Self {
        Self::of(Source::Waiting(state), Reader::oldest(output))
    }

    /// Creates a reader that begins at `offset`, and returns it with the range of events that
    /// exists now. `None` begins at the oldest byte on disk. Blocks on the disk.
    ///
    /// # Errors
    /// `Beyond` if `offset` is after the end, `NotKept` if its bytes are no longer on disk, or
    /// `Io`.
    pub(crate) fn starting_at(
        offset: Option<u64>,
        output: Arc<Track>,
        state: watch::Receiver<EventsState>,
    ) -> Result<(Self, EventsExtent), ReadError> {
        // Read the marks before the state: an execution that had a writer and ended is not empty.
        let marks = output.current_marks();
        let kept = state.borrow().clone();
        match kept {
            EventsState::Unknown => {
                let empty = EventsExtent {
                    kept_from: 0,
                    len: 0,
                    ended: marks.ended,
                };
                empty.start(offset)?;
                Ok((Self::new(output, state), empty))
            }
            EventsState::Raw(track) => {
                let extent = EventsExtent::of(track.current_marks());
                let reader = Reader::at(track, extent.start(offset)?);
                let reader = Self::of(Source::Raw(reader), Reader::oldest(output));
                Ok((reader, extent))
            }
            EventsState::InOutput(log) => {
                let (start, extent) = seek::find(&output, &log, offset)?;
                let reader = Self {
                    log_at: start.log_at,
                    rest: start.rest,
                    ..Self::of(Source::Rebuilt(log), Reader::at(output, start.output))
                };
                Ok((reader, extent))
            }
        }
    }

    /// Creates a reader with no patch read yet and no limit.
    fn of(source: Source, output: Reader) -> Self {
        Self {
            source,
            output,
            log_at: 0,
            patch: None,
            rest: Bytes::new(),
            remaining: None,
        }
    }

    /// Limits the reader: after `bytes` more bytes, [`Self::next`] returns `None`.
    pub fn end_after(&mut self, bytes: u64) {
        self.remaining = Some(bytes);
    }

    /// Waits until more of the CLI's stdout exists, and returns between 1 and `max` bytes of it.
    /// `None` means the end of the events or the limit of [`Self::end_after`].
    ///
    /// # Errors
    /// The same errors as [`Reader::next`]. If the events are rebuilt from the output, the offsets
    /// in `NotKept` count output bytes.
    ///
    /// # Cancellation
    /// Safe: a dropped call loses no bytes.
    pub async fn next(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        let Some(remaining) = self.remaining else {
            return self.next_kept(max).await;
        };
        if remaining == 0 {
            return Ok(None);
        }
        let max = usize::try_from(remaining).map_or(max, |remaining| max.min(remaining));
        let bytes = self.next_kept(max).await?;
        let read = bytes.as_ref().map_or(0, Bytes::len);
        self.remaining = Some(remaining - read as u64);
        Ok(bytes)
    }

    /// Waits for the next bytes of the CLI's stdout, between 1 and `max`, without the limit of
    /// [`Self::end_after`]. `None` at the end of the events.
    async fn next_kept(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        loop {
            match &mut self.source {
                Source::Waiting(state) => {
                    let current = state.borrow_and_update().clone();
                    match current {
                        EventsState::Raw(track) => self.source = Source::Raw(Reader::oldest(track)),
                        EventsState::InOutput(log) => {
                            let floor = log.floor().output;
                            let oldest = self.output.offset();
                            self.output.skip(floor.saturating_sub(oldest));
                            self.source = Source::Rebuilt(log);
                        }
                        EventsState::Unknown => {
                            tokio::select! {
                                // Check the state first: an execution that had a writer and ended
                                // is not empty.
                                biased;
                                changed = state.changed() => {
                                    changed.map_err(|_| ReadError::Aborted)?;
                                }
                                ended = self.output.wait() => {
                                    if ended?.is_none() && !state.has_changed().unwrap_or(false) {
                                        return Ok(None);
                                    }
                                    tokio::task::yield_now().await;
                                }
                            }
                        }
                    }
                }
                Source::Raw(reader) => return reader.next(max).await,
                Source::Rebuilt(log) => {
                    let log = Arc::clone(log);
                    return self.rebuild(&log, max).await;
                }
            }
        }
    }

    /// Returns the next bytes of the CLI's stdout, rebuilt from the output. Where a patch says that
    /// the two differ, its original bytes are returned instead of the output's. `None` at the end
    /// of the output.
    async fn rebuild(
        &mut self,
        log: &Arc<PatchLog>,
        max: usize,
    ) -> Result<Option<Bytes>, ReadError> {
        loop {
            if !self.rest.is_empty() {
                return Ok(Some(self.rest.split_to(max.min(self.rest.len()))));
            }
            // Read the length before the patches: a patch is written before the output that it
            // changes.
            let Some(available) = self.output.wait().await? else {
                return Ok(None);
            };
            self.find_next_patch(log).await?;
            let at = self.output.offset();
            let floor = log.floor().output;
            if at < floor {
                return Err(ReadError::NotKept {
                    kept_from: floor,
                    len: at + available,
                });
            }
            let plain = match self.patch.take() {
                Some(patch) if patch.offset <= at => {
                    self.output.skip(patch.end().saturating_sub(at));
                    self.rest = Bytes::from(patch.original);
                    continue;
                }
                Some(patch) => {
                    let until = patch.offset - at;
                    self.patch = Some(patch);
                    available.min(until)
                }
                None => available,
            };
            let bytes = self.output.read_exact(plain.min(max as u64)).await?;
            let floor = log.floor().output;
            if at < floor {
                return Err(ReadError::NotKept {
                    kept_from: floor,
                    len: at + available,
                });
            }
            return Ok(Some(bytes));
        }
    }

    /// Reads patches until one ends after the reader's offset in the output, and stores it as the
    /// next patch. Earlier patches describe output that was read or freed. Stores none if no patch
    /// is left.
    async fn find_next_patch(&mut self, log: &Arc<PatchLog>) -> Result<(), ReadError> {
        while self.patch.is_none() {
            let at = self.log_at;
            let read = match log.read_cached(at) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    let log = Arc::clone(log);
                    run_disk_read(move || log.read(at)).await?
                }
                read => read?,
            };
            let Some((patch, next)) = read else {
                break;
            };
            self.log_at = next;
            if patch.end() > self.output.offset() {
                self.patch = Some(patch);
            }
        }
        Ok(())
    }
}
