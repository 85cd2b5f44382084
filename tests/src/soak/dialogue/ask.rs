//! One question of a dialogue, its valid answers, and their outcomes.

use std::time::Duration;

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

/// The beginning of the CLI's line after a timeout. claude-api chooses the rest.
const TIMED_OUT: &str = "denied Nobody answered in time";
/// The beginning of the CLI's line after a denial without a message.
const DENIED: &str = "denied The user denied this";
/// The beginning of the CLI's line after a prompt that claude-api has denied without a question.
const NOT_ASKED: &str = "denied Nobody was asked";
/// The beginning of the CLI's line after a prompt that follows the end of its stdin.
const STDIN_CLOSED: &str = "denied Tool permission request failed";
/// The longest title whose question certainly suggests a rule, in bytes.
const RULE_BYTES: usize = 1000;
/// The labels of the options of a choice.
const LABELS: [&str; 3] = ["one", "the other", "\u{6f22}\u{5b57}"];

/// The time for which the clients leave a question open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::soak) enum Patience {
    /// Clients answer the question after this time.
    For(Duration),
    /// No client answers the question. Its timeout or the end of its execution closes it.
    Endless,
}

/// A question of the CLI: a step `@ask` of the prompt.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::soak) struct Ask {
    pub(in crate::soak) kind: &'static str,
    pub(in crate::soak) tool: &'static str,
    /// The whole title; a status has its beginning.
    pub(in crate::soak) title: String,
    pub(in crate::soak) input: Value,
    pub(in crate::soak) patience: Patience,
    /// Whether the question is in a later turn than the first: stdin may be closed before.
    pub(in crate::soak) is_late: bool,
}

impl Ask {
    /// Creates a random question. Its title begins with its number in the execution.
    pub(in crate::soak) fn random(
        rng: &mut StdRng,
        number: usize,
        mark: &str,
        patience: Patience,
    ) -> Self {
        let mut title = format!(
            "{number} {mark} \u{e9}t\u{e9} \"quoted\" {}",
            rng.random::<u16>()
        );
        let (kind, tool, input) = match rng.random_range(0..10) {
            0..7 => {
                // A long input is left out of messages.
                if rng.random_bool(0.05) {
                    title.push_str(&"x".repeat(20_000));
                }
                ("permission", "Bash", json!({"command": title}))
            }
            7..9 => {
                let options: Vec<_> = LABELS.iter().map(|label| json!({"label": label})).collect();
                let question = json!({"question": title, "options": options});
                (
                    "choice",
                    "AskUserQuestion",
                    json!({"questions": [question]}),
                )
            }
            _ => ("plan", "ExitPlanMode", json!({"plan": title})),
        };
        Self {
            kind,
            tool,
            title,
            input,
            patience,
            is_late: false,
        }
    }

    /// Returns the step of the prompt.
    pub(in crate::soak) fn step(&self) -> String {
        format!("@ask {} {}", self.tool, self.input)
    }

    /// Returns a random valid answer, with the mark of its principal.
    pub(in crate::soak) fn answer(&self, rng: &mut StdRng, mark: &str) -> Value {
        let number = rng.random::<u16>();
        match rng.random_range(0..100) {
            0..55 => self.allow(rng.random_range(0..3), number, mark),
            55..80 => json!({"decision": "deny", "message": format!("not so {number} {mark}")}),
            80..92 => json!({"decision": "deny"}),
            _ => json!({"decision": "deny", "interrupt": true}),
        }
    }

    /// Returns an answer that allows: `variant` is 0 for a plain one.
    pub(in crate::soak) fn allow(&self, variant: u32, number: u16, mark: &str) -> Value {
        let mut answer = json!({"decision": "allow"});
        match (self.kind, variant) {
            ("choice", 0) => answer["answers"] = json!({&self.title: LABELS[0]}),
            ("choice", _) => {
                let text = format!("neither {number} {mark}");
                answer["answers"] = json!({&self.title: text});
            }
            ("permission", 1) => {
                let command = format!("changed {number} {mark}");
                answer["updatedInput"] = json!({"command": command});
            }
            ("permission", 2) if self.title.len() < RULE_BYTES => {
                answer["remember"] = json!([format!("{}({})", self.tool, self.title)]);
            }
            _ => {}
        }
        answer
    }

    /// Returns an answer that the question must refuse.
    pub(in crate::soak) fn invalid_answer(&self, rng: &mut StdRng) -> Value {
        let answers = [
            json!({"decision": "allow", "message": "only for a denial"}),
            json!({"decision": "deny", "updatedInput": {}}),
            json!({"decision": "deny", "remember": ["Bash"]}),
        ];
        answers.choose(rng).cloned().unwrap_or_default()
    }

    /// Returns the outcome of an answer.
    pub(in crate::soak) fn outcome(&self, answer: &Value) -> Outcome {
        if answer["decision"] == "allow" {
            let mut input = answer.get("updatedInput").unwrap_or(&self.input).clone();
            if let Some(answers) = answer.get("answers") {
                input["answers"] = answers.clone();
            }
            return Outcome::Says(format!("allowed {input}"));
        }
        match answer["message"].as_str() {
            _ if answer["interrupt"] == true => Outcome::EndsTurn,
            Some(message) => Outcome::Says(format!("denied {message}")),
            None => Outcome::SaysLike(DENIED),
        }
    }
}

/// The output of the CLI after a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::soak) enum Outcome {
    /// The CLI says this line.
    Says(String),
    /// The CLI says a line with this beginning.
    SaysLike(&'static str),
    /// The CLI says nothing more in this turn.
    EndsTurn,
}

impl Outcome {
    /// The outcome of a question that nobody has answered in time.
    pub(in crate::soak) const TIMEOUT: Self = Self::SaysLike(TIMED_OUT);
    /// The outcomes of a question that the CLI could not ask, because its stdin was closed.
    pub(in crate::soak) const UNASKED: [Self; 2] =
        [Self::SaysLike(STDIN_CLOSED), Self::SaysLike(NOT_ASKED)];
}
