//! The tokens and the cost of an execution, as the CLI reports them in its last result.

use protocol::Status;
use serde_json::Value;

/// The kinds of model tokens that are counted. Each pair is a value of the label `kind`, and the
/// name of that count in the object `usage` of a status, as the CLI spells it.
pub(super) const TOKENS: [(&str, &str); 4] = [
    ("input", "input_tokens"),
    ("output", "output_tokens"),
    ("cache_read", "cache_read_input_tokens"),
    ("cache_creation", "cache_creation_input_tokens"),
];

/// Returns a count of tokens from the CLI's result, such as `input_tokens`. `None` if the CLI did
/// not report it.
pub(super) fn token_count(status: &Status, member: &str) -> Option<u64> {
    let count = status.usage.as_ref().and_then(|usage| usage.get(member));
    count.and_then(Value::as_u64)
}

/// Returns the cost of an execution in US dollars. `None` if it is not known or not positive: a
/// counter never decreases.
pub(super) fn positive_cost(status: &Status) -> Option<f64> {
    let cost = status.cost_usd;
    cost.filter(|cost| cost.is_finite() && *cost > 0.0)
}
