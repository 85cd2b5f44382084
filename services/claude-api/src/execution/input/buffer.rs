//! The buffer for input of a running CLI: lines that clients have sent and the CLI has not read
//! yet. It is a plain value without I/O or waiting.

use super::rules::{Fault, Rules};
use crate::execution::client_control::CheckedResponse;

/// The number of unread bytes at which a line of claude-api itself is dropped (96 MiB). A CLI that
/// reads its stdin never has so many: at most 32 questions are open, and the answer to each has
/// about 2 MiB.
const UNREAD_BYTES_MAX: usize = 96 << 20;

/// The input of one request: bytes for the CLI's stdin, and the offset at which they begin.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The offset of the first byte of `data`, counted in bytes from the first byte that any client
    /// sent to this execution.
    pub offset: u64,
    /// Lines of JSON. The last line may be incomplete; the next request continues it.
    pub data: &'a [u8],
    /// Whether the input ends with these bytes, so that the CLI's stdin is closed after them.
    pub eof: bool,
}

/// The reason why the buffer refused the input of a request. The client's next request must begin
/// at the offset `accepted`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The offset of the request is after the accepted bytes, so bytes in between are missing.
    Hole {
        /// The total number of accepted bytes.
        accepted: u64,
    },
    /// An earlier request had `eof`, and this one has more bytes.
    Ended {
        /// The total number of accepted bytes.
        accepted: u64,
    },
    /// The buffer has no room, because the CLI has not read enough yet. The client may repeat the
    /// request.
    Full {
        /// The total number of accepted bytes.
        accepted: u64,
    },
    /// A line is longer than the limit. If its beginning was accepted earlier, that beginning is
    /// discarded.
    TooLong {
        /// The maximum length of a line in bytes.
        limit: usize,
        /// The total number of accepted bytes, after the discard.
        accepted: u64,
    },
    /// A line is not a message that may be sent to the CLI. If its beginning was accepted earlier,
    /// that beginning is discarded.
    Line {
        /// The number of the line in the request, from 1.
        number: usize,
        /// The reason why the line may not be sent to the CLI.
        fault: Fault,
        /// The total number of accepted bytes, after the discard.
        accepted: u64,
    },
}

/// The lines of a request that obey the rules.
struct Checked {
    /// The complete lines, in the form that the CLI gets.
    lines: Vec<u8>,
    /// The beginning of an incomplete last line.
    held: Vec<u8>,
    /// Whether one of the complete lines is a message, which begins a turn.
    has_message: bool,
    /// The responses to requests of the CLI among the complete lines.
    responses: Vec<CheckedResponse>,
}

/// The next action of the task that writes to the CLI's stdin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Write these complete lines to stdin, then call [`Buffer::note_written`].
    Lines(Vec<u8>),
    /// Wait for more input from clients. All accepted lines are written.
    Wait,
    /// Close stdin, because all lines up to `eof` are written.
    End,
}

/// The buffered input of one execution: accepted lines that the CLI has not read yet, and the
/// offset that the accepted input has reached.
#[derive(Debug)]
pub(super) struct Buffer {
    /// The maximum number of buffered bytes, and also the maximum length of one line.
    limit: usize,
    /// The total number of bytes accepted so far.
    accepted: u64,
    /// The beginning of an incomplete last line. Its rest has not arrived.
    held: Vec<u8>,
    /// Complete lines that are waiting to be written, in the form that the CLI gets.
    ready: Vec<u8>,
    /// The number of bytes that are being written to stdin now. They count as buffered.
    writing: usize,
    /// Whether a request with `eof` was accepted.
    ended: bool,
    /// Whether the CLI may ask questions, whose answers follow the lines of clients.
    asks: bool,
    /// Whether stdin stays open after the last line, because the CLI may still ask in its present
    /// turn.
    held_open: bool,
    /// Whether a question is open, whose answer must still reach the CLI.
    is_asking: bool,
    /// Whether a message is among `ready`, or is being written.
    has_message: bool,
    /// Whether a line of claude-api itself was dropped.
    has_dropped: bool,
}

