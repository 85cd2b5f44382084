//! SHA-256 of an output: a reader like any other, and never on the data path.

use ring::digest::{Context, SHA256};

use crate::{blocking, entry::Entry};

/// Read and hashed at once; also the most of an output that is in memory for it.
const CHUNK_BYTES: usize = 64 << 10;
/// Hashed before a dropped call is noticed: some 50 ms.
const TURN_BYTES: u64 = 16 << 20;

/// The SHA-256 of the whole output, once it has ended; follows a live one. None when bytes were
/// freed or cannot be read, or the writer went away. At about 320 MB/s a core, on one of Tokio's
/// blocking threads.
///
/// # Cancellation
/// Dropping it stops it after the bytes at hand.
pub async fn sha256(entry: &Entry) -> Option<[u8; 32]> {
    // The first access to an entry opens its files, and may read them.
    let opened = entry.clone();
    let opened = blocking::run(move || opened.reader(0)).await;
    let mut reader = opened.ok()?.ok()?;
    let mut context = Context::new(&SHA256);
    while let Some(available) = reader.wait().await.ok()? {
        let hash = move || {
            let mut left = available.min(TURN_BYTES) as usize;
            while left > 0 {
                let bytes = reader.take_blocking(left.min(CHUNK_BYTES)).ok()?;
                context.update(&bytes);
                left -= bytes.len();
            }
            Some((reader, context))
        };
        (reader, context) = blocking::run(hash).await.ok()??;
    }
    context.finish().as_ref().try_into().ok()
}
