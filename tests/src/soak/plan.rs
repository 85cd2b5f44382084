//! A random prompt for the stand-in, and the known result of its run. Derived from the stand-in's
//! table of directives, not from the code under test.

mod asking;
mod client;
mod writer;

use std::{sync::Arc, time::Duration};

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use super::dialogue::{Dialogue, Fit, Outcome};
pub(super) use client::Turns;
use writer::Writer;

/// The answer when a policy continues a conversation: claude-api's prompt has no directive, so the
/// stand-in answers its length.
const CONTINUED: &str = "A stand-in's answer to a prompt of 28 bytes.";

/// How a run ends without interference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Completed,
    Failed(&'static str),
    Deadline,
}

/// A prompt and its expected result.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) prompt: String,
    /// The lines that clients send to the CLI while it runs, one prompt each; then its stdin ends.
    /// `None` where it takes no input.
    pub(super) input: Option<Arc<str>>,
    /// Whether the output is event lines instead of text.
    pub(super) events: bool,
    /// The whole output in format `text`. Empty if it asks.
    pub(super) text: Arc<[u8]>,
    /// The joined deltas: the text without the separators between blocks. Empty if it asks.
    pub(super) deltas: Arc<[u8]>,
    /// The text and the questions of a plan that asks; `None` for others.
    pub(super) dialogue: Option<Arc<Dialogue>>,
    pub(super) ending: Ending,
    /// The limit in seconds of running time.
    pub(super) deadline: Option<u64>,
    /// The sum of all waits in the prompt.
    pub(super) longest: Duration,
}

impl Plan {
    /// Creates a random plan. Its output and its stderr have the mark of a principal.
    pub(super) fn random(rng: &mut StdRng, mark: &'static str) -> Self {
        let events = rng.random_bool(0.25);
        let input = rng.random_bool(0.15);
        let mut writer = Writer::new(mark);
        if rng.random_bool(0.3) {
            writer.blocks(rng.random_range(500..50_000));
        }
        if rng.random_bool(0.1) {
            writer.line("@api-retry 2");
        }
        let steps = if input { 1..3 } else { 1..5 };
        for _ in 0..rng.random_range(steps) {
            writer.step(rng, events);
        }
        if input {
            writer.say(rng);
            for _ in 0..rng.random_range(1..5) {
                writer.next_turn();
                if rng.random_bool(0.3) {
                    writer.step(rng, events);
                }
                writer.say(rng);
            }
        }
        let mut deadline = None;
        let ending = if !input && rng.random_bool(0.03) {
            deadline = Some(1);
            writer.line("@silence 30");
            Ending::Deadline
        } else {
            if !input {
                writer.say(rng);
            }
            let (line, ending) = *ENDINGS.choose(rng).unwrap_or(&ENDINGS[0]);
            // With input, the result of an earlier turn would count.
            let (line, ending) = match ending {
                Ending::Failed("no_result") if input => ENDINGS[0],
                _ => (line, ending),
            };
            if !line.is_empty() {
                writer.line(line);
            }
            ending
        };
        // Splits only short answers: each part takes a millisecond.
        if writer.said() < 2000 && rng.random_bool(0.2) {
            writer.line("@split");
            writer.seconds += 5.0;
        } else if rng.random_bool(0.05) {
            writer.line("@crlf");
        }
        if rng.random_bool(0.05) {
            writer.line("@ignore-term");
        }
        let longest = Duration::from_secs_f64(writer.seconds);
        let (prompt, mut lines) = writer.prompts();
        // The last line may lack its newline: the end of the input ends it too.
        if rng.random_bool(0.3) {
            lines.pop();
        }
        Self {
            prompt,
            input: input.then(|| lines.into()),
            events,
            text: writer.text.into(),
            deltas: writer.deltas.into(),
            dialogue: None,
            ending,
            deadline,
            longest: deadline.map_or(longest, Duration::from_secs),
        }
    }

    /// Returns the plan of the execution with which a policy continues the conversation.
    pub(super) fn continued(&self) -> Self {
        Self {
            prompt: String::new(),
            text: CONTINUED.as_bytes().into(),
            deltas: CONTINUED.as_bytes().into(),
            dialogue: None,
            ending: Ending::Completed,
            longest: Duration::ZERO,
            ..self.clone()
        }
    }

    /// Compares a text with the plan. `outcomes` are the possible ones of each question.
    /// `separated`: the text has a blank line between blocks, as in format `text`.
    pub(super) fn fit(&self, text: &[u8], separated: bool, outcomes: &[Vec<Outcome>]) -> Fit {
        if let Some(dialogue) = &self.dialogue {
            return dialogue.fit(text, separated, outcomes);
        }
        let due = if separated { &self.text } else { &self.deltas };
        Fit {
            is_prefix: due.starts_with(text),
            is_complete: **due == *text,
            is_cut_short: false,
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
        let plan = |seed| Plan::random(&mut StdRng::seed_from_u64(seed), "");
        assert_eq!(plan(7).prompt, plan(7).prompt);
        assert_ne!(plan(7).prompt, plan(8).prompt);
        let mut writer = Writer::new("");
        writer.blocks(40);
        writer.volume(3, 20);
        assert_eq!(
            String::from_utf8_lossy(&writer.text),
            "000000000001 xxxxxx\n000000000002 xxxxxx\n\n\n000000000003 xxxxxx\n"
        );
        assert_eq!(writer.deltas.len(), 60);
    }

    #[test]
    fn the_output_of_a_principal_has_its_mark() {
        let mut writer = Writer::new("mark");
        writer.volume(2, 24);
        assert_eq!(
            String::from_utf8_lossy(&writer.text),
            "000000000001 markmarkxx\n000000000002 markmarkxx\n"
        );
        let mut rng = StdRng::seed_from_u64(1);
        let plan = Plan::random(&mut rng, "mark");
        assert!(String::from_utf8_lossy(&plan.text).contains("mark "));
    }

    #[test]
    fn turns_are_lines_of_input_and_their_texts_are_separated() {
        let mut rng = StdRng::seed_from_u64(1);
        let plan = loop {
            let plan = Plan::random(&mut rng, "");
            if plan.input.is_some() {
                break plan;
            }
        };
        let input = plan.input.expect("lines");
        let said = |prompt: &str| -> String {
            let mut lines = prompt.lines().rev();
            let line = lines.find_map(|line| line.strip_prefix("@say "));
            line.expect("each turn says something").to_owned()
        };
        let mut last = String::new();
        for line in input.lines() {
            let message: serde_json::Value = serde_json::from_str(line).expect("JSON");
            last = said(message["message"]["content"].as_str().expect("a prompt"));
        }
        let text = String::from_utf8_lossy(&plan.text).into_owned();
        assert!(text.ends_with(&last));
        assert!(text.matches("\n\n").count() >= input.lines().count());
        assert!(text.contains(&said(&plan.prompt)));
    }
}