impl Buffer {
    /// Creates an empty buffer for at most `limit` bytes, which is also the maximum length of a
    /// line.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            accepted: 0,
            held: Vec::new(),
            ready: Vec::new(),
            writing: 0,
            ended: false,
            asks: false,
            held_open: false,
            is_asking: false,
            has_message: false,
            has_dropped: false,
        }
    }

    /// Returns the total number of accepted bytes, which is the offset at which the next request
    /// must begin.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Discards all buffered bytes, because nothing reads them any more. The accepted total stays.
    pub(super) fn clear(&mut self) {
        self.ready = Vec::new();
        self.held = Vec::new();
    }

    /// Returns whether the input of a request was accepted completely before, so the request is a
    /// repeat.
    pub(super) fn contains(&self, offer: &Offer<'_>) -> bool {
        let end = offer.offset.saturating_add(offer.data.len() as u64);
        end <= self.accepted && (self.ended || !offer.eof)
    }

    /// Accepts the new part of a request's input, all of it or none, and returns the total number
    /// of accepted bytes. Bytes that were accepted before are skipped, so a client may repeat a
    /// request. An empty buffer accepts a request of any size.
    ///
    /// # Errors
    /// There is a gap in the offsets, bytes follow `eof`, the buffer has no room, or a line is too
    /// long or breaks `rules`.
    pub(super) fn offer(&mut self, offer: Offer<'_>, rules: &Rules) -> Result<u64, Refusal> {
        let accepted = self.accepted;
        let Some(overlap) = accepted.checked_sub(offer.offset) else {
            return Err(Refusal::Hole { accepted });
        };
        let overlap = usize::try_from(overlap).unwrap_or(usize::MAX);
        let new = offer.data.get(overlap..).unwrap_or_default();
        if self.ended {
            return if new.is_empty() {
                Ok(accepted)
            } else {
                Err(Refusal::Ended { accepted })
            };
        }
        let waiting = self.ready.len() + self.writing;
        let full = |more: usize| waiting > 0 && waiting + more > self.limit;
        // Checked before the lines are parsed: offers to a full buffer are repeated often.
        if full(new.len()) {
            return Err(Refusal::Full { accepted });
        }
        let Checked {
            lines,
            held,
            has_message,
            responses,
        } = self.check_lines(new, offer.eof, rules)?;
        if waiting > 0 && waiting + lines.len() > self.limit {
            return Err(Refusal::Full { accepted });
        }
        // A further message begins a turn, in which the CLI may ask. A control request begins none,
        // so that no result would close stdin.
        self.held_open |= self.asks && has_message;
        self.has_message |= has_message;
        self.ready.extend_from_slice(&lines);
        self.held = held;
        self.accepted += new.len() as u64;
        self.ended = offer.eof;
        rules.accept(&responses);
        Ok(self.accepted)
    }

    /// Appends a line of claude-api itself, with its line feed. It does not wait for room, because
    /// the CLI waits for this line. The line stands between two lines of clients. It is dropped if
    /// [`UNREAD_BYTES_MAX`] are there already. Returns whether this is the first dropped line.
    pub(super) fn push(&mut self, line: &[u8]) -> bool {
        if self.ready.len() + self.writing < UNREAD_BYTES_MAX {
            self.ready.extend_from_slice(line);
            return false;
        }
        !std::mem::replace(&mut self.has_dropped, true)
    }

    /// Sets whether a question is open. Stdin then stays open, also between turns. Returns whether
    /// that changed.
    pub(super) fn set_asking(&mut self, is_asking: bool) -> bool {
        std::mem::replace(&mut self.is_asking, is_asking) != is_asking
    }

    /// Ends the input of clients: no line of a client is accepted any more.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Ends the input of clients, and discards the beginning of an incomplete line.
    pub(super) fn discard_and_end(&mut self) {
        self.held = Vec::new();
        self.ended = true;
    }

    /// Returns whether a message is among the lines that the CLI has not got yet.
    pub(super) fn has_message(&self) -> bool {
        self.has_message
    }

    /// Sets whether stdin stays open after the last line of clients. Until the first call, it does
    /// not.
    pub(super) fn hold_open(&mut self, held_open: bool) {
        self.asks = true;
        self.held_open = held_open;
    }

    /// Splits the new bytes into lines and checks them. With `eof`, the last line counts as
    /// complete. Blank lines are dropped.
    fn check_lines(&mut self, new: &[u8], eof: bool, rules: &Rules) -> Result<Checked, Refusal> {
        let limit = self.limit;
        let mut out = Vec::new();
        let mut has_message = false;
        let mut responses = Vec::new();
        let mut parts = new.split(|byte| *byte == b'\n').peekable();
        let mut number = 0;
        let mut line = self.held.clone();
        while let Some(part) = parts.next() {
            number += 1;
            line.extend_from_slice(part);
            if line.len() > limit {
                self.drop_held(number);
                let accepted = self.accepted;
                return Err(Refusal::TooLong { limit, accepted });
            }
            let whole = parts.peek().is_some() || eof;
            if !whole {
                break;
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                match rules.check(&line) {
                    // Of several responses to one request, the CLI gets the first.
                    Ok(checked) if is_repeat(checked.response.as_ref(), &responses) => {}
                    Ok(checked) => {
                        out.extend_from_slice(&checked.bytes);
                        has_message |= checked.is_message;
                        responses.extend(checked.response);
                    }
                    Err(fault) => {
                        self.drop_held(number);
                        return Err(Refusal::Line {
                            number,
                            fault,
                            accepted: self.accepted,
                        });
                    }
                }
            }
            line.clear();
        }
        Ok(Checked {
            lines: out,
            held: line,
            has_message,
            responses,
        })
    }

    /// Discards the buffered beginning of a line if the bad line is the first of a request
    /// (`number` is 1). The client can then send the whole line again.
    fn drop_held(&mut self, number: usize) {
        if number == 1 {
            self.accepted -= self.held.len() as u64;
            self.held = Vec::new();
        }
    }

    /// Returns the next action of the task that writes to stdin. Lines that it returns leave the
    /// buffer.
    pub(super) fn next(&mut self) -> Next {
        if !self.ready.is_empty() {
            let lines = std::mem::take(&mut self.ready);
            self.writing = lines.len();
            return Next::Lines(lines);
        }
        if self.ended && !self.held_open && !self.is_asking {
            Next::End
        } else {
            Next::Wait
        }
    }

    /// Records that the lines from [`Self::next`] were written, so their room is free.
    pub(super) fn note_written(&mut self) {
        self.writing = 0;
        self.has_message &= !self.ready.is_empty();
    }
}

