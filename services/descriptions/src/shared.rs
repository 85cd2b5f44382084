//! The schemas that both documents use, by name. Each is defined once.

mod access;
mod body;
mod ids;
mod limits;
mod page;
pub mod problems;
mod question;
mod status;

pub(crate) use access::{expires_seconds, share_role};
pub(crate) use body::{body_fields, contradictions, lacks_prompt, prompt};
pub use limits::texts as limit_texts;
pub(crate) use limits::{limits, limits_fields};
pub(crate) use question::{answer_fields, closed_fields, question_fields, question_id};
pub(crate) use status::{WARNINGS, status_fields};

use serde_json::{Map, Value};

/// Returns the schemas that both documents use, by name.
pub(crate) fn schemas() -> Map<String, Value> {
    let all = [
        ("ExecutionId", ids::execution_id()),
        ("Status", status::status()),
        ("Warning", status::warning()),
        ("ErrorInfo", status::error_info()),
        ("Page", page::page()),
        ("Accepted", page::accepted()),
        ("Share", access::share()),
        ("Question", question::question()),
        ("OpenQuestion", question::open_question()),
        ("Answered", question::answered()),
        ("Obstacle", problems::obstacle()),
    ];
    let all = all.into_iter();
    all.map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    /// Asserts that a schema has exactly the fields of a type.
    #[track_caller]
    pub(crate) fn assert_fields(schema: &Value, fields: &[&str]) {
        let described = schema["properties"].as_object().unwrap();
        let described: BTreeSet<_> = described.keys().map(String::as_str).collect();
        assert!(!fields.is_empty());
        assert_eq!(described, fields.iter().copied().collect());
    }
}
