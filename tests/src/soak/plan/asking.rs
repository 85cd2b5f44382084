//! Random plans of executions that ask a person.

use std::{sync::Arc, time::Duration};

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;

use super::{
    Ending, Plan,
    writer::{WORDS, filling},
};
use crate::soak::dialogue::{Ask, Dialogue, Part, Patience};

/// The time within which a question is answered, in seconds.
const ANSWERED_WITHIN_SECONDS: f64 = 25.0;
/// A line of input that interrupts a turn.
const INTERRUPT: &str =
    r#"{"type":"control_request","request_id":"soak","request":{"subtype":"interrupt"}}"#;

const ENDINGS: [(&str, Ending); 6] = [
    ("", Ending::Completed),
    ("", Ending::Completed),
    ("", Ending::Completed),
    ("", Ending::Completed),
    ("@exit 3", Ending::Failed("nonzero_exit")),
    ("@result error", Ending::Failed("cli_error")),
];

/// The prompts of a run so far, and what the stand-in says to them.
struct Script {
    /// The mark of the principal, which the output and the questions have; may be empty.
    mark: &'static str,
    /// The prompt of each turn, the last one unfinished.
    prompts: Vec<String>,
    dialogue: Dialogue,
    /// The sum of all waits so far.
    seconds: f64,
}

impl Plan {
    /// Creates a random plan whose CLI asks up to three questions.
    pub(in crate::soak) fn asking(rng: &mut StdRng, mark: &'static str) -> Self {
        let mut script = Script::new(mark);
        let is_endless = rng.random_bool(0.2);
        // Only a question that nobody answers reaches the deadline.
        let deadline = (is_endless && rng.random_bool(0.3)).then_some(2);
        if deadline.is_none() {
            script.dialogue.timeout = match rng.random_range(0..10) {
                0..3 => Some(rng.random_range(0.2..3.0)),
                3 => Some(0.0),
                _ => None,
            };
        }
        for _ in 0..rng.random_range(1..4) {
            script.steps(rng);
            let patience = if is_endless {
                Patience::Endless
            } else {
                patience(rng)
            };
            script.ask(rng, patience);
        }
        script.steps(rng);
        script.say(rng);
        let has_input = deadline.is_none() && rng.random_bool(0.25);
        if has_input {
            script.further_turns(rng);
        }
        let (line, ending) = match deadline {
            Some(_) => ("", Ending::Deadline),
            None => *ENDINGS.choose(rng).unwrap_or(&ENDINGS[0]),
        };
        script.line(line);
        if rng.random_bool(0.05) {
            script.line("@ignore-term");
        }
        let input = has_input.then(|| script.input(rng).into());
        Self {
            prompt: script.prompts.swap_remove(0),
            input,
            events: rng.random_bool(0.25),
            text: Arc::default(),
            deltas: Arc::default(),
            ending,
            deadline,
            longest: deadline.map_or_else(
                || Duration::from_secs_f64(script.seconds),
                Duration::from_secs,
            ),
            dialogue: Some(Arc::new(script.dialogue)),
        }
    }
}

impl Plan {
    /// Returns whether its first question stays open until somebody answers it.
    pub(in crate::soak) fn is_asking_for_long(&self) -> bool {
        let dialogue = self.dialogue.as_ref();
        let has_limit = dialogue.is_none_or(|dialogue| dialogue.has_timeout());
        !has_limit && self.input.is_none() && self.deadline.is_none()
    }
}

/// Returns a random time for which clients leave a question open. Faults hit the longer ones.
fn patience(rng: &mut StdRng) -> Patience {
    Patience::For(Duration::from_millis(match rng.random_range(0..3) {
        0 => 0,
        1 => rng.random_range(100..2000),
        _ => rng.random_range(2000..7000),
    }))
}

impl Script {
    fn new(mark: &'static str) -> Self {
        Self {
            mark,
            prompts: vec![String::new()],
            dialogue: Dialogue::default(),
            seconds: 0.0,
        }
    }

    fn line(&mut self, line: &str) {
        if let Some(prompt) = self.prompts.last_mut() {
            prompt.push_str(line);
            prompt.push('\n');
        }
    }

    fn part(&mut self, part: Part) {
        self.dialogue.parts.push(part);
    }

