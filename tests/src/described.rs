//! Compares real messages with the descriptions that the services publish: `GET /openapi.json` of
//! claude-api and `GET /protocol.json` of the bridge.
//!
//! - Each message of the services is checked against a strict copy of the document, in which an
//!   object has only the described members. So a member that the document lacks fails a test.
//! - A request that a service accepted is checked against the document as it is. A request that was
//!   refused may be of any form.
//!
//! A schema is compiled when it is first needed, once for each process.

pub mod http;
pub mod websocket;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

/// The compiled schemas of one document.
struct Schemas {
    document: Value,
    /// By JSON pointer. A plain lock, which is never held while a message is checked.
    compiled: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Schemas {
    /// The schemas of a document as it is.
    fn new(document: Value) -> Self {
        Self {
            document,
            compiled: Mutex::default(),
        }
    }

    /// The schemas of a document whose objects have no members but the described ones.
    fn strict(mut document: Value) -> Self {
        close(&mut document);
        Self::new(document)
    }

    /// Returns the compiled schema at this JSON pointer (RFC 6901).
    ///
    /// # Panics
    /// If the document has no such schema, or the schema is malformed.
    fn at(&self, pointer: &str) -> Arc<Validator> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let known = compiled.get(pointer).cloned();
        known.unwrap_or_else(|| {
            let validator = Arc::new(self.compile(pointer));
            compiled.insert(pointer.to_owned(), Arc::clone(&validator));
            validator
        })
    }

    fn compile(&self, pointer: &str) -> Validator {
        let target = self.document.pointer(pointer);
        assert!(target.is_some(), "the document has no schema at {pointer}");
        // The references of the schema are relative to the whole document.
        let mut root = json!({ "$ref": format!("#{pointer}") });
        for name in ["$defs", "components", "paths"] {
            if let Some(part) = self.document.get(name) {
                root[name] = part.clone();
            }
        }
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012);
        let validator = options.should_validate_formats(true).build(&root);
        validator.unwrap_or_else(|error| panic!("the schema at {pointer} is malformed: {error}"))
    }

    /// Checks a value against the schema at this pointer.
    ///
    /// # Errors
    /// The first mistakes, each with its place in the value.
    fn check(&self, pointer: &str, value: &Value) -> Result<(), String> {
        let validator = self.at(pointer);
        if validator.is_valid(value) {
            return Ok(());
        }
        let mistakes: Vec<_> = validator.iter_errors(value).take(3).collect();
        let mistakes = mistakes.iter().map(|mistake| {
            let text: String = mistake.to_string().chars().take(400).collect();
            format!("{text} at {:?}", mistake.instance_path().to_string())
        });
        let mistakes: Vec<_> = mistakes.collect();
        Err(format!(
            "it does not match {pointer} of the description: {}",
            mistakes.join("; ")
        ))
    }
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
    use super::*;

    #[test]
    fn a_strict_schema_refuses_members_that_it_does_not_describe() {
        let document = json!({
            "$defs": { "A": { "type": "object", "properties": { "a": { "type": "integer" } } } }
        });
        let value = json!({ "a": 1, "b": 2 });
        assert_eq!(
            Schemas::new(document.clone()).check("/$defs/A", &value),
            Ok(())
        );
        let strict = Schemas::strict(document);
        assert!(strict.check("/$defs/A", &value).is_err());
        let error = strict.check("/$defs/A", &json!({ "a": "x" })).unwrap_err();
        assert!(error.contains("\"/a\""), "{error}");
    }

    #[test]
    fn both_documents_are_valid_schemas() {
        for document in [
            descriptions::openapi::document()["components"]["schemas"].clone(),
            descriptions::websocket::document()["$defs"].clone(),
        ] {
            for (name, schema) in document.as_object().expect("schemas") {
                assert!(jsonschema::meta::is_valid(schema), "{name}");
            }
        }
    }
}
