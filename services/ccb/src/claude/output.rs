//! The bytes for stdout: the output of the execution unchanged, with further lines between its
//! lines.

use std::io;
use std::mem::take;

use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Inserts lines between the lines of an output.
#[derive(Debug, Default)]
struct Insertion {
    /// Whether the output so far ends inside a line.
    in_line: bool,
    /// The lines that wait for the end of the present line.
    waiting: Vec<u8>,
}

impl Insertion {
    /// Appends the next bytes of the output to `to`. The lines that wait are inserted after the
    /// first line feed.
    fn output(&mut self, bytes: &[u8], to: &mut Vec<u8>) {
        let Some(last) = bytes.last() else { return };
        self.in_line = *last != b'\n';
        let line_end = bytes.iter().position(|byte| *byte == b'\n');
        match line_end {
            Some(at) if !self.waiting.is_empty() => {
                let (line, rest) = bytes.split_at(at + 1);
                to.extend_from_slice(line);
                to.append(&mut self.waiting);
                to.extend_from_slice(rest);
            }
            _ => to.extend_from_slice(bytes),
        }
    }

    /// Appends a line to `to` if the output so far ends with a whole line. Otherwise the line
    /// waits.
    fn insert(&mut self, line: &str, to: &mut Vec<u8>) {
        let to = if self.in_line { &mut self.waiting } else { to };
        to.extend_from_slice(line.as_bytes());
    }
}

/// A writer of stdout that never blocks its caller. The caller adds bytes only while nothing waits
/// to be written, so that memory is bounded.
#[derive(Debug)]
pub(super) struct OutputWriter<W> {
    writer: W,
    insertion: Insertion,
    /// The bytes to write.
    pending: Vec<u8>,
    /// The number of bytes of `pending` that were written.
    written: usize,
    unflushed: bool,
}

impl<W: AsyncWrite + Unpin> OutputWriter<W> {
    pub(super) fn new(writer: W) -> Self {
        Self {
            writer,
            insertion: Insertion::default(),
            pending: Vec::new(),
            written: 0,
            unflushed: false,
        }
    }

    /// Returns whether [`OutputWriter::write`] has work to do.
    pub(super) fn is_busy(&self) -> bool {
        self.unflushed
    }

    /// Adds the next bytes of the execution's output.
    pub(super) fn add_output(&mut self, bytes: &[u8]) {
        self.insertion.output(bytes, &mut self.pending);
        self.unflushed |= !self.pending.is_empty();
    }

    /// Adds a line that is not part of the output. It is written between two lines of the output.
    pub(super) fn add_line(&mut self, line: &str) {
        self.insertion.insert(line, &mut self.pending);
        self.unflushed |= !self.pending.is_empty();
    }

    /// Writes everything that was added, and flushes. Cancel-safe: a later call continues.
    ///
    /// # Errors
    /// The error of the writer, for example EPIPE if the reader has closed the pipe.
    pub(super) async fn write(&mut self) -> io::Result<()> {
        while let Some(rest @ [_, ..]) = self.pending.get(self.written..) {
            match self.writer.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                bytes => self.written += bytes,
            }
        }
        self.writer.flush().await?;
        // Frees the memory of a long line.
        drop(take(&mut self.pending));
        self.written = 0;
        self.unflushed = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes pieces of output and lines to insert (those that begin with `+`).
    fn inserted(pieces: &[&str]) -> String {
        let (mut insertion, mut to) = (Insertion::default(), Vec::new());
        for piece in pieces {
            match piece.strip_prefix('+') {
                Some(line) => insertion.insert(line, &mut to),
                None => insertion.output(piece.as_bytes(), &mut to),
            }
        }
        String::from_utf8(to).unwrap()
    }

    #[test]
    fn a_line_is_inserted_only_between_two_lines() {
        assert_eq!(inserted(&["+X\n", "a\nb\n"]), "X\na\nb\n");
        assert_eq!(inserted(&["a\n", "+X\n", "b\n"]), "a\nX\nb\n");
        assert_eq!(inserted(&["a", "+X\n", "b\nc\nd"]), "ab\nX\nc\nd");
        assert_eq!(
            inserted(&["a", "+X\n", "+Y\n", "b", "", "\n"]),
            "ab\nX\nY\n"
        );
        assert_eq!(inserted(&["a\nb", "+X\n", "\n", "+Y\n"]), "a\nb\nX\nY\n");
        assert_eq!(inserted(&["a", "+X\n", "b"]), "ab", "the line still waits");
    }

    #[tokio::test]
    async fn a_cancelled_write_continues_later() {
        use tokio::io::AsyncReadExt;
        let (writer, mut reader) = tokio::io::duplex(4);
        let mut output = OutputWriter::new(writer);
        assert!(!output.is_busy());
        output.add_output(b"0123456789\n");
        assert!(output.is_busy());
        let mut all = Vec::new();
        while output.is_busy() {
            tokio::select! {
                biased;
                result = output.write() => result.unwrap(),
                () = tokio::task::yield_now() => {
                    let mut piece = [0; 3];
                    let bytes = reader.read(&mut piece).await.unwrap();
                    all.extend_from_slice(&piece[..bytes]);
                }
            }
        }
        drop(output);
        reader.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"0123456789\n");
    }
}
