//! The refusal of an object that a client hands to the CLI, and a reader of such objects.

use protocol::{Problem, ProblemType};
use serde_json::Value;

/// The reason why an object of a client is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct CliOptionRefusal {
    /// The problem type of the answer over HTTP.
    pub kind: ProblemType,
    /// The mistake and its remedy, for the client.
    pub detail: String,
}

impl CliOptionRefusal {
    pub(super) fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { kind, detail }
    }
}

impl From<CliOptionRefusal> for Problem {
    fn from(refusal: CliOptionRefusal) -> Self {
        Self::new(refusal.kind, refusal.detail)
    }
}

/// Returns the entries of a list of texts. `None` if the value is anything else.
pub(super) fn texts(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}
