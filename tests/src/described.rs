//! Compares real messages with the descriptions that the services publish: `GET /openapi.json` of
//! claude-api and `GET /protocol.json` of the bridge.
//!
//! - Each message of the services is checked against a strict copy of the document, in which an
//!   object has only the described members. So a member that the document lacks fails a test.
//! - A request that a service accepted is checked against the document as it is. A request that was
//!   refused may be of any form.
//!
//! All schemas of a document are compiled when it is first needed, once for each process.

pub mod http;
pub mod websocket;

use std::collections::HashMap;

use boon::{Compiler, Draft, SchemaIndex, Schemas as Compiled};
use serde_json::Value;

/// The address of a document for the compiler, which fetches nothing.
const ADDRESS: &str = "http://localhost/document.json";
/// The longest text about a difference, in characters.
const SHOWN_CHARS: usize = 2000;

/// The compiled schemas of one document.
struct Schemas {
    document: Value,
    compiled: Compiled,
    /// By JSON pointer (RFC 6901).
    by_pointer: HashMap<String, SchemaIndex>,
}

impl Schemas {
    /// Compiles the schemas of a document at these JSON pointers.
    ///
    /// # Panics
    /// If a schema is malformed.
    fn new(document: Value, pointers: impl IntoIterator<Item = String>) -> Self {
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.enable_format_assertions();
        let added = compiler.add_resource(ADDRESS, document.clone());
        added.unwrap_or_else(|error| panic!("the document is malformed: {error}"));
        let mut compiled = Compiled::new();
        let pointers = pointers.into_iter().map(|pointer| {
            let address = format!("{ADDRESS}#{}", percent_encoded(&pointer));
            let schema = compiler.compile(&address, &mut compiled);
            let schema = schema.unwrap_or_else(|error| panic!("{pointer}: {error:#}"));
            (pointer, schema)
        });
        let by_pointer = pointers.collect();
        Self {
            document,
            compiled,
            by_pointer,
        }
    }

    /// Compiles the schemas of a document whose objects have no members but the described ones.
    fn strict(mut document: Value, pointers: impl IntoIterator<Item = String>) -> Self {
        close(&mut document);
        Self::new(document, pointers)
    }

    /// Checks a value against the schema at this pointer.
    ///
    /// # Errors
    /// The differences, each with its place in the value.
    ///
    /// # Panics
    /// If no schema of this pointer was compiled.
    fn check(&self, pointer: &str, value: &Value) -> Result<(), String> {
        let schema = self.by_pointer.get(pointer);
        let schema = schema.unwrap_or_else(|| panic!("no schema at {pointer}"));
        let checked = self.compiled.validate(value, *schema);
        checked.map_err(|differences| {
            let text: String = format!("{differences:#}")
                .chars()
                .take(SHOWN_CHARS)
                .collect();
            format!("it does not match {pointer} of the description: {text}")
        })
    }
}

/// Encodes a JSON pointer for the fragment of a URL.
fn percent_encoded(pointer: &str) -> String {
    let encode = |c: char| match c {
        '{' | '}' | ' ' | '%' | '"' | '<' | '>' | '`' => format!("%{:02X}", u32::from(c)),
        c => c.to_string(),
    };
    pointer.chars().map(encode).collect()
}

/// Forbids members that an object does not describe.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Object(members) => {
            members.values_mut().for_each(close);
            let is_object = members.get("type").is_some_and(|kind| kind == "object");
            let is_described = members.get("properties").is_some_and(Value::is_object);
            if is_object && is_described && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), false.into());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_strict_schema_refuses_members_that_it_does_not_describe() {
        let document = json!({
            "$defs": { "A": { "type": "object", "properties": { "a": { "type": "integer" } } } }
        });
        let pointer = "/$defs/A";
        let value = json!({ "a": 1, "b": 2 });
        let open = Schemas::new(document.clone(), [pointer.to_owned()]);
        assert_eq!(open.check(pointer, &value), Ok(()));
        let strict = Schemas::strict(document, [pointer.to_owned()]);
        assert!(strict.check(pointer, &value).is_err());
        let error = strict.check(pointer, &json!({ "a": "x" })).unwrap_err();
        assert!(error.contains("/a"), "{error}");
    }
}
