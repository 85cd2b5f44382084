//! Closing the WebSocket of a session, so that the peer sees the code (RFC 6455, section 7).

use std::time::Duration;

use futures::{Sink, Stream};
use protocol::rpc::close;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::Socket;

/// How long the sending of a close may take; a peer that does not read blocks it for ever.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// How long the bridge reads on after its close, so that the peer can answer and sees the code.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// The codes after which the rest of the bytes cannot be read as frames: they are no WebSocket, no
/// UTF-8, too big, or found no room (docs/protocol.md, "Close codes").
const UNREADABLE: [u16; 4] = [1002, 1007, close::TOO_BIG, close::TRY_AGAIN_LATER];

impl<T: AsyncRead + AsyncWrite + Unpin> Socket<T> {
    /// Sends what is queued and closes with this code, all within a time limit; then waits a moment
    /// for the peer's own close.
    pub async fn close(mut self, code: u16, reason: &str) {
        let end = Instant::now() + CLOSE_TIME;
        if UNREADABLE.contains(&code) {
            // The message will never be complete: release its bytes before waiting for the peer.
            self.stream.get_mut().give_up_message();
            if !self.unflushed && !self.blocked {
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
            // The rest is read past tungstenite, which is done with this peer: closing with unread
            // bytes would reset the connection, and the peer would not see the code.
            let mut rest = vec![0; 16 * 1024];
            if let Some(raw) = self.stream.get_mut().raw() {
                while let Ok(Ok(1..)) = timeout_at(linger, raw.read(&mut rest)).await {}
            }
            return;
        }
        let answer = std::future::poll_fn(|cx| std::pin::Pin::new(&mut self.stream).poll_next(cx));
        let mut answer = answer;
        while let Ok(Some(Ok(_))) = timeout_at(linger, &mut answer).await {}
    }

    /// Answers the peer's close; tungstenite has queued the frame.
    pub async fn finish(mut self) {
        let end = Instant::now() + LINGER_TIME;
        let flush = std::future::poll_fn(|cx| std::pin::Pin::new(&mut self.stream).poll_flush(cx));
        // A peer that has gone already needs no answer.
        let _ = timeout_at(end, flush).await;
    }
}
