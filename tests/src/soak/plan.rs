//! A random prompt for the stand-in, and what is known of its run beforehand. Derived from the stand-in's table of
//! directives, not from the code under test.

use std::{fmt::Write, sync::Arc};

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

/// The stand-in ends a text block after so many bytes, where the prompt says nothing else.
const BLOCK_BYTES: usize = 1 << 20;
const WORDS: [&str; 8] = [
    "plain",
    "words",
    "\u{e9}t\u{e9}",
    "\u{1F600}",
    "\u{6f22}\u{5b57}",
    "a",
    "na\u{ef}ve",
    "\u{1F468}\u{200d}\u{1F469}",
];

/// How a run ends when nobody interferes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Completed,
    Failed(&'static str),
    Deadline,
}

/// A prompt and its consequences.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) prompt: String,
    /// Whether the output is event lines instead of text.
    pub(super) events: bool,
    /// The whole output in format `text`.
    pub(super) text: Arc<[u8]>,
    /// The same without what stands between blocks: the deltas joined.
    pub(super) deltas: Arc<[u8]>,
    pub(super) ending: Ending,
    /// In seconds of running time.
    pub(super) deadline: Option<u64>,
}

/// Follows the text as the prompt is made.
#[derive(Default)]
struct Writer {
    prompt: String,
    text: Vec<u8>,
    deltas: Vec<u8>,
    block_limit: usize,
    block: usize,
    open: bool,
}

impl Writer {
    fn line(&mut self, line: &str) {
        self.prompt.push_str(line);
        self.prompt.push('\n');
    }

    /// `escaped`: its length inside of a JSON string, which is what blocks are measured by.
    fn delta(&mut self, text: &str, escaped: usize) {
        if !self.open {
            if !self.text.is_empty() {
                self.text.extend_from_slice(b"\n\n");
            }
            self.open = true;
            self.block = 0;
        }
        self.text.extend_from_slice(text.as_bytes());
        self.deltas.extend_from_slice(text.as_bytes());
        self.block += escaped;
        self.open = self.block < self.block_limit;
    }

    fn say(&mut self, rng: &mut StdRng) {
        let words: Vec<&str> = (0..rng.random_range(1..60))
            .filter_map(|_| WORDS.choose(rng).copied())
            .collect();
        let text = words.join(" ");
        self.line(&format!("@say {text}"));
        for word in text.split_inclusive(' ') {
            self.delta(word, word.len());
        }
    }

    fn volume(&mut self, count: usize, bytes: usize) {
        self.line(&format!("@volume {count} {bytes}"));
        let filling = "x".repeat(bytes - 14);
        for number in 1..=count {
            // The newline takes two bytes in JSON.
            self.delta(&format!("{number:012} {filling}\n"), bytes + 1);
        }
    }

    fn random_volume(&mut self, rng: &mut StdRng, events: bool) {
        let (count, bytes) = match rng.random_range(0..10) {
            0..5 => (rng.random_range(1..200), rng.random_range(14..200)),
            5..9 => (rng.random_range(100..1500), rng.random_range(100..1000)),
            _ if events => (rng.random_range(500..2000), 1000),
            _ => (rng.random_range(500..1500), 4000),
        };
        // Most take their time, so that faults fall into them.
        if rng.random_bool(0.7) {
            let seconds = rng.random_range(0.2..3.0);
            let mut rate = String::new();
            let _ = write!(
                rate,
                "@rate {:.0}",
                (f64::from(u32::try_from(count).unwrap_or(1)) / seconds).ceil()
            );
            self.line(&rate);
        } else {
            self.line("@rate 0");
        }
        self.volume(count, bytes);
    }

    fn step(&mut self, rng: &mut StdRng, events: bool) {
        match rng.random_range(0..100) {
            0..35 => self.random_volume(rng, events),
            35..60 => self.say(rng),
            60..66 => self.line(&format!("@silence {:.2}", rng.random_range(0.0..0.8))),
            66..71 => {
                self.line(&format!("@think {:.2}", rng.random_range(0.0..0.4)));
                self.open = false;
            }
            71..77 => {
                self.line(&format!("@tool {:.2}", rng.random_range(0.0..0.6)));
                self.open = false;
            }
            77..80 => {
                self.line("@subagent not the answer");
                self.open = false;
            }
            80..84 => self.line(&format!("@garbage {}", rng.random_range(1..8))),
            84..88 => self.line(&format!("@unknown {}", rng.random_range(1..8))),
            88..92 => self.line(&format!("@stderr {}", rng.random_range(1..100_000))),
            92..96 => self.line("@daemon"),
            _ => self.line(&format!("@tree {}", rng.random_range(1..8))),
        }
    }
}

impl Plan {
    /// Makes one up.
    pub(super) fn random(rng: &mut StdRng) -> Self {
        let events = rng.random_bool(0.25);
        let mut writer = Writer {
            block_limit: BLOCK_BYTES,
            ..Writer::default()
        };
        if rng.random_bool(0.3) {
            writer.block_limit = rng.random_range(500..50_000);
            writer.line(&format!("@block {}", writer.block_limit));
        }
        if rng.random_bool(0.1) {
            writer.line("@api-retry 2");
        }
        for _ in 0..rng.random_range(1..5) {
            writer.step(rng, events);
        }
        let mut deadline = None;
        let ending = if rng.random_bool(0.03) {
            deadline = Some(1);
            writer.line("@silence 30");
            Ending::Deadline
        } else {
            writer.say(rng);
            let (line, ending) = *ENDINGS.choose(rng).unwrap_or(&ENDINGS[0]);
            if !line.is_empty() {
                writer.line(line);
            }
            ending
        };
        // In parts only what is short: each takes a millisecond.
        if writer.text.len() < 2000 && rng.random_bool(0.2) {
            writer.line("@split");
        } else if rng.random_bool(0.05) {
            writer.line("@crlf");
        }
        if rng.random_bool(0.05) {
            writer.line("@ignore-term");
        }
        let Writer {
            prompt,
            text,
            deltas,
            ..
        } = writer;
        Self {
            prompt,
            events,
            text: text.into(),
            deltas: deltas.into(),
            ending,
            deadline,
        }
    }
}

const ENDINGS: [(&str, Ending); 12] = [
    ("", Ending::Completed),
    ("", Ending::Completed),
    ("", Ending::Completed),
    ("", Ending::Completed),
    ("", Ending::Completed),
    ("@no-final-newline", Ending::Completed),
    ("@exit 3", Ending::Failed("nonzero_exit")),
    ("@result error", Ending::Failed("cli_error")),
    ("@result none", Ending::Failed("no_result")),
    ("@result 429", Ending::Failed("usage_limit")),
    ("@result too-long", Ending::Failed("prompt_too_long")),
    ("@signal 9", Ending::Failed("killed_by_signal")),
];

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_seed_gives_one_plan_and_blocks_are_joined_by_a_blank_line() {
        let plan = |seed| Plan::random(&mut StdRng::seed_from_u64(seed));
        assert_eq!(plan(7).prompt, plan(7).prompt);
        assert_ne!(plan(7).prompt, plan(8).prompt);
        let mut writer = Writer {
            block_limit: 40,
            ..Writer::default()
        };
        writer.volume(3, 20);
        assert_eq!(
            String::from_utf8_lossy(&writer.text),
            "000000000001 xxxxxx\n000000000002 xxxxxx\n\n\n000000000003 xxxxxx\n"
        );
        assert_eq!(writer.deltas.len(), 60);
    }
}
