//! Reads an execution's output from an offset to its end, and waits for bytes that are not written
//! yet.

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

/// Permits for reads of output and events that wait for the disk. Each such read uses a thread,
/// which costs memory.
///
/// - Acquired when bytes are not in the page cache; held for one read of at most 64 KiB or one
///   patch.
/// - Order: reads that need the disk wait in order of arrival. A read from the page cache never
///   waits for a permit.
/// - Backpressure: each reader holds one chunk at a time.
static DISK_READS: Semaphore = Semaphore::const_new(8);

/// Runs `read`, which may wait for the disk, on a thread that may block, and returns its result. At
/// most eight such reads run at the same time; more wait for their turn.
///
/// # Cancellation
/// A dropped call that waits for its turn reads no bytes. A read that has begun is finished by its
/// thread, and its result is dropped.
pub(crate) async fn run_disk_read<T: Send + 'static>(
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let permit = DISK_READS.acquire().await.map_err(io::Error::other)?;
    let read = move || {
        let _permit = permit;
        read()
    };
    blocking::run_io(read).await
}

/// Reads an execution's output from an offset on, and waits for output that is not written yet.
/// Holds no bytes between calls, so slow readers cost no memory.
pub struct Reader {
    /// The output file.
    track: Arc<Track>,
    /// The present length and oldest offset on disk, as the writer publishes them.
    marks: watch::Receiver<Marks>,
    /// The offset of the next byte to be read.
    offset: u64,
}

impl Reader {
    /// Creates a reader that begins at the byte `offset` of the output.
    ///
    /// # Errors
    /// `Beyond` if `offset` is after the present end, and `NotKept` if it is before the oldest byte
    /// on disk.
    pub(crate) fn new(track: Arc<Track>, offset: u64) -> Result<Self, ReadError> {
        let Marks { len, kept_from, .. } = track.current_marks();
        if offset > len {
            return Err(ReadError::Beyond { len });
        }
        if offset < kept_from {
            return Err(ReadError::NotKept { kept_from, len });
        }
        Ok(Self::at(track, offset))
    }

    /// Creates a reader that begins at the oldest byte that is on disk.
    pub(crate) fn oldest(track: Arc<Track>) -> Self {
        let offset = track.current_marks().kept_from;
        Self::at(track, offset)
    }

    /// Creates a reader that begins at the byte `offset`, which the caller has compared with the
    /// bytes on disk. The first read checks it again.
    pub(crate) fn at(track: Arc<Track>, offset: u64) -> Self {
        let marks = track.marks.subscribe();
        Self {
            track,
            marks,
            offset,
        }
    }

    /// Returns the offset in the output of the next byte to be read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Waits until output after the reader's offset exists, and returns between 1 and `max` bytes
    /// of it. `None` means that the output is complete and was read to its end. A chunk may end
    /// inside a UTF-8 character.
    ///
    /// # Errors
    /// On an error the offset stays, and the next call tries again.
    /// - `NotKept` if the writer freed these bytes before they were read.
    /// - `Aborted` if the writer was dropped without finishing; only after every written byte was
    ///   read.
    /// - `Io` if the disk cannot be read.
    ///
    /// # Cancellation
    /// Safe: a dropped call has read no bytes.
    ///
    /// # Panics
    /// If the bytes are only on disk and there is no Tokio runtime, whose blocking threads read
    /// them.
    pub async fn next(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        match self.wait().await? {
            Some(available) => self.read_exact(available.min(max as u64)).await.map(Some),
            None => Ok(None),
        }
    }

    /// Waits until bytes after the reader's offset are written, and returns how many there are.
    /// `None` at the end of a complete output. Reads no bytes.
    ///
    /// # Errors
    /// `NotKept` if the bytes at the offset are no longer on disk, and `Aborted` if the writer was
    /// dropped without finishing and all its bytes were read.
    pub(crate) async fn wait(&mut self) -> Result<Option<u64>, ReadError> {
        // Otherwise a reader that never has to wait would block all other tasks on its thread.
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

    /// Reads exactly the next `n` bytes, which [`Reader::wait`] reported as available, and advances
    /// the offset. Bytes in the page cache are returned immediately; otherwise another thread waits
    /// for the disk.
    ///
    /// # Errors
    /// `NotKept` if the bytes were freed in the meantime, or `Io`. The offset then stays.
    pub(crate) async fn read_exact(&mut self, n: u64) -> Result<Bytes, ReadError> {
        let at = self.offset;
        let n = usize::try_from(n).map_err(io::Error::other)?;
        // New output is usually in the page cache, although without a guarantee; old output often
        // is not.
        let read = match read_cached(&*self.track.file, at, n) {
            Some(bytes) => Ok(bytes),
            None => {
                let track = Arc::clone(&self.track);
                run_disk_read(move || read_up_to(&*track.file, at, n)).await
            }
        };
        self.finish_read(at, n, read)
    }

    /// Reads exactly the next `n` bytes, like [`Reader::read_exact`], but waits for the disk on the
    /// calling thread.
    pub(crate) fn read_exact_blocking(&mut self, n: usize) -> Result<Bytes, ReadError> {
        let read = read_up_to(&*self.track.file, self.offset, n);
        self.finish_read(self.offset, n, read)
    }

    /// Checks that the bytes in `read` are output and not freed bytes (zeros), and advances the
    /// offset by `n`.
    ///
    /// # Errors
    /// `NotKept` if the bytes at `at` were freed during the read, or `Io` if fewer than `n` were
    /// read.
    fn finish_read(
        &mut self,
        at: u64,
        n: usize,
        read: io::Result<Vec<u8>>,
    ) -> Result<Bytes, ReadError> {
        // The writer publishes before it frees: if the offset is still kept now, the bytes read
        // were not a hole.
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

    /// Advances the offset by `n` bytes without reading them.
    pub(crate) fn skip(&mut self, n: u64) {
        self.offset += n;
    }
}

#[cfg(test)]
mod tests;
