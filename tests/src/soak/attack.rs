//! Requests about executions of another principal. For the client such an execution does not exist,
//! so each answer must be that about an id that never existed, and the execution stays as it is.
//! docs/protocol.md, "Principals", has the two answers that differ: an id of another principal is
//! in use for an execute, and an id that does not exist yet can be burned.

mod http;

use rand::{rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use super::execution::Execution;
pub(super) use http::HttpAttack;

/// A request over WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Attack {
    Status,
    Attach,
    Detach,
    Pause,
    Resume,
    Cancel,
    Input,
    Events,
    Share,
    /// An answer to a question.
    Answer,
    /// A list that begins behind the execution.
    ListBefore,
    /// A new execution that continues it.
    Continue,
    /// A new execution in its conversation.
    Converse,
    /// Its own execute again.
    Execute,
    /// An execute of its id with another body.
    Conflict,
}

const ATTACKS: [Attack; 15] = [
    Attack::Status,
    Attack::Attach,
    Attack::Detach,
    Attack::Pause,
    Attack::Resume,
    Attack::Cancel,
    Attack::Input,
    Attack::Events,
    Attack::Share,
    Attack::Answer,
    Attack::ListBefore,
    Attack::Continue,
    Attack::Converse,
    Attack::Execute,
    Attack::Conflict,
];

/// The prompt of an execute that must not run.
const PROMPT: &str = "@say a prompt of another principal";

impl Attack {
    /// Returns a random kind.
    pub(super) fn random(rng: &mut StdRng) -> Self {
        *ATTACKS.choose(rng).unwrap_or(&Self::Status)
    }

    /// Returns whether the request takes the id if no execution has it. Then it must not precede
    /// the acceptance of the execution, and no unknown id gives the same answer.
    pub(super) fn takes_the_id(self) -> bool {
        matches!(self, Self::Execute | Self::Conflict)
    }

    /// Returns the method and the parameters of the request about an execution. `new` is an id for
    /// an execution that would be created, `question` that of the answered question, and `offset`
    /// that of the input.
    pub(super) fn request(
        self,
        id: &str,
        victim: &Execution,
        new: &str,
        question: &str,
        offset: u64,
    ) -> (&'static str, Value) {
        let about = json!({"executionId": id});
        let control = |kind: &str| ("control", json!({"type": kind, "executionId": id}));
        match self {
            Self::Status => ("status", about),
            Self::Attach => ("attach", about),
            Self::Detach => ("detach", about),
            Self::Pause => control("PAUSE"),
            Self::Resume => control("RESUME"),
            Self::Cancel => control("CANCEL"),
            Self::Input => (
                "input",
                json!({"executionId": id, "offset": offset, "data": input_line(), "eof": true}),
            ),
            Self::Events => ("events", about),
            Self::Share => ("share", json!({"executionId": id, "role": "control"})),
            Self::Answer => (
                "answer",
                json!({"executionId": id, "questionId": question, "decision": "allow"}),
            ),
            Self::ListBefore => ("list", json!({"before": id})),
            Self::Continue => (
                "execute",
                json!({"executionId": new, "prompt": PROMPT, "continues": id}),
            ),
            Self::Converse => (
                "execute",
                json!({"executionId": new, "prompt": PROMPT, "conversation": id}),
            ),
            Self::Execute if !victim.is_child() => ("execute", victim.params.clone()),
            Self::Execute | Self::Conflict => {
                ("execute", json!({"executionId": id, "prompt": PROMPT}))
            }
        }
    }

    /// Checks the answer to the request, a result or an error. Returns the part of it that is equal
    /// for all ids, with placeholders for `ids`; `None` if a service was not reachable or full.
    ///
    /// # Errors
    /// If the answer is not that about an unknown id.
    pub(super) fn judge(self, answer: &Value, ids: &[String]) -> Result<Option<String>, String> {
        let error = &answer["error"];
        let reason = error["data"]["reason"].as_str().unwrap_or_default();
        let code = error["code"].as_i64();
        if code == Some(-32005) || reason == "too_many_lists" {
            return Ok(None);
        }
        let due = match self {
            // A session ends a view; without one there is nothing to end.
            Self::Detach => (None, ""),
            Self::Converse => (Some(-32003), "unknown_conversation"),
            Self::Execute | Self::Conflict => (Some(-32009), "id_in_use"),
            _ => (Some(-32003), "not_found"),
        };
        if (code, reason) != due {
            return Err(format!(
                "I7: {self:?} of an id of another principal got {answer}, not {due:?}"
            ));
        }
        let mut equal = json!({"error": error, "result": answer["result"]});
        if let Some(data) = equal["error"]["data"].as_object_mut() {
            // Whether an execute was retried depends on the faults.
            for name in ["accepted", "attempts", "seconds"] {
                data.remove(name);
            }
        }
        Ok(Some(anonymous(&equal.to_string(), ids)))
    }
}

/// Returns a line of input that the CLI would obey.
fn input_line() -> String {
    let message = json!({"role": "user", "content": PROMPT});
    format!("{}\n", json!({"type": "user", "message": message}))
}

/// Replaces the ids of a request in its answer.
fn anonymous(text: &str, ids: &[String]) -> String {
    let numbered = ids.iter().enumerate();
    numbered.fold(text.to_owned(), |text, (number, id)| {
        text.replace(id, &format!("ID{number}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_about_an_unknown_id_is_right() {
        let ids = ["one".to_owned()];
        let answer = |code: i64, reason: &str, id: &str| {
            let data = json!({"reason": reason, "attempts": 3});
            json!({"id": 1, "error": {"code": code, "message": format!("no {id}"), "data": data}})
        };
        let unknown = Attack::Status.judge(&answer(-32003, "not_found", "one"), &ids);
        let other = Attack::Status.judge(&answer(-32003, "not_found", "two"), &["two".to_owned()]);
        assert!(unknown.is_ok() && unknown == other, "{unknown:?} {other:?}");
        let away = Attack::Status.judge(&answer(-32005, "stopping", "one"), &ids);
        assert_eq!(away, Ok(None));
        for wrong in [
            answer(-32008, "wrong_state", "one"),
            answer(-32003, "unknown_conversation", "one"),
            json!({"id": 1, "result": {}}),
        ] {
            assert!(Attack::Status.judge(&wrong, &ids).is_err(), "{wrong}");
        }
        let empty = json!({"id": 1, "result": {}});
        assert!(Attack::Detach.judge(&empty, &ids).is_ok());
    }
}
