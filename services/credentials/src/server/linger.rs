//! The end of a connection whose request was not read completely.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The time for the client to read the answer and close.
const LINGER_TIME: Duration = Duration::from_secs(2);
/// The most bytes that are read and dropped meanwhile.
const LINGER_BYTES: usize = 8 * 1024 * 1024;

/// Ends the connection for writing, then drops what the client still sends, for at most 2 s and
/// 8 MiB. Without this, the kernel would answer unread bytes with a reset, and the client could
/// lose the answer (RFC 9112, section 9.6).
pub(super) async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let drain = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut left = LINGER_BYTES;
        let mut buffer = vec![0; 16 * 1024];
        while left > 0 {
            match stream.read(&mut buffer).await {
                Ok(count) if count > 0 => left = left.saturating_sub(count),
                _ => return,
            }
        }
    };
    // A client that takes longer may lose the answer.
    let _ = tokio::time::timeout(LINGER_TIME, drain).await;
}