/// Returns whether one of the earlier responses answers the same request of the CLI.
fn is_repeat(response: Option<&CheckedResponse>, earlier: &[CheckedResponse]) -> bool {
    let same = |response: &CheckedResponse| {
        let answered = |earlier: &CheckedResponse| earlier.request_id == response.request_id;
        earlier.iter().any(answered)
    };
    response.is_some_and(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(text: &str) -> String {
        format!("{{\"type\":\"user\",\"message\":{{\"role\":\"user\",\"content\":\"{text}\"}}}}\n")
    }

    fn offer(buffer: &mut Buffer, offset: u64, data: &str, eof: bool) -> Result<u64, Refusal> {
        let data = data.as_bytes();
        buffer.offer(Offer { offset, data, eof }, &Rules::for_tests())
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        let lines = bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        lines
            .map(|l| {
                let value: serde_json::Value = serde_json::from_slice(l).unwrap();
                value["message"]["content"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    fn drained(buffer: &mut Buffer) -> Vec<u8> {
        let mut all = Vec::new();
        while let Next::Lines(lines) = buffer.next() {
            all.extend(lines);
            buffer.note_written();
        }
        all
    }

    #[test]
    fn an_open_question_keeps_stdin_open_between_turns() {
        let mut buffer = Buffer::new(10_000);
        buffer.end();
        buffer.hold_open(true);
        buffer.set_asking(true);
        buffer.hold_open(false);
        assert_eq!(buffer.next(), Next::Wait);
        buffer.push(b"the answer\n");
        buffer.set_asking(false);
        assert_eq!(buffer.next(), Next::Lines(b"the answer\n".to_vec()));
        buffer.note_written();
        assert_eq!(buffer.next(), Next::End);
    }

    #[test]
    fn replies_to_a_cli_that_reads_nothing_are_bounded() {
        let mut buffer = Buffer::new(10_000);
        let reply = vec![b'x'; 1 << 20];
        let reported: Vec<_> = (0..200).filter(|_| buffer.push(&reply)).collect();
        assert_eq!(reported, [UNREAD_BYTES_MAX >> 20], "it is reported once");
        let Next::Lines(lines) = buffer.next() else {
            panic!("there are lines");
        };
        assert_eq!(lines.len(), UNREAD_BYTES_MAX);
        buffer.push(&reply);
        assert_eq!(buffer.next(), Next::Wait, "the lines being written count");
        buffer.note_written();
        buffer.push(&reply);
        assert_eq!(buffer.next(), Next::Lines(reply));
    }

    #[test]
    fn an_overlap_is_cut_and_a_hole_is_refused() {
        let mut buffer = Buffer::new(10_000);
        let (a, b) = (line("a"), line("b"));
        let len = a.len() as u64;
        assert_eq!(
            offer(&mut buffer, 1, &a, false),
            Err(Refusal::Hole { accepted: 0 })
        );
        assert_eq!(offer(&mut buffer, 0, &a, false), Ok(len));
        assert_eq!(offer(&mut buffer, 0, &a, false), Ok(len));
        assert_eq!(
            offer(&mut buffer, 0, &format!("{a}{b}"), false),
            Ok(2 * len)
        );
        assert_eq!(
            offer(&mut buffer, 2 * len + 1, &a, false),
            Err(Refusal::Hole { accepted: 2 * len })
        );
        assert_eq!(texts(&drained(&mut buffer)), ["a", "b"]);
    }

    #[test]
    fn a_bad_line_refuses_its_whole_request() {
        let mut buffer = Buffer::new(10_000);
        let good = line("a");
        let Err(Refusal::Line {
            number: 2,
            accepted: 0,
            ..
        }) = offer(&mut buffer, 0, &format!("{good}nonsense\n"), false)
        else {
            panic!("the offer was accepted")
        };
        assert_eq!(buffer.next(), Next::Wait);
        // The beginning of the bad line was accepted before. It is dropped, and the client resumes
        // at the beginning of the line.
        let total = offer(&mut buffer, 0, &format!("{good}{{\"type\":"), false).unwrap();
        assert_eq!(total, good.len() as u64 + 8);
        let Err(Refusal::Line {
            number: 1,
            accepted,
            ..
        }) = offer(&mut buffer, total, "7}\n", false)
        else {
            panic!("the offer was accepted")
        };
        assert_eq!(accepted, good.len() as u64);
        assert!(offer(&mut buffer, accepted, &line("b"), false).is_ok());
        assert_eq!(texts(&drained(&mut buffer)), ["a", "b"]);
    }

    #[test]
    fn eof_ends_the_last_line_and_the_input() {
        let mut buffer = Buffer::new(10_000);
        let text = line("a");
        let cut = text.trim_end();
        let end = cut.len() as u64;
        assert_eq!(offer(&mut buffer, 0, cut, true), Ok(end));
        assert_eq!(offer(&mut buffer, 0, cut, true), Ok(end));
        assert_eq!(
            offer(&mut buffer, end, "\n", false),
            Err(Refusal::Ended { accepted: end })
        );
        assert_eq!(texts(&drained(&mut buffer)), ["a"]);
        assert_eq!(buffer.next(), Next::End);
        let mut silent = Buffer::new(10);
        assert_eq!(offer(&mut silent, 0, " \r\n", true), Ok(3));
        assert_eq!(silent.next(), Next::End);
    }

    #[test]
    fn waiting_lines_and_the_length_of_a_line_are_bounded() {
        let mut buffer = Buffer::new(120);
        let text = line("a");
        let mut offset = offer(&mut buffer, 0, &text, false).unwrap();
        assert_eq!(
            offer(&mut buffer, offset, &text.repeat(2), false),
            Err(Refusal::Full { accepted: offset })
        );
        drained(&mut buffer);
        offset = offer(&mut buffer, offset, &text, false).unwrap();
        drained(&mut buffer);
        let long = "x".repeat(121);
        assert_eq!(
            offer(&mut buffer, offset, &long, false),
            Err(Refusal::TooLong {
                limit: 120,
                accepted: offset
            })
        );
        drained(&mut buffer);
        // The limit also holds for a line that arrives in pieces.
        offset = offer(&mut buffer, offset, &long[..100], false).unwrap();
        assert!(matches!(
            offer(&mut buffer, offset, &long[..100], false),
            Err(Refusal::TooLong { .. })
        ));
    }

    proptest! {
        /// Each line arrives once and in order, for any division of the bytes into requests and any
        /// repetition of requests.
        #[test]
        fn any_division_into_requests_gives_the_same_lines(
            words in proptest::collection::vec("[a-z\u{e9}]{0,12}[a-z]", 1..12),
            cuts in proptest::collection::vec((0_usize..400, 0_usize..60), 1..40),
        ) {
            let all: String = words.iter().map(|word| line(word)).collect();
            let mut buffer = Buffer::new(100_000);
            let mut got = Vec::new();
            for (from, len) in cuts {
                let from = from.min(all.len());
                let piece = &all.as_bytes()[from..(from + len).min(all.len())];
                let accepted = buffer.accepted;
                let offer = Offer { offset: from as u64, data: piece, eof: false };
                let result = buffer.offer(offer, &Rules::for_tests());
                if from as u64 > accepted {
                    prop_assert_eq!(result, Err(Refusal::Hole { accepted }));
                } else {
                    prop_assert_eq!(result, Ok(accepted.max((from + piece.len()) as u64)));
                }
                got.extend(drained(&mut buffer));
            }
            let rest = &all.as_bytes()[usize::try_from(buffer.accepted).unwrap()..];
            let offset = buffer.accepted;
            buffer.offer(Offer { offset, data: rest, eof: true }, &Rules::for_tests()).unwrap();
            got.extend(drained(&mut buffer));
            prop_assert_eq!(texts(&got), words);
            prop_assert_eq!(buffer.next(), Next::End);
        }
    }

    #[test]
    fn stdin_stays_open_for_questions_until_the_turn_of_the_last_line_has_ended() {
        let mut buffer = Buffer::new(1000);
        buffer.hold_open(true);
        let message = line("a");
        let total = offer(&mut buffer, 0, &message, true).unwrap();
        drained(&mut buffer);
        assert_eq!(buffer.next(), Next::Wait, "the CLI may ask");
        buffer.push(b"an answer\n");
        assert_eq!(buffer.next(), Next::Lines(b"an answer\n".to_vec()));
        buffer.note_written();
        buffer.hold_open(false);
        assert_eq!(buffer.next(), Next::End);
        assert_eq!(offer(&mut buffer, 0, &message, true), Ok(total));
    }

    #[test]
    fn a_message_after_a_result_begins_a_turn_with_an_open_stdin() {
        let mut buffer = Buffer::new(1000);
        buffer.hold_open(false);
        offer(&mut buffer, 0, &line("a"), true).unwrap();
        drained(&mut buffer);
        assert_eq!(buffer.next(), Next::Wait);
        buffer.hold_open(false);
        assert_eq!(buffer.next(), Next::End);
        let mut plain = Buffer::new(1000);
        offer(&mut plain, 0, &line("a"), true).unwrap();
        drained(&mut plain);
        assert_eq!(plain.next(), Next::End, "an execution that does not ask");
    }

    #[test]
    fn a_control_request_after_a_result_does_not_keep_stdin_open() {
        let interrupt = "{\"type\":\"control_request\",\"request_id\":\"r\",\
            \"request\":{\"subtype\":\"interrupt\"}}\n";
        let mut buffer = Buffer::new(1000);
        buffer.hold_open(false);
        offer(&mut buffer, 0, interrupt, true).unwrap();
        assert!(matches!(buffer.next(), Next::Lines(_)));
        buffer.note_written();
        assert_eq!(buffer.next(), Next::End);
    }
}
