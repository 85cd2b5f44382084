//! The stand-in's stdin: messages of the program that started it, and its answers to requests.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader, Stdin, Write},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

/// A message on stdin, or why there is none.
#[derive(Debug)]
pub(super) enum Read {
    /// A line of JSON.
    Message(Value),
    /// A line that is not JSON.
    Malformed,
    /// The end of stdin.
    End,
}

/// Reads stdin line by line. Messages that arrive while a request waits for its answer are kept for
/// the next turns.
#[derive(Debug)]
pub(super) struct Messages {
    stdin: BufReader<Stdin>,
    kept: VecDeque<Read>,
    /// Gets a copy of every line. `None` if the stand-in keeps none.
    record: Option<File>,
}

impl Messages {
    /// Creates the reader of stdin. `record` gets a copy of every line.
    pub(super) fn new(record: Option<File>) -> Self {
        Self {
            stdin: BufReader::new(std::io::stdin()),
            kept: VecDeque::new(),
            record,
        }
    }

    /// Returns the next message of a turn.
    pub(super) fn next(&mut self) -> Read {
        self.kept.pop_front().unwrap_or_else(|| self.read())
    }

    /// Reads a line behind those that are kept. Blocks until there is one.
    pub(super) fn read(&mut self) -> Read {
        // The end of stdin is final.
        if matches!(self.kept.back(), Some(Read::End)) {
            return Read::End;
        }
        loop {
            let mut line = Vec::new();
            match self.stdin.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return Read::End,
                Ok(_) => {}
            }
            if let Some(record) = &mut self.record {
                // A test that compares the copy notices when the write fails.
                let _ = record.write_all(&line);
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return serde_json::from_slice(&line).map_or(Read::Malformed, Read::Message);
        }
    }

    /// Keeps a message, or the end of stdin, for the next turns.
    pub(super) fn keep(&mut self, read: Read) {
        self.kept.push_back(read);
    }

    /// Returns whether a line, or the end of stdin, can be read before `until`.
    pub(super) fn is_ready(&self, until: Instant) -> bool {
        if !self.stdin.buffer().is_empty() {
            return true;
        }
        let left = until.saturating_duration_since(Instant::now());
        let stdin = self.stdin.get_ref();
        let mut descriptors = [PollFd::new(stdin, PollFlags::IN)];
        let timeout = Timespec::try_from(left).ok();
        poll(&mut descriptors, timeout.as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// Returns whether a user message has arrived, so that the next turn begins at once.
    pub(super) fn has_user_message(&mut self) -> bool {
        while !matches!(self.kept.back(), Some(Read::End)) && self.is_ready(Instant::now()) {
            let read = self.read();
            self.keep(read);
        }
        let is_user =
            |read: &Read| matches!(read, Read::Message(message) if message["type"] == "user");
        self.kept.iter().any(is_user)
    }

    /// Returns the next line that arrives within `time`. `None` if none does.
    pub(super) fn read_within(&mut self, time: Duration) -> Option<Read> {
        let until = Instant::now() + time;
        self.is_ready(until).then(|| self.read())
    }
}
