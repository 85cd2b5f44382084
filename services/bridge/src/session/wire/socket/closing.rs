//! Closes the WebSocket of a session in such a way that the client receives the close code (RFC
//! 6455, section 7).

use std::time::Duration;

use futures::{Sink, Stream};
use protocol::rpc::close;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::Socket;

/// How long the bridge tries to send the queued answers and the close frame. Without this limit, a
/// client that does not read would block the close forever.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// How long the bridge continues to read after its close frame, so that the client has time to
/// receive the code and answer it.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// The close codes after which the received bytes can no longer be parsed as frames. The client
/// violated the protocol (1002), sent text that is not UTF-8 (1007) or a too long message (1009),
/// or there is no memory for its message (1013). See docs/protocol.md, "Close codes".
const UNREADABLE: [u16; 4] = [1002, 1007, close::TOO_BIG, close::TRY_AGAIN_LATER];

impl<T: AsyncRead + AsyncWrite + Unpin> Socket<T> {
    /// Sends the queued answers and a close frame with this code and reason, for up to 2 s. Then
    /// reads for up to 1 s, until the client's close frame arrives. An earlier close could reset
    /// the connection before the client has received the code. Failures are ignored, because the
    /// session ends in any case.
    pub async fn close(mut self, code: u16, reason: &str) {
        let end = Instant::now() + CLOSE_TIME;
        if UNREADABLE.contains(&code) {
            // The message will never be complete: release its bytes before waiting for the peer.
            self.stream.get_mut().give_up_message();
            if !self.is_unflushed && !self.is_blocked {
                self.rebuild();
            }
        }
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.to_owned().into(),
        };
        let sent = async {
            std::future::poll_fn(|cx| self.poll_room(cx)).await?;
            self.stream.close(Some(frame)).await
        };
        if !matches!(timeout_at(end, sent).await, Ok(Ok(()))) {
            return;
        }
        let linger = Instant::now() + LINGER_TIME;
        if UNREADABLE.contains(&code) {
            // A close with unread bytes would reset the connection, and the peer would not receive
            // the code. tungstenite has ended this stream, so the bytes are read without it.
            let mut rest = vec![0; 16 * 1024];
            if let Some(raw) = self.stream.get_mut().raw() {
                while let Ok(Ok(1..)) = timeout_at(linger, raw.read(&mut rest)).await {}
            }
            return;
        }
        let mut answer =
            std::future::poll_fn(|cx| std::pin::Pin::new(&mut self.stream).poll_next(cx));
        while let Ok(Some(Ok(_))) = timeout_at(linger, &mut answer).await {}
    }

    /// Ends a connection that the client has closed. Sends the answer to its close frame, for up to
    /// 1 s.
    pub async fn finish(mut self) {
        let end = Instant::now() + LINGER_TIME;
        let flush = std::future::poll_fn(|cx| std::pin::Pin::new(&mut self.stream).poll_flush(cx));
        // A peer that has closed the connection needs no answer.
        let _ = timeout_at(end, flush).await;
    }
}
