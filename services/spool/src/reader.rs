//! A reader of a track: from an offset to the end, waiting for what is still to come.

use std::{io, sync::Arc};

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use crate::{
    blocking,
    error::ReadError,
    files::{read_cached, read_up_to},
    marks::Marks,
    track::Track,
};

/// Places for reads that wait for the disk. Each uses a thread, which costs memory.
///
/// - Taken when: bytes are not in the page cache; held for one read of at most 64 KiB or one patch.
/// - Who waits behind whom: reads that need the disk wait in their order of arrival. A read from
///   the page cache waits for nobody.
/// - The other direction: each reader holds one chunk at a time.
static DISK_READS: Semaphore = Semaphore::const_new(8);

/// Reads from the disk on a thread that may wait for it.
///
/// # Cancellation
/// After a dropped call the thread finishes the read alone.
pub(crate) async fn off_the_runtime<T: Send + 'static>(
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let place = DISK_READS.acquire().await.map_err(io::Error::other)?;
    let read = move || {
        let _place = place;
        read()
    };
    blocking::run_io(read).await
}

/// Reads an output. It holds no bytes between calls, so that any number of slow readers costs
/// nothing.
pub struct Reader {
    track: Arc<Track>,
    marks: watch::Receiver<Marks>,
    offset: u64,
}

impl Reader {
    pub(crate) fn new(track: Arc<Track>, offset: u64) -> Result<Self, ReadError> {
        let Marks { len, kept_from, .. } = track.now();
        if offset > len {
            return Err(ReadError::Beyond { len });
        }
        if offset < kept_from {
            return Err(ReadError::NotKept { kept_from, len });
        }
        Ok(Self::at(track, offset))
    }

    /// Begins at the oldest kept byte.
    pub(crate) fn oldest(track: Arc<Track>) -> Self {
        let offset = track.now().kept_from;
        Self::at(track, offset)
    }

    /// Begins at an offset that the caller has checked. The first read checks it again.
    pub(crate) fn at(track: Arc<Track>, offset: u64) -> Self {
        let marks = track.marks.subscribe();
        Self {
            track,
            marks,
            offset,
        }
    }

    /// The offset of the next byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes, between 1 and `max`; None at the end of a finished output. A chunk may end
    /// inside a character.
    ///
    /// # Errors
    /// See [`ReadError`]; the offset stays where it was, and asking again tries again. `NotKept`
    /// after freeing overtook the reader; `Aborted` only after every byte that was written has been
    /// read.
    ///
    /// # Cancellation
    /// Safe: a dropped call has read nothing.
    ///
    /// # Panics
    /// When the bytes are only on disk and there is no Tokio runtime: they are then read on its
    /// blocking threads.
    pub async fn next(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        match self.wait().await? {
            Some(available) => self.take(available.min(max as u64)).await.map(Some),
            None => Ok(None),
        }
    }

    /// Waits for bytes behind the offset and says how many there are.
    pub(crate) async fn wait(&mut self) -> Result<Option<u64>, ReadError> {
        // A reader that never has to wait would otherwise keep its thread from everybody else.
        tokio::task::consume_budget().await;
        loop {
            let Marks {
                len,
                kept_from,
                ended,
                aborted,
                crc32: _,
            } = *self.marks.borrow_and_update();
            if self.offset < kept_from {
                return Err(ReadError::NotKept { kept_from, len });
            }
            if self.offset < len {
                return Ok(Some(len - self.offset));
            }
            if ended {
                return Ok(None);
            }
            if aborted || self.marks.changed().await.is_err() {
                return Err(ReadError::Aborted);
            }
        }
    }

    /// Reads exactly `n` bytes that `wait` said are there.
    pub(crate) async fn take(&mut self, n: u64) -> Result<Bytes, ReadError> {
        let at = self.offset;
        let n = usize::try_from(n).map_err(io::Error::other)?;
        // New output is usually in the page cache, but without a guarantee; old output is not.
        let read = match read_cached(&*self.track.file, at, n) {
            Some(bytes) => Ok(bytes),
            None => {
                let track = Arc::clone(&self.track);
                off_the_runtime(move || read_up_to(&*track.file, at, n)).await
            }
        };
        self.finish_read(at, n, read)
    }

    /// As [`Reader::take`], but waits for the disk on this thread.
    pub(crate) fn take_blocking(&mut self, n: usize) -> Result<Bytes, ReadError> {
        let read = read_up_to(&*self.track.file, self.offset, n);
        self.finish_read(self.offset, n, read)
    }

    fn finish_read(
        &mut self,
        at: u64,
        n: usize,
        read: io::Result<Vec<u8>>,
    ) -> Result<Bytes, ReadError> {
        // The writer publishes before it frees: if this is still kept now, what was read was no
        // hole.
        let Marks { len, kept_from, .. } = *self.marks.borrow();
        if at < kept_from {
            return Err(ReadError::NotKept { kept_from, len });
        }
        let bytes = read?;
        if bytes.len() < n {
            return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        self.offset += n as u64;
        Ok(Bytes::from(bytes))
    }

    /// Passes over `n` bytes that `wait` said are there.
    pub(crate) fn skip(&mut self, n: u64) {
        self.offset += n;
    }
}

#[cfg(test)]
mod tests;
