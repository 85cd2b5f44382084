//! A TCP stream that can drop written bytes, for tests of a client that does not answer pings.
//!
//! The WebSocket library answers each ping by itself while it reads. To suppress these answers, the
//! stream drops all written bytes, except while the connection sends a frame of its own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The switch between sending and dropping the bytes written to a [`QuietStream`]. Clones share the
/// state.
#[derive(Debug, Clone)]
pub(super) struct PongSwitch {
    answers: bool,
    drops: Arc<AtomicBool>,
}

impl PongSwitch {
    /// Creates a switch that lets the stream send until [`Self::restore`]. `answers`: whether pings
    /// are answered, so that the stream always sends.
    pub(super) fn new(answers: bool) -> Self {
        Self {
            answers,
            drops: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Returns whether pings are answered; the stream then never drops bytes.
    pub(super) fn answers_pings(&self) -> bool {
        self.answers
    }

    /// Lets the stream send written bytes, until [`Self::restore`].
    pub(super) fn send(&self) {
        self.drops.store(false, Ordering::Release);
    }

    /// Ends the effect of [`Self::send`]: the stream drops written bytes again, unless pings are
    /// answered.
    pub(super) fn restore(&self) {
        self.drops.store(!self.answers, Ordering::Release);
    }
}

/// A TCP stream that drops written bytes while its [`PongSwitch`] says so.
#[derive(Debug)]
pub(super) struct QuietStream {
    stream: TcpStream,
    switch: PongSwitch,
}

impl QuietStream {
    pub(super) fn new(stream: TcpStream, switch: PongSwitch) -> Self {
        Self { stream, switch }
    }
}

impl AsyncRead for QuietStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for QuietStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.switch.drops.load(Ordering::Acquire) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
