//! The SHA-256 of an execution's output. It is computed after the output is written, by an ordinary
//! reader, so hashing never delays the writer.

use ring::digest::{Context, SHA256};

use crate::{blocking, entry::Entry};

/// The size of one read while hashing (64 KiB), which is also the most output held in memory.
const CHUNK_BYTES: usize = 64 << 10;
/// The bytes hashed between two checks whether the caller still waits (16 MiB, about 50 ms).
const TURN_BYTES: u64 = 16 << 20;

/// Waits until the output of `entry` is complete, and returns the SHA-256 of all its bytes. `None`
/// if it cannot be known, because bytes were freed, cannot be read, or are missing after an aborted
/// writer. Hashes about 320 MB/s on one of Tokio's blocking threads.
///
/// # Cancellation
/// A dropped call stops hashing after at most 16 MiB more.
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
