//! Builders of JSON Schema 2020-12 values.
//!
//! A reference to a shared schema is `#/$defs/NAME`. The OpenAPI document moves the schemas to
//! `#/components/schemas`, and [`with_base`] rewrites the references.

use serde_json::{Map, Value, json};

/// The base of references in a JSON Schema document.
const DEFS: &str = "#/$defs/";

/// Returns a reference to the shared schema of this name.
pub(crate) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{DEFS}{name}") })
}

/// Adds a description for people. An empty text adds none.
pub(crate) fn described(mut schema: Value, description: &str) -> Value {
    if !description.is_empty() {
        schema["description"] = description.into();
    }
    schema
}

/// Returns the schema of a text.
pub(crate) fn text(description: &str) -> Value {
    described(json!({ "type": "string" }), description)
}

/// Returns the schema of an integer that is at least `min`, and at most what 64 bits hold.
pub(crate) fn count_from(min: u64, description: &str) -> Value {
    range(min, u64::MAX, description)
}

/// Returns the schema of an integer that is 0 or more.
pub(crate) fn count(description: &str) -> Value {
    count_from(0, description)
}

/// Returns the schema of an integer in a range.
pub(crate) fn range(min: u64, max: u64, description: &str) -> Value {
    let schema = json!({ "type": "integer", "minimum": min, "maximum": max });
    described(schema, description)
}

/// Returns the schema of `true` or `false`.
pub(crate) fn flag(description: &str) -> Value {
    described(json!({ "type": "boolean" }), description)
}

/// Returns the schema of a time: RFC 3339, in UTC.
pub(crate) fn time(description: &str) -> Value {
    described(
        json!({ "type": "string", "format": "date-time" }),
        description,
    )
}

/// Returns the schema of a list.
pub(crate) fn list(items: Value, description: &str) -> Value {
    described(json!({ "type": "array", "items": items }), description)
}

/// Returns the schema of an object with members of any name.
pub(crate) fn any_object(description: &str) -> Value {
    described(json!({ "type": "object" }), description)
}

/// Returns the schema of one exact value.
pub(crate) fn exactly(value: impl Into<Value>) -> Value {
    json!({ "const": value.into() })
}

/// Adds the default value of a field.
pub(crate) fn with_default(mut schema: Value, default: impl Into<Value>) -> Value {
    schema["default"] = default.into();
    schema
}

/// Returns a schema that also permits null. The description stays on the outside.
pub(crate) fn or_null(mut schema: Value) -> Value {
    if let Some(kind) = schema.get("type").and_then(Value::as_str) {
        schema["type"] = json!([kind, "null"]);
        if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            words.push(Value::Null);
        }
        return schema;
    }
    let mut outer = Map::new();
    for name in ["description", "default"] {
        let moved = schema.as_object_mut().and_then(|inner| inner.remove(name));
        outer.extend(moved.map(|value| (name.to_owned(), value)));
    }
    outer.insert("anyOf".to_owned(), json!([schema, { "type": "null" }]));
    Value::Object(outer)
}

/// Moves the references of a document to another base, such as `#/components/schemas/`.
pub(crate) fn with_base(document: &mut Value, base: &str) {
    match document {
        Value::Array(items) => items.iter_mut().for_each(|item| with_base(item, base)),
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str().and_then(|text| text.strip_prefix(DEFS)) {
                    Some(target) if name == "$ref" => *member = format!("{base}{target}").into(),
                    _ => with_base(member, base),
                }
            }
        }
        _ => {}
    }
}

/// Builds the schema of an object, field by field.
#[derive(Debug, Default)]
pub(crate) struct Object {
    properties: Map<String, Value>,
    required: Vec<String>,
    is_closed: bool,
    description: String,
}

impl Object {
    /// Creates an object without fields. It permits members that it does not describe.
    pub(crate) fn new(description: &str) -> Self {
        Self {
            description: description.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a field that is always there.
    pub(crate) fn field(mut self, name: &str, schema: Value) -> Self {
        self.required.push(name.to_owned());
        self.optional(name, schema)
    }

    /// Adds a field that may be absent.
    pub(crate) fn optional(mut self, name: &str, schema: Value) -> Self {
        self.properties.insert(name.to_owned(), schema);
        self
    }

    /// Adds a field of a request: it may be absent or null, which is the same.
    pub(crate) fn setting(self, name: &str, schema: Value) -> Self {
        self.optional(name, or_null(schema))
    }

    /// Refuses members that have no description.
    pub(crate) fn closed(mut self) -> Self {
        self.is_closed = true;
        self
    }

    /// Returns the schema.
    pub(crate) fn build(self) -> Value {
        let Self {
            properties,
            required,
            is_closed,
            description,
        } = self;
        let mut schema = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        if is_closed {
            schema["additionalProperties"] = false.into();
        }
        described(schema, &description)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_added_to_types_words_and_references() {
        let word = json!({ "type": "string", "enum": ["a"] });
        let expected = json!({ "type": ["string", "null"], "enum": ["a", null] });
        assert_eq!(or_null(word), expected);
        let seen = or_null(described(reference("X"), "text"));
        let expected = json!({
            "anyOf": [{ "$ref": "#/$defs/X" }, { "type": "null" }], "description": "text"
        });
        assert_eq!(seen, expected);
    }

    #[test]
    fn references_move_and_other_texts_stay() {
        let mut document = json!([{ "$ref": "#/$defs/X", "description": "#/$defs/X" }]);
        with_base(&mut document, "#/components/schemas/");
        let expected = json!([{ "$ref": "#/components/schemas/X", "description": "#/$defs/X" }]);
        assert_eq!(document, expected);
    }
}
