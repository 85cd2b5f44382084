//! A stream that can drop written bytes, so that tests can act as a client that does not answer
//! pings.
//!
//! The WebSocket library answers each ping by itself while it reads. To suppress these answers, the
//! stream drops all written bytes, except while the connection sends a frame of its own. It is
//! above TLS, which must send every byte that it has encrypted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::Transport;

/// The switch that decides whether a [`QuietStream`] sends or drops the bytes written to it. Clones
/// share the state.
#[derive(Debug, Clone)]
pub(super) struct PongSwitch {
    answers: bool,
    drops: Arc<AtomicBool>,
}

impl PongSwitch {
    /// Creates a switch that lets the stream send until [`Self::restore`]. With `answers`, pings
    /// are to be answered, so the stream never drops bytes.
    pub(super) fn new(answers: bool) -> Self {
        Self {
            answers,
            drops: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Returns whether pings are to be answered. If true, the stream never drops bytes.
    pub(super) fn answers_pings(&self) -> bool {
        self.answers
    }

    /// Lets the stream send the bytes written to it, until [`Self::restore`] is called.
    pub(super) fn send(&self) {
        self.drops.store(false, Ordering::Release);
    }

    /// Lets the stream drop written bytes again, after [`Self::send`]. Does nothing if pings are to
    /// be answered.
    pub(super) fn restore(&self) {
        self.drops.store(!self.answers, Ordering::Release);
    }
}

/// A stream that drops the bytes written to it while its [`PongSwitch`] is off, and reports
/// them as written.
#[derive(Debug)]
pub(super) struct QuietStream {
    stream: Transport,
    switch: PongSwitch,
}

impl QuietStream {
    pub(super) fn new(stream: Transport, switch: PongSwitch) -> Self {
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
