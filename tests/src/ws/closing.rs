//! The end of a connection: its close code, and the rule that nothing follows a close.

use std::time::Duration;

use client::{Frame, ReadError};

/// The code of a close frame that has none (RFC 6455, section 7.1.5).
pub(crate) const NO_CODE: u16 = 1005;
/// The code of a connection that ended without a close frame (RFC 6455, section 7.1.5).
pub(crate) const BROKEN: u16 = 1006;

/// The time for the server to end the connection after the closing handshake. A server that keeps
/// the connection open must not send either.
const PATIENCE: Duration = Duration::from_secs(1);

/// Checks that no frame follows a close. `next` continues to read, to the end of the connection or
/// for a second.
///
/// # Errors
/// The rule that the next frame broke.
pub(crate) async fn nothing_follows(
    next: impl Future<Output = Result<Frame, ReadError>>,
) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, next).await {
        Ok(Ok(_) | Err(ReadError::FrameAfterClose)) => Err("a message after a close".into()),
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::super::{Client, Options};

    const CLOSE_1012: [u8; 4] = [0x88, 2, 0x03, 0xf4];
    const CLOSE_3000: [u8; 4] = [0x88, 2, 0x0b, 0xb8];
    const TEXT: [u8; 4] = [0x81, 2, b'{', b'}'];

    /// Starts a server that sends these frames to its first client, then ends.
    async fn server(frames: Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a client");
            let mut socket = tokio_tungstenite::accept_async(stream)
                .await
                .expect("an upgrade");
            socket.get_mut().write_all(&frames).await.expect("sends");
            // Reads the client's answer first: an earlier close could discard sent frames.
            let _ = socket.get_mut().read(&mut [0; 100]).await;
        });
        addr
    }

    async fn closed(frames: &[&[u8]]) -> u16 {
        let addr = server(frames.concat()).await;
        let client = Client::try_connect(addr, Options::default())
            .await
            .expect("an upgrade");
        client.wait_closed().await
    }

    #[tokio::test]
    #[should_panic(expected = "a message after a close")]
    async fn a_message_after_a_close_is_a_violation() {
        closed(&[&CLOSE_1012, &TEXT]).await;
    }

    #[tokio::test]
    #[should_panic(expected = "close code 3000")]
    async fn a_code_that_the_bridge_never_sends_is_a_violation() {
        closed(&[&CLOSE_3000]).await;
    }

    #[tokio::test]
    async fn a_close_alone_is_no_violation() {
        assert_eq!(closed(&[&CLOSE_1012]).await, 1012);
    }
}
