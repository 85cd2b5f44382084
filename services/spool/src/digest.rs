//! SHA-256 of an output: a reader like any other, and never on the data path.

use ring::digest::{Context, SHA256};

use crate::entry::Entry;

/// Hashed at once on a blocking thread; also the most that is in memory.
const CHUNK_BYTES: usize = 1 << 20;

/// The SHA-256 of the whole output, once it has ended; follows a live one. None when bytes were freed or cannot be read,
/// or the writer went away. At about 320 MB/s a core, on Tokio's blocking threads, one chunk at a time.
///
/// # Cancellation
/// Dropping it stops it after the chunk at hand.
pub async fn sha256(entry: &Entry) -> Option<[u8; 32]> {
    let mut reader = entry.reader(0).ok()?;
    let mut context = Context::new(&SHA256);
    while let Some(bytes) = reader.next(CHUNK_BYTES).await.ok()? {
        let hash = move || {
            context.update(&bytes);
            context
        };
        context = tokio::task::spawn_blocking(hash).await.ok()?;
    }
    context.finish().as_ref().try_into().ok()
}
