//! The OpenAPI 3.1 document of claude-api (docs/protocol.md, "HTTP of claude-api").
//!
//! OpenAPI cannot express trailers, streams of lines and the order of events. Texts, and members
//! that begin with `x-`, describe them.

mod access;
mod bodies;
mod executions;
mod operation;
mod questions;
mod service;
mod streams;

use protocol::{ProblemType, trailers};
use serde_json::{Map, Value, json};

use crate::schema::with_base;
use crate::shared::{self, problems};
use operation::{Operation, problem_answer};

/// The base of references in an OpenAPI document.
const SCHEMAS: &str = "#/components/schemas/";

/// Text about the whole document.
const INTRODUCTION: &str = "claude-api runs the Claude CLI. `PUT /v1/executions/{id}` accepts a \
    prompt and streams its output.\n\n\
    - Each `GET` path answers `HEAD` too. `OPTIONS` is for preflight requests of pages (CORS).\n\
    - Errors are problems of RFC 9457. A request that is not HTTP, or whose head is too large, \
      gets 400 or 431 without a problem.\n\
    - A path that does not exist is 404 `unknown-path`. A method that a path does not accept is \
      405 `method-not-allowed`, with the header `Allow`.\n\
    - `Host` and `Origin` are checked first: a foreign one is 403.\n\
    - A token is needed when the operator has a token file; the limit `tokens` says so.\n\
    - A stream is chunked and needs HTTP/1.1. A clean end means complete. A stream that fails ends \
      in an aborted connection; the client requests the rest by `offset`.\n\
    - Trailers are sent to clients that send `TE: trailers`.\n\
    - docs/protocol.md has the rules that this document cannot express.";

/// Returns the operations of claude-api.
fn operations() -> Vec<Operation> {
    let parts = [
        executions::operations(),
        streams::operations(),
        questions::operations(),
        access::operations(),
        service::operations(),
    ];
    parts.into_iter().flatten().collect()
}

/// Builds the document. [`crate::openapi_json`] has its text, which is built once.
#[must_use]
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations() {
        let (path, method, description) = operation.build();
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[method] = description;
    }
    let mut schemas = shared::schemas();
    schemas.extend(problems::schemas());
    schemas.extend(bodies::schemas());
    let scheme = json!({
        "type": "http",
        "scheme": "bearer",
        "description": "A token of the operator's file, or a share.",
    });
    let mut document = json!({
        "openapi": "3.1.1",
        "info": {
            "title": "claude-api",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Prompts for the Claude CLI over HTTP.",
            "description": INTRODUCTION,
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": fallbacks(),
            "securitySchemes": { "token": scheme },
        },
        "x-trailers": trailer_texts(),
    });
    with_base(&mut document, SCHEMAS);
    document
}

/// Returns the answers that belong to no operation.
fn fallbacks() -> Value {
    let answer = |kind: ProblemType| problem_answer(kind.status(), &[kind]);
    json!({
        "unknownPath": answer(ProblemType::UnknownPath),
        "methodNotAllowed": answer(ProblemType::MethodNotAllowed),
    })
}

fn tags() -> Value {
    json!([
        { "name": "executions", "description": "Accept, read, control and delete executions." },
        { "name": "streams", "description": "Output and events, from any byte that is kept." },
        { "name": "questions", "description": "What an execution asks of a person, and answers." },
        { "name": "access", "description": "Who the client is; shares and tickets." },
        { "name": "service", "description": "Limits, health, metrics and descriptions." },
    ])
}

/// Returns the trailers of a stream of output.
fn trailer_texts() -> Value {
    json!({
        trailers::EXECUTION_STATE: "The terminal state.",
        trailers::EXIT_CODE: "The exit code of the CLI; absent if there is none.",
        trailers::OUTPUT_LENGTH: "The count of output bytes.",
        trailers::OUTPUT_CRC32:
            "crc32 of the whole output, kept or not, as 8 lower-case hex digits.",
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Collects the targets of all references.
    fn references(value: &Value, targets: &mut BTreeSet<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| references(item, targets)),
            Value::Object(members) => {
                if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                    targets.insert(target.to_owned());
                }
                members.values().for_each(|item| references(item, targets));
            }
            _ => {}
        }
    }

    #[test]
    fn every_reference_has_its_schema_and_every_schema_is_used() {
        for (document, base) in [
            (document(), "/components/schemas/"),
            (crate::websocket::document(), "/$defs/"),
        ] {
            let mut targets = BTreeSet::new();
            references(&document, &mut targets);
            assert!(!targets.is_empty());
            for target in &targets {
                let pointer = target.trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{target}");
            }
            let schemas = document.pointer(base.trim_end_matches('/')).unwrap();
            let names = schemas.as_object().unwrap().keys();
            let unused: Vec<_> = names
                .filter(|name| !targets.contains(&format!("#{base}{name}")))
                .collect();
            assert!(unused.is_empty(), "{unused:?}");
        }
    }

    #[test]
    fn operations_have_names_of_their_own_and_links_name_them() {
        let all = operations();
        let names: BTreeSet<_> = all.iter().map(Operation::id).collect();
        assert_eq!(names.len(), all.len());
        let document = document();
        let items = document["paths"].as_object().unwrap().values();
        let operations = items.flat_map(|item| item.as_object().unwrap().values());
        let answers = operations.flat_map(|one| one["responses"].as_object().unwrap().values());
        let links = answers.filter_map(|answer| answer["links"].as_object());
        let targets: BTreeSet<_> = links.flat_map(|links| links.keys()).collect();
        assert!(!targets.is_empty());
        for target in targets {
            assert!(names.contains(target.as_str()), "{target}");
        }
    }
}
