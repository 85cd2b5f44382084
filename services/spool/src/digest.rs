//! SHA-256 of an output, computed by an ordinary reader outside the data path.

use ring::digest::{Context, SHA256};

use crate::{blocking, entry::Entry};

/// The size of one read; also the most output that hashing holds in memory.
const CHUNK_BYTES: usize = 64 << 10;
/// Bytes hashed between two checks for a dropped call: about 50 ms.
const TURN_BYTES: u64 = 16 << 20;

/// Returns the SHA-256 of the whole output, once the output has ended. None if bytes were freed or
/// cannot be read, or if the writer aborted. Hashes about 320 MB/s on one of Tokio's blocking
/// threads.
///
/// # Cancellation
/// A dropped call stops after the bytes being hashed.
pub async fn sha256(entry: &Entry) -> Option<[u8; 32]> {
    // The first access to an entry opens its files and may read them.
    let opened = entry.clone();
    let opened = blocking::run(move || opened.reader(0)).await;
    let mut reader = opened.ok()?.ok()?;
    let mut context = Context::new(&SHA256);
    while let Some(available) = reader.wait().await.ok()? {
        let hash = move || {
            let mut remaining = available.min(TURN_BYTES) as usize;
            while remaining > 0 {
                let bytes = reader
                    .read_exact_blocking(remaining.min(CHUNK_BYTES))
                    .ok()?;
                context.update(&bytes);
                remaining -= bytes.len();
            }
            Some((reader, context))
        };
        (reader, context) = blocking::run(hash).await.ok()??;
    }
    context.finish().as_ref().try_into().ok()
}
