//! Random plans of executions whose client answers the requests of their CLI.

use std::{sync::Arc, time::Duration};

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use super::{Ending, Plan, writer::WORDS};

/// The time for which such an execution may run: its client waits, reconnects, and is sometimes
/// paused.
const LONGEST: Duration = Duration::from_secs(90);

/// The messages of a client, and its answers to the requests that follow from them.
#[derive(Debug, Clone, Default)]
pub(in crate::soak) struct Turns {
    /// The messages, in order.
    pub(in crate::soak) prompts: Vec<String>,
    /// The answers, in the order of the CLI's requests.
    pub(in crate::soak) answers: Vec<Value>,
}

impl Plan {
    /// Creates a random plan of one to three turns. The execution begins without a prompt.
    pub(in crate::soak) fn of_client(rng: &mut StdRng, mark: &'static str) -> (Self, Turns) {
        let mut turns = Turns::default();
        let mut text = String::new();
        for _ in 0..rng.random_range(1..4) {
            let mut prompt = String::new();
            for _ in 0..rng.random_range(0..3) {
                let (step, answer, said) = call(rng, turns.answers.len(), mark);
                prompt.push_str(&step);
                text.push_str(&said);
                turns.answers.push(answer);
            }
            if rng.random_bool(0.3) {
                prompt.push_str(&format!("@silence {:.2}\n", rng.random_range(0.0..0.5)));
            }
            let word = WORDS.choose(rng).copied().unwrap_or_default();
            prompt.push_str(&format!("@say said {mark} {word}\n"));
            text.push_str(&format!("said {mark} {word}"));
            turns.prompts.push(prompt);
        }
        let text: Arc<[u8]> = text.into_bytes().into();
        let plan = Self {
            prompt: String::new(),
            input: None,
            events: true,
            text: Arc::clone(&text),
            deltas: text,
            dialogue: None,
            ending: Ending::Completed,
            deadline: None,
            longest: LONGEST,
        };
        (plan, turns)
    }
}

/// Returns a random step of a prompt that asks the client, the answer, and the text that follows.
fn call(rng: &mut StdRng, number: usize, mark: &str) -> (String, Value, String) {
    let command = json!({"command": format!("{number} {mark}")});
    match rng.random_range(0..4) {
        0 => {
            let input = json!({"command": format!("{number} changed {mark}")});
            let said = format!("allowed {input}\n");
            let answer = json!({"behavior": "allow", "updatedInput": input});
            (format!("@ask Bash {command}\n"), answer, said)
        }
        1 => {
            let message = format!("no {number} {mark}");
            let said = format!("denied {message}\n");
            let answer = json!({"behavior": "deny", "message": message});
            (format!("@ask Bash {command}\n"), answer, said)
        }
        2 => {
            let answer = json!({"continue": true, "reason": format!("{number} {mark}")});
            let said = format!("hook {answer}\n");
            (format!("@hook PreToolUse {command}\n"), answer, said)
        }
        _ => {
            let result = json!({"jsonrpc": "2.0", "id": 0, "result": {"n": number}});
            let answer = json!({"mcp_response": result});
            let said = format!("mcp {answer}\n");
            (format!("@mcp calc {command}\n"), answer, said)
        }
    }
}
