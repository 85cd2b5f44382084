//! The result of checking a client's control line: the line for the CLI, or the refusal.

use protocol::ProblemType;
use serde_json::{Map, Value};

/// The reason why a control line of a client is refused. The client's stream stays usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ControlFault {
    /// The problem type of the answer to the client.
    pub kind: ProblemType,
    /// What is wrong, and what to do. The text completes a sentence about the line.
    pub detail: String,
}

impl ControlFault {
    pub(super) fn not_allowed(detail: impl Into<String>) -> Self {
        let (kind, detail) = (ProblemType::ControlRequestNotAllowed, detail.into());
        Self { kind, detail }
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        let (kind, detail) = (ProblemType::InvalidBody, detail.into());
        Self { kind, detail }
    }
}

/// A checked `control_response` of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckedResponse {
    /// The line for the CLI. `None` if the CLI does not wait for the response any more.
    pub(crate) line: Option<Value>,
    /// The CLI's id of the request that it answers.
    pub(crate) request_id: String,
    /// The number of changes and rules of the permissions that were left out, because no client may
    /// make them.
    pub(crate) dropped_updates: u64,
}

/// Returns the members of an object that have these names. Empty if the value is no object.
pub(super) fn known_members(value: &Value, names: &[&str]) -> Map<String, Value> {
    let members = value.as_object().into_iter().flatten();
    let known = members.filter(|(name, _)| names.contains(&name.as_str()));
    known
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
