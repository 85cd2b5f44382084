//! The reader of a stream of events (HTML, "Server-sent events"). Only the data of each event
//! matters.

use memchr::memchr2;

use super::facts::{FactReader, Facts};

/// The beginning of a line with data. The space after the colon is part of the JSON's white space.
const DATA: &[u8] = b"data:";

/// The reader of a stream of events in pieces. A line ends with a line feed, a carriage return, or
/// both. Each line of data is read as one JSON text, as the Messages API writes it.
#[derive(Debug, Default)]
pub struct EventReader {
    line: Line,
    facts: Facts,
}

/// The current line.
#[derive(Debug)]
enum Line {
    /// The line so far is a prefix of `data:` with this many bytes.
    Begins(usize),
    /// A line of data.
    Data(Box<FactReader>),
    /// Another line.
    Other,
}

impl Default for Line {
    fn default() -> Self {
        Self::Begins(0)
    }
}

impl EventReader {
    /// Reads the next piece of the stream.
    pub fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !rest.is_empty() {
            let end = memchr2(b'\n', b'\r', rest);
            let (content, tail) = rest.split_at(end.unwrap_or(rest.len()));
            self.take(content);
            if end.is_some() {
                self.end_line();
            }
            rest = tail.get(1..).unwrap_or_default();
        }
    }

    /// Takes a part of a line, without its end.
    fn take(&mut self, content: &[u8]) {
        let mut content = content;
        if let Line::Begins(count) = &mut self.line {
            let expected = &DATA[*count..];
            let common = expected.len().min(content.len());
            if content[..common] != expected[..common] {
                self.line = Line::Other;
                return;
            }
            *count += common;
            if *count < DATA.len() {
                return;
            }
            self.line = Line::Data(Box::default());
            content = &content[common..];
        }
        if let Line::Data(reader) = &mut self.line {
            reader.push(content);
        }
    }

    fn end_line(&mut self) {
        if let Line::Data(reader) = std::mem::take(&mut self.line) {
            self.facts.add(reader.facts());
        }
    }

    /// Returns the facts that were read so far, including those of an incomplete line.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let mut facts = self.facts.clone();
        if let Line::Data(reader) = &self.line {
            facts.add(reader.facts());
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn facts(stream: &[u8], pieces: &[usize]) -> Facts {
        let mut reader = EventReader::default();
        let mut sizes = pieces.iter().copied().cycle();
        let mut rest = stream;
        while !rest.is_empty() {
            let size = sizes.next().unwrap_or(1).clamp(1, rest.len());
            let (piece, tail) = rest.split_at(size);
            reader.push(piece);
            rest = tail;
        }
        reader.facts()
    }

    fn stream(events: &[Value], end: &str) -> String {
        let lines = events.iter().map(|event| {
            let name = event["type"].as_str().unwrap_or_default();
            format!("event: {name}{end}data: {event}{end}{end}")
        });
        lines.collect()
    }

    fn answer(deltas: usize) -> Vec<Value> {
        let usage = json!({"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 3});
        let message = json!({"model": "claude-x", "usage": usage});
        let mut events = vec![json!({"type": "message_start", "message": message})];
        let text =
            json!({"type": "text_delta", "text": "data: {\"usage\":{\"input_tokens\":99}}\n"});
        let delta = json!({"type": "content_block_delta", "index": 0, "delta": text});
        events.extend(std::iter::repeat_n(delta, deltas));
        events
    }

    #[test]
    fn the_last_counts_of_a_stream_count() {
        let mut events = answer(3);
        events.push(json!({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 42}}));
        events.push(json!({"type": "message_stop"}));
        for end in ["\n", "\r\n", "\r"] {
            let found = facts(stream(&events, end).as_bytes(), &[7, 1, 30]);
            assert_eq!(found.model.as_deref(), Some("claude-x"));
            let counts = found.counts;
            assert_eq!(
                (counts.input, counts.output, counts.cache_read),
                (10, 42, 3),
                "{end:?}"
            );
            assert_eq!((found.deltas, found.is_final), (3, true));
            assert_eq!(found.delta_bytes, 3 * 36);
        }
    }

    #[test]
    fn an_error_in_the_stream_has_its_type() {
        let mut events = answer(1);
        events.push(json!({"type": "error", "error": {"type": "overloaded_error"}}));
        let found = facts(stream(&events, "\n").as_bytes(), &[5]);
        assert_eq!(found.error_type.as_deref(), Some("overloaded_error"));
        assert_eq!((found.counts.output, found.is_final), (1, false));
    }

    #[test]
    fn lines_of_other_kinds_say_nothing() {
        let text = ": data: {\"model\":\"a\"}\nxdata: {\"model\":\"b\"}\ndat\n\ndata\nid: 1\n";
        assert_eq!(facts(text.as_bytes(), &[1]), Facts::default());
        let late = format!("{text}data:{{\"model\":\"c\"}}\n");
        assert_eq!(facts(late.as_bytes(), &[2]).model.as_deref(), Some("c"));
    }

    #[test]
    fn a_damaged_event_does_not_hide_later_ones() {
        let text = "data: {\"model\n\ndata: {]\n\ndata: {\"model\":\"c\"}\n";
        assert_eq!(facts(text.as_bytes(), &[3]).model.as_deref(), Some("c"));
    }

    proptest! {
        #[test]
        fn pieces_do_not_change_the_facts(
            deltas in 0..5_usize, output: u32, ends in 0..3_usize,
            pieces in prop::collection::vec(1..60_usize, 1..10),
        ) {
            let mut events = answer(deltas);
            events.push(json!({"type": "message_delta", "usage": {"output_tokens": output}}));
            let text = stream(&events, ["\n", "\r\n", "\r"][ends]);
            let found = facts(text.as_bytes(), &pieces);
            prop_assert_eq!(found.counts.output, u64::from(output).max(1));
            prop_assert_eq!(found.deltas, deltas as u64);
            prop_assert_eq!(found, facts(text.as_bytes(), &[text.len()]));
        }
    }
}
