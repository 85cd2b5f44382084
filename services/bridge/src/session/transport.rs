//! The byte stream under a WebSocket. It counts what the peer took, and it never hands over bytes of two
//! frames in one read: so after a message tungstenite's buffer is known to be empty, and one that grew for a
//! large message can be given back (DESIGN.md, "bridge").

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read ahead, in bytes: enough for several small requests at once.
const AHEAD_BYTES: usize = 1024;

/// Where in a frame the reader is (RFC 6455, section 5.2).
#[derive(Debug, Default)]
struct Frames {
    head: [u8; 14],
    /// Bytes of the head handed over.
    have: usize,
    /// Bytes of the payload still to come.
    payload: u64,
}

impl Frames {
    fn is_boundary(&self) -> bool {
        self.have == 0 && self.payload == 0
    }

    /// The head's length, as far as its bytes tell.
    fn head_bytes(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        let length = match self.head[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + mask
    }

    /// How many bytes may be handed over at once.
    fn most(&self) -> usize {
        if self.payload > 0 {
            usize::try_from(self.payload).unwrap_or(usize::MAX)
        } else {
            self.head_bytes() - self.have
        }
    }

    /// These bytes, at most [`Self::most`], were handed over.
    fn pass(&mut self, bytes: &[u8]) {
        if self.payload > 0 {
            self.payload -= bytes.len() as u64;
            return;
        }
        self.head[self.have..self.have + bytes.len()].copy_from_slice(bytes);
        self.have += bytes.len();
        if self.have < self.head_bytes() {
            return;
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b));
        self.payload = match self.head[1] & 0x7F {
            126 => number(&self.head[2..4]),
            127 => number(&self.head[2..10]),
            short => u64::from(short),
        };
        self.have = 0;
    }
}

/// See the module.
#[derive(Debug)]
pub struct Transport<T> {
    /// None in what [`Self::empty`] leaves behind.
    inner: Option<T>,
    written: u64,
    frames: Frames,
    ahead: Box<[u8]>,
    /// What of `ahead` is filled and not handed over.
    range: (usize, usize),
}

impl<T> Transport<T> {
    /// Nothing was written yet.
    pub fn new(inner: T) -> Self {
        Self {
            inner: Some(inner),
            written: 0,
            frames: Frames::default(),
            ahead: vec![0; AHEAD_BYTES].into(),
            range: (0, 0),
        }
    }

    /// One without a stream: it stands where another was taken from, and every use is an error.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            inner: None,
            written: 0,
            frames: Frames::default(),
            ahead: Box::default(),
            range: (0, 0),
        }
    }

    /// Bytes that the kernel took so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether all that was handed over are whole frames.
    #[must_use]
    pub fn is_boundary(&self) -> bool {
        self.frames.is_boundary()
    }

    /// The stream below, past the frames.
    pub fn raw(&mut self) -> Option<&mut T> {
        self.inner.as_mut()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Transport<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let inner = this.inner.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let most = this.frames.most().min(buf.remaining());
        if this.range.0 == this.range.1 {
            if most >= AHEAD_BYTES {
                // A large payload goes straight to where it belongs.
                let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
                ready!(Pin::new(&mut *inner).poll_read(cx, &mut part))?;
                this.frames.pass(part.filled());
                let count = part.filled().len();
                buf.advance(count);
                return Poll::Ready(Ok(()));
            }
            let mut ahead = ReadBuf::new(&mut this.ahead);
            ready!(Pin::new(&mut *inner).poll_read(cx, &mut ahead))?;
            this.range = (0, ahead.filled().len());
        }
        let (start, end) = this.range;
        let bytes = &this.ahead[start..end.min(start + most)];
        buf.put_slice(bytes);
        this.frames.pass(bytes);
        this.range.0 += bytes.len();
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Transport<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let inner = self.inner.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let result = Pin::new(inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = &result {
            self.written += *count as u64;
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = self.inner.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Pin::new(inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = self.inner.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Pin::new(inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn no_read_crosses_a_frame() {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for (length, masked) in [
            (0usize, true),
            (5, false),
            (125, true),
            (126, true),
            (3000, true),
            (70_000, false),
        ] {
            let mask = if masked { 0x80 } else { 0 };
            bytes.push(0x81);
            match length {
                0..126 => bytes.push(mask | length as u8),
                126..65_536 => {
                    bytes.push(mask | 126);
                    bytes.extend((length as u16).to_be_bytes());
                }
                _ => {
                    bytes.push(mask | 127);
                    bytes.extend((length as u64).to_be_bytes());
                }
            }
            bytes.extend(vec![7; if masked { 4 } else { 0 } + length]);
            ends.push(bytes.len());
        }
        let mut transport = Transport::new(&bytes[..]);
        let (mut got, mut boundaries) = (Vec::new(), Vec::new());
        let mut buf = [0; 4096];
        loop {
            let count = transport.read(&mut buf).await.unwrap();
            if count == 0 {
                break;
            }
            got.extend_from_slice(&buf[..count]);
            if transport.is_boundary() {
                boundaries.push(got.len());
            }
        }
        assert!(got == bytes);
        assert_eq!(boundaries, ends);
    }
}
