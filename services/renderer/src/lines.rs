//! Splits the CLI's stdout into lines, with bounded memory. The result does not depend on how
//! stdout is cut into chunks.

use memchr::memmem;

/// The longest event line that is read (64 MiB). A longer line is dropped and counted as noise, so
/// that memory stays bounded.
pub const LONGEST_LINE_BYTES: usize = 64 << 20;

/// The longest line without an event that is read (64 KiB). If no JSON object begins in the first
/// 64 KiB of a line, the line is dropped, which loses no event.
pub const LONGEST_NOISE_BYTES: usize = 64 << 10;

/// The most buffer memory that stays allocated between lines (256 KiB). Most lines fit, and a
/// single long line does not hold its memory for the rest of the run.
const KEPT_CAPACITY_BYTES: usize = 256 << 10;

/// One line of the CLI's stdout, without its line feed.
#[derive(Debug, PartialEq)]
pub(crate) enum Line<'a> {
    /// The bytes of the line. They need not be JSON or UTF-8.
    Whole(&'a [u8]),
    /// The line was longer than its limit and was dropped.
    TooLong {
        /// Whether the line began like an event, so that an event is lost.
        event: bool,
    },
}

/// Splits chunks of stdout into lines, and keeps the beginning of an unfinished line for the next
/// chunk.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The beginning of a line whose end has not arrived yet.
    partial: Vec<u8>,
    /// Set while the rest of a line that is too long is skipped. Its value is whether the line
    /// began like an event.
    too_long: Option<bool>,
}

impl Lines {
    /// Passes each line that ends in `chunk` to `each`, in order, and keeps the rest.
    pub(crate) fn push(&mut self, mut chunk: &[u8], mut each: impl FnMut(Line<'_>)) {
        while let Some(end) = memchr::memchr(b'\n', chunk) {
            let (line, rest) = (&chunk[..end], &chunk[end + 1..]);
            chunk = rest;
            if self.partial.is_empty() && self.too_long.is_none() && fits(line) {
                each(Line::Whole(line));
            } else {
                self.extend(line);
                self.end(&mut each);
            }
        }
        self.extend(chunk);
    }

    /// Processes the end of stdout: passes the last line to `each` if it has no line feed.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if self.too_long.is_some() || !self.partial.is_empty() {
            self.end(&mut each);
        }
    }

    /// Appends bytes to the unfinished line, or drops the line if it becomes too long.
    fn extend(&mut self, bytes: &[u8]) {
        if self.too_long.is_some() || bytes.is_empty() {
            return;
        }
        // Only the first bytes decide how long the line may be, so that chunks do not matter.
        let missing = LONGEST_NOISE_BYTES.saturating_sub(self.partial.len());
        let (head, rest) = bytes.split_at(missing.min(bytes.len()));
        self.partial.extend_from_slice(head);
        if rest.is_empty() {
            return;
        }
        let event = holds_object(&self.partial);
        if event && self.partial.len() + rest.len() <= LONGEST_LINE_BYTES {
            self.partial.extend_from_slice(rest);
        } else {
            self.too_long = Some(event);
            self.partial = Vec::new();
        }
    }

    /// Passes the unfinished line to `each`, and frees a large buffer.
    fn end(&mut self, each: &mut impl FnMut(Line<'_>)) {
        match self.too_long.take() {
            Some(event) => each(Line::TooLong { event }),
            None => each(Line::Whole(&self.partial)),
        }
        if self.partial.capacity() > KEPT_CAPACITY_BYTES {
            self.partial = Vec::new();
        }
        self.partial.clear();
    }
}

/// Returns true if a line is short enough to be read.
fn fits(line: &[u8]) -> bool {
    line.len() <= LONGEST_NOISE_BYTES || (line.len() <= LONGEST_LINE_BYTES && holds_object(line))
}

/// Returns true if a JSON object begins in the first 64 KiB of the line, so that the line may be an
/// event.
fn holds_object(line: &[u8]) -> bool {
    let head = &line[..line.len().min(LONGEST_NOISE_BYTES)];
    head.starts_with(b"{") || memmem::find(head, b"{\"").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(chunks: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let mut lines_seen = Vec::new();
        let mut each = |line: Line<'_>| {
            lines_seen.push(match line {
                Line::Whole(line) => Some(line.to_vec()),
                Line::TooLong { .. } => None,
            });
        };
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.push(chunk, &mut each);
        }
        lines.finish(&mut each);
        lines_seen
    }

    #[test]
    fn chunks_do_not_change_the_lines() {
        let whole = cut(&[b"one\n\ntwo\nlast"]);
        assert_eq!(
            whole,
            [
                Some(b"one".to_vec()),
                Some(vec![]),
                Some(b"two".to_vec()),
                Some(b"last".to_vec())
            ]
        );
        let bytes: Vec<&[u8]> = b"one\n\ntwo\nlast".chunks(1).collect();
        assert_eq!(cut(&bytes), whole);
    }

    #[test]
    fn a_too_long_line_is_dropped_and_the_next_one_is_read() {
        let noise = vec![b'x'; LONGEST_NOISE_BYTES + 1];
        assert_eq!(cut(&[&noise, b"more\n{}\n"]), [None, Some(b"{}".to_vec())]);
        let whole = [&noise[..], b"\n{}"].concat();
        assert_eq!(
            cut(&[&whole]),
            [None, Some(b"{}".to_vec())],
            "also in one chunk"
        );
    }

    #[test]
    fn the_memory_of_a_long_line_is_freed() {
        let mut lines = Lines::default();
        let big = [&b"{"[..], &vec![b' '; 2 << 20]].concat();
        lines.push(&big, |_| panic!("no end yet"));
        let mut seen = 0;
        lines.push(b"}\n", |line| {
            seen = if let Line::Whole(line) = line {
                line.len()
            } else {
                0
            }
        });
        assert_eq!(seen, (2 << 20) + 2);
        assert!(lines.partial.capacity() <= KEPT_CAPACITY_BYTES);
    }
}
