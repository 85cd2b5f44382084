//! The end of a connection whose request was not read completely.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;

/// The time for the client to read the answer and close.
const LINGER_TIME: Duration = Duration::from_secs(2);
/// The maximum number of bytes that are read and dropped meanwhile.
const LINGER_BYTES: usize = 8 * 1024 * 1024;

/// The size of the buffer of a connection that lingers.
const BUFFER_BYTES: usize = 4 * 1024;
/// The maximum number of connections that linger.
const LINGERING: usize = 256;

/// The places of connections that linger. Clones share them. A connection takes a place after its
/// answer was written, and frees it after 2 s at most. Nobody waits for a place: without a free
/// one, the connection is closed at once.
#[derive(Debug, Clone)]
pub(super) struct LingerPlaces(Arc<Semaphore>);

impl Default for LingerPlaces {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LINGERING)))
    }
}

impl LingerPlaces {
    /// Closes a connection whose answer was written. First it lingers, if a place is free.
    pub(super) async fn close(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        if let Ok(_place) = self.0.try_acquire() {
            linger(stream).await;
        }
    }
}

/// Ends the connection for writing, then reads and drops what the client still sends: at most 8
/// MiB, for at most 2 s. Without this, the kernel would answer unread bytes with a reset, and the
/// client could lose the answer (RFC 9112, section 9.6).
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let drain = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut left = LINGER_BYTES;
        let mut buffer = vec![0; BUFFER_BYTES];
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

#[cfg(test)]
mod tests {
    use futures::future::{join_all, poll_immediate};
    use tokio::io::DuplexStream;

    use super::*;

    #[tokio::test]
    async fn a_connection_without_a_place_is_closed_at_once() {
        let places = LingerPlaces::default();
        let (own, clients): (Vec<DuplexStream>, Vec<_>) =
            (0..=LINGERING).map(|_| tokio::io::duplex(16)).unzip();
        let mut closing: Vec<_> = own
            .into_iter()
            .map(|stream| Box::pin(places.close(stream)))
            .collect();
        let mut last = closing.pop().unwrap();
        let first = poll_immediate(join_all(&mut closing)).await;
        assert!(first.is_none());
        assert!(poll_immediate(&mut last).await.is_some());
        drop(clients);
        join_all(closing).await;
        assert_eq!(places.0.available_permits(), LINGERING);
    }
}
