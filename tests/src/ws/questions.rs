//! The rules for the questions of one view.
//!
//! ```text
//! a statusUpdate that shows it -> question -> questionClosed -> the terminal statusUpdate
//! ```

use std::collections::HashSet;

use serde_json::Value;

/// The longest input in a notification, in bytes of JSON.
const INPUT_BYTES: u64 = 16 * 1024;

/// The questions of one view.
#[derive(Debug, Clone, Default)]
pub(super) struct Questions {
    /// The questions in the last statusUpdate.
    listed: HashSet<String>,
    /// Whether more questions are open than the last statusUpdate lists.
    has_hidden: bool,
    announced: HashSet<String>,
    closed: HashSet<String>,
}

impl Questions {
    /// Records the questions of a statusUpdate.
    pub(super) fn shown(&mut self, status: &Value) {
        let listed = status["questions"].as_array().into_iter().flatten();
        let ids = listed.filter_map(|question| question["questionId"].as_str());
        self.listed = ids.map(str::to_owned).collect();
        let open = status["questionsOpen"].as_u64().unwrap_or_default();
        self.has_hidden = open > self.listed.len() as u64;
    }

    /// Checks a `question`.
    pub(super) fn asked(&mut self, question: &Value) -> Result<(), String> {
        let id = id(question)?;
        for name in [
            "kind",
            "tool",
            "displayName",
            "title",
            "description",
            "input",
            "inputBytes",
            "suggestions",
            "agentId",
            "askedAt",
            "expiresAt",
        ] {
            if question.get(name).is_none() {
                return Err(format!("question {id} without {name}"));
            }
        }
        let is_long = question["inputBytes"]
            .as_u64()
            .is_none_or(|n| n > INPUT_BYTES);
        if question["input"].is_null() != is_long {
            return Err(format!(
                "the input of question {id} and its inputBytes differ"
            ));
        }
        if !self.listed.contains(&id) && !self.has_hidden {
            return Err(format!(
                "question {id}, which the last statusUpdate does not show"
            ));
        }
        if !self.announced.insert(id.clone()) {
            return Err(format!("question {id} twice"));
        }
        Ok(())
    }

    /// Checks a `questionClosed`.
    pub(super) fn closed(&mut self, params: &Value) -> Result<(), String> {
        let id = id(params)?;
        let cause = params["closedBy"].as_str().unwrap_or_default();
        let decision = params["decision"].as_str();
        let is_consistent = match cause {
            "answer" => matches!(decision, Some("allow" | "deny")),
            "timeout" => decision == Some("deny"),
            "end" | "withdrawn" => params.get("decision").is_some_and(Value::is_null),
            _ => false,
        };
        if !is_consistent || params.get("principal").is_none() || !params["closedAt"].is_string() {
            return Err(format!("questionClosed has {params}"));
        }
        if !self.announced.contains(&id) {
            return Err(format!("questionClosed of {id}, which was not announced"));
        }
        if !self.closed.insert(id.clone()) {
            return Err(format!("questionClosed of {id} twice"));
        }
        Ok(())
    }

    /// Checks the end of the view: every announced question was closed.
    pub(super) fn ended(&self) -> Result<(), String> {
        match self.announced.difference(&self.closed).next() {
            Some(id) => Err(format!(
                "no questionClosed of {id} before the terminal statusUpdate"
            )),
            None => Ok(()),
        }
    }
}

/// Returns the `questionId` of an object.
fn id(object: &Value) -> Result<String, String> {
    let id = object["questionId"].as_str();
    id.map(str::to_owned)
        .ok_or_else(|| format!("no questionId in {object}"))
}
