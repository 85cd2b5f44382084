//! What comes behind a close: nothing may.

use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};

/// For the server to close the connection when the close was answered. One that keeps it open says nothing more, either.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads on behind a close, to the end of the connection or for a second.
///
/// # Errors
/// The rule that what came broke.
pub(crate) async fn nothing_follows(
    socket: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, socket.next()).await {
        // tungstenite reads no frame after a close: this is how it says that there was one.
        Ok(Some(Err(Error::Protocol(ProtocolError::ReceivedAfterClosing)) | Ok(_))) => {
            Err("a message after a close".into())
        }
        Ok(Some(Err(_)) | None) | Err(_) => Ok(()),
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
    const TEXT: [u8; 4] = [0x81, 2, b'{', b'}'];

    /// A server that sends these frames at once to whoever comes, then ends.
    async fn server(frames: Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a client");
            let mut socket = tokio_tungstenite::accept_async(stream)
                .await
                .expect("an upgrade");
            socket.get_mut().write_all(&frames).await.expect("sends");
            // The client's answer: nothing of what was sent may be lost.
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
    async fn what_follows_a_close_is_found() {
        closed(&[&CLOSE_1012, &TEXT]).await;
    }

    #[tokio::test]
    async fn a_close_alone_is_none() {
        assert_eq!(closed(&[&CLOSE_1012]).await, 1012);
    }
}
