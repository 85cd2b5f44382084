//! Reads stdin in lines, with a bounded buffer.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The size of one read from stdin, which is the capacity of a pipe.
const READ_BYTES: usize = 64 << 10;

/// The reason why stdin has no next line.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// A line has more bytes than the limit.
    #[error("a line on stdin has more than {0} bytes, which the service does not accept")]
    TooLong(usize),
    /// A line is not UTF-8.
    #[error("a line on stdin is not UTF-8")]
    NotUtf8,
    /// stdin could not be read.
    #[error("could not read stdin: {0}")]
    Io(#[from] io::Error),
}

/// The lines of a byte stream. Memory holds at most one incomplete line and the bytes of one read.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    buffer: BytesMut,
    /// The number of bytes at the beginning of `buffer` that were searched and have no line feed.
    searched: usize,
    limit: usize,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Creates the lines of a stream. A line, with its line feed, may have `limit` bytes.
    pub(super) fn new(reader: R, limit: usize) -> Self {
        Self {
            reader,
            buffer: BytesMut::new(),
            searched: 0,
            limit,
            ended: false,
        }
    }

    /// Returns the next line, with a line feed at its end, or `None` at the end of the stream.
    /// Blank lines are left out. The last line gets a line feed if it has none. Cancel-safe.
    ///
    /// # Errors
    /// The line is too long or not UTF-8, or the stream cannot be read. No further line can be
    /// read then.
    pub(super) async fn next(&mut self) -> Result<Option<String>, LineError> {
        loop {
            if let Some(line) = self.buffered()? {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            self.buffer.reserve(READ_BYTES);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                self.ended = true;
                if !self.buffer.is_empty() {
                    self.buffer.extend_from_slice(b"\n");
                }
            }
        }
    }

    /// Returns the next line if it was read already. Does not read from the stream.
    ///
    /// # Errors
    /// As [`Lines::next`].
    pub(super) fn buffered(&mut self) -> Result<Option<String>, LineError> {
        while let Some(line) = self.split() {
            self.check(line.len())?;
            let line = std::str::from_utf8(&line).map_err(|_| LineError::NotUtf8)?;
            if !line.trim().is_empty() {
                return Ok(Some(line.to_owned()));
            }
        }
        self.check(self.buffer.len())?;
        Ok(None)
    }

    fn split(&mut self) -> Option<Bytes> {
        let new = self.buffer.get(self.searched..).unwrap_or_default();
        match new.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                let line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                Some(line.freeze())
            }
            None => {
                self.searched = self.buffer.len();
                None
            }
        }
    }

    fn check(&self, bytes: usize) -> Result<(), LineError> {
        if bytes > self.limit {
            return Err(LineError::TooLong(self.limit));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(input: &[u8], limit: usize) -> Result<Vec<String>, LineError> {
        let mut lines = Lines::new(input, limit);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await? {
            all.push(line);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn blank_lines_are_left_out_and_the_last_line_gets_a_line_feed() {
        assert_eq!(lines(b"", 9).await.unwrap(), Vec::<String>::new());
        let all = lines(b"\na\r\n  \n\xc3\xa9\nlast", 9).await.unwrap();
        assert_eq!(all, ["a\r\n", "\u{e9}\n", "last\n"]);
    }

    #[tokio::test]
    async fn lines_arrive_in_pieces() {
        let (mut writer, reader) = tokio::io::duplex(3);
        let write = async move {
            use tokio::io::AsyncWriteExt;
            writer
                .write_all(b"first line\nsecond line\n")
                .await
                .unwrap();
        };
        let mut lines = Lines::new(reader, 99);
        let read = async {
            let first = lines.next().await.unwrap();
            let buffered = lines.buffered().unwrap();
            (
                first,
                buffered,
                lines.next().await.unwrap(),
                lines.next().await.unwrap(),
            )
        };
        let ((), (first, buffered, second, end)) = tokio::join!(write, read);
        assert_eq!(first.as_deref(), Some("first line\n"));
        assert_eq!(buffered, None);
        assert_eq!(second.as_deref(), Some("second line\n"));
        assert_eq!(end, None);
    }

    #[tokio::test]
    async fn a_line_over_the_limit_is_an_error_before_its_end() {
        assert_eq!(lines(b"1234\n", 5).await.unwrap(), ["1234\n"]);
        for input in [&b"12345\n"[..], b"123456789", b"1\n123456"] {
            let error = lines(input, 5).await.unwrap_err();
            assert!(matches!(error, LineError::TooLong(5)), "{error}");
        }
        let endless = tokio::io::repeat(b'x');
        let mut endless = Lines::new(endless, 1 << 20);
        assert!(matches!(endless.next().await, Err(LineError::TooLong(_))));
        assert!(
            endless.buffer.capacity() < 4 << 20,
            "{}",
            endless.buffer.capacity()
        );
    }

    #[tokio::test]
    async fn bytes_that_are_not_utf8_are_an_error() {
        assert!(matches!(lines(b"\xff\n", 9).await, Err(LineError::NotUtf8)));
    }
}