    fn say(&mut self, rng: &mut StdRng) {
        let words: Vec<&str> = (0..rng.random_range(1..20))
            .filter_map(|_| WORDS.choose(rng).copied())
            .collect();
        let text = format!("said {} {}", self.mark, words.join(" "));
        self.line(&format!("@say {text}"));
        self.part(Part::Text(text));
    }

    fn volume(&mut self, rng: &mut StdRng) {
        let (count, bytes) = (rng.random_range(1..60_u32), rng.random_range(14..80));
        let seconds = rng.random_range(0.05..0.5);
        self.line(&format!("@rate {:.0}", (f64::from(count) / seconds).ceil()));
        self.line(&format!("@volume {count} {bytes} {}", self.mark));
        self.line("@rate 0");
        self.seconds += seconds;
        let filling = filling(bytes - 14, self.mark);
        let deltas = (1..=count).map(|number| format!("{number:012} {filling}\n"));
        let text = deltas.collect();
        self.part(Part::Text(text));
    }

    /// Adds a directive that takes time. The text after it is another block.
    fn lasting(&mut self, name: &str, seconds: f64) {
        self.line(&format!("{name} {seconds:.2}"));
        self.seconds += seconds;
        self.part(Part::NewBlock);
    }

    /// Adds up to two steps that need nobody.
    fn steps(&mut self, rng: &mut StdRng) {
        for _ in 0..rng.random_range(0..3) {
            match rng.random_range(0..4) {
                0 => self.say(rng),
                1 => self.volume(rng),
                2 => self.lasting("@think", rng.random_range(0.0..0.2)),
                _ => self.lasting("@tool", rng.random_range(0.0..0.3)),
            }
        }
    }

    fn ask(&mut self, rng: &mut StdRng, patience: Patience) {
        let number = self.dialogue.asks.len();
        let ask = Ask {
            is_late: self.prompts.len() > 1,
            ..Ask::random(rng, number, self.mark, patience)
        };
        self.line(&ask.step());
        self.part(Part::Ask(number));
        self.dialogue.asks.push(ask);
        self.seconds += ANSWERED_WITHIN_SECONDS;
    }

    /// Adds further turns, some with a question. It may come too late: after the end of the input,
    /// the next result closes stdin.
    fn further_turns(&mut self, rng: &mut StdRng) {
        for _ in 0..rng.random_range(1..4) {
            self.prompts.push(String::new());
            self.part(Part::NextTurn);
            if rng.random_bool(0.4) {
                let patience = patience(rng);
                self.ask(rng, patience);
            }
            self.say(rng);
        }
    }

    /// Returns the lines of input that begin the further turns, often with an interrupt before one
    /// of them or behind the last.
    fn input(&mut self, rng: &mut StdRng) -> String {
        let mut lines: Vec<String> = self.prompts[1..]
            .iter()
            .map(|prompt| {
                let message = json!({"role": "user", "content": prompt});
                json!({"type": "user", "message": message}).to_string()
            })
            .collect();
        if rng.random_bool(0.6) {
            lines.insert(rng.random_range(0..=lines.len()), INTERRUPT.to_owned());
            self.dialogue.has_interrupt = true;
        }
        if rng.random_bool(0.3) {
            lines.push(INTERRUPT.to_owned());
            self.dialogue.has_interrupt = true;
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::stand_in::script::{self, Step};

    #[test]
    fn the_prompt_asks_the_questions_of_the_dialogue_with_the_mark() {
        for seed in 0..50 {
            let plan = Plan::asking(&mut StdRng::seed_from_u64(seed), "mark");
            let dialogue = plan.dialogue.expect("a dialogue");
            let steps = script::parse(&plan.prompt).steps;
            let asked = steps.into_iter().filter_map(|step| match step {
                Step::Ask { name, inputs } => Some((name, inputs)),
                _ => None,
            });
            let due = dialogue.asks.iter().filter(|ask| !ask.is_late);
            let due = due.map(|ask| (ask.tool.to_owned(), vec![ask.input.clone()]));
            assert!(asked.eq(due), "{}", plan.prompt);
            assert!(dialogue.asks.iter().all(|ask| ask.title.contains("mark")));
        }
    }
}
