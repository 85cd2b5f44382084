//! Writes the prompts of one run, and the stand-in's answer to them.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;

/// The stand-in's default length of a text block.
const BLOCK_BYTES: usize = 1 << 20;
pub(super) const WORDS: [&str; 8] = [
    "plain",
    "words",
    "\u{e9}t\u{e9}",
    "\u{1F600}",
    "\u{6f22}\u{5b57}",
    "a",
    "na\u{ef}ve",
    "\u{1F468}\u{200d}\u{1F469}",
];

/// The prompts so far, and the expected answer.
pub(super) struct Writer {
    /// The mark of the principal, which the output, the sub-agents and stderr have; may be empty.
    mark: &'static str,
    /// The prompt of each turn, the last one unfinished.
    prompts: Vec<String>,
    pub(super) text: Vec<u8>,
    pub(super) deltas: Vec<u8>,
    block_limit: usize,
    block: usize,
    open: bool,
    /// The offset at which the text of this turn begins.
    began: usize,
    /// The sum of all waits so far.
    pub(super) seconds: f64,
}

impl Writer {
    pub(super) fn new(mark: &'static str) -> Self {
        Self {
            mark,
            prompts: vec![String::new()],
            text: Vec::new(),
            deltas: Vec::new(),
            block_limit: BLOCK_BYTES,
            block: 0,
            open: false,
            began: 0,
            seconds: 0.0,
        }
    }

    /// Begins another prompt of the same run. Settings apply only to their own turn.
    pub(super) fn next_turn(&mut self) {
        self.prompts.push(String::new());
        self.block_limit = BLOCK_BYTES;
        self.open = false;
        self.began = self.text.len();
    }

    /// Returns the length of this turn's text in bytes.
    pub(super) fn said(&self) -> usize {
        self.text.len() - self.began
    }

    /// Returns the first prompt, and the input lines with the others.
    pub(super) fn prompts(&self) -> (String, String) {
        let line = |prompt: &String| {
            let message = json!({"role": "user", "content": prompt});
            format!("{}\n", json!({"type": "user", "message": message}))
        };
        let (first, others) = self.prompts.split_at(1);
        (first.concat(), others.iter().map(line).collect())
    }

    pub(super) fn line(&mut self, line: &str) {
        if let Some(prompt) = self.prompts.last_mut() {
            prompt.push_str(line);
            prompt.push('\n');
        }
    }

    pub(super) fn blocks(&mut self, bytes: usize) {
        self.block_limit = bytes;
        self.line(&format!("@block {bytes}"));
    }

    /// Adds a delta. `escaped`: its length in a JSON string, which counts for the length of a
    /// block.
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

    pub(super) fn say(&mut self, rng: &mut StdRng) {
        let words: Vec<&str> = (0..rng.random_range(1..60))
            .filter_map(|_| WORDS.choose(rng).copied())
            .collect();
        let mut text = words.join(" ");
        if !self.mark.is_empty() {
            text = format!("{} {text}", self.mark);
        }
        self.line(&format!("@say {text}"));
        for word in text.split_inclusive(' ') {
            self.delta(word, word.len());
        }
    }

    pub(super) fn volume(&mut self, count: usize, bytes: usize) {
        self.line(&format!("@volume {count} {bytes} {}", self.mark));
        let filling = filling(bytes - 14, self.mark);
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
        // Most volumes are slow, so faults hit them.
        if rng.random_bool(0.7) {
            let seconds = rng.random_range(0.2..3.0);
            let rate = (f64::from(u32::try_from(count).unwrap_or(1)) / seconds).ceil();
            self.line(&format!("@rate {rate:.0}"));
            self.seconds += seconds;
        }
        self.volume(count, bytes);
        // The following steps are not slow.
        self.line("@rate 0");
    }

    /// Adds a directive that takes time.
    fn lasting(&mut self, name: &str, seconds: f64) {
        self.line(&format!("{name} {seconds:.2}"));
        self.seconds += seconds;
    }

    pub(super) fn step(&mut self, rng: &mut StdRng, events: bool) {
        match rng.random_range(0..100) {
            0..35 => self.random_volume(rng, events),
            35..60 => self.say(rng),
            60..66 => self.lasting("@silence", rng.random_range(0.0..0.8)),
            66..71 => {
                self.lasting("@think", rng.random_range(0.0..0.4));
                self.open = false;
            }
            71..77 => {
                self.lasting("@tool", rng.random_range(0.0..0.6));
                self.open = false;
            }
            77..80 => {
                self.line(&format!("@subagent not the answer {}", self.mark));
                self.open = false;
            }
            80..84 => self.line(&format!("@garbage {}", rng.random_range(1..8))),
            84..88 => self.line(&format!("@unknown {}", rng.random_range(1..8))),
            88..92 => {
                self.line(&format!("@stderr {}", rng.random_range(1..100_000)));
                self.line(&format!("@complain on stderr {}", self.mark));
            }
            92..96 => self.line("@daemon"),
            _ => self.line(&format!("@tree {}", rng.random_range(1..8))),
        }
    }
}

/// Returns the filling of a delta of a volume: the stand-in repeats the word as often as it fits.
pub(super) fn filling(bytes: usize, word: &str) -> String {
    let mut filling = word.repeat(bytes.checked_div(word.len()).unwrap_or(0));
    filling.push_str(&"x".repeat(bytes - filling.len()));
    filling
}
