//! One operation of the OpenAPI document: a method of a path.

use std::collections::BTreeMap;

use http::StatusCode;
use protocol::limits::VIEWER_BYTES;
use protocol::{ProblemType, problem, trailers};
use serde_json::{Map, Value, json};

use crate::schema::{count, described, reference};
use crate::shared::problems::schema_name;

/// The problems of every operation, with and without a token.
const ALWAYS: [ProblemType; 7] = [
    ProblemType::InvalidForwardedFor,
    ProblemType::ForeignHost,
    ProblemType::ForeignOrigin,
    ProblemType::FromBox,
    ProblemType::TooManyConnections,
    ProblemType::Internal,
    ProblemType::BoxReachesService,
];
/// The problems of health pages, which are read from anywhere.
const OF_HEALTH: [ProblemType; 4] = [
    ProblemType::ForeignHost,
    ProblemType::ForeignOrigin,
    ProblemType::TooManyConnections,
    ProblemType::Internal,
];
/// The problems of operations that need a token.
const OF_TOKENS: [ProblemType; 3] = [
    ProblemType::Unauthorized,
    ProblemType::Forbidden,
    ProblemType::TooManyAttempts,
];

/// A method of a path, with its parameters and answers.
#[derive(Debug)]
pub(super) struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    tag: &'static str,
    text: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    responses: BTreeMap<u16, Value>,
    problems: Vec<ProblemType>,
    needs_token: bool,
}

impl Operation {
    /// Creates an operation that needs a token when there is a token file. The first argument is
    /// the method and the path, such as `GET` and `/v1/me`.
    pub(super) fn new(
        (method, path): (&'static str, &'static str),
        id: &'static str,
        tag: &'static str,
        text: &'static str,
    ) -> Self {
        let mut problems = ALWAYS.to_vec();
        problems.extend(OF_TOKENS);
        let operation = Self {
            method,
            path,
            id,
            tag,
            text,
            parameters: Vec::new(),
            body: None,
            responses: BTreeMap::new(),
            problems,
            needs_token: true,
        };
        match path.contains("{id}") {
            true => operation
                .path_parameter("id", reference("ExecutionId"))
                .problems(&[ProblemType::InvalidId]),
            false => operation,
        }
    }

    /// Marks the operation as one that needs no token.
    pub(super) fn public(mut self) -> Self {
        self.needs_token = false;
        self.problems.retain(|kind| !OF_TOKENS.contains(kind));
        self
    }

    /// Marks the operation as a health page, which needs no token and which the box may read.
    pub(super) fn health(self) -> Self {
        let mut page = self.public();
        page.problems = OF_HEALTH.to_vec();
        page
    }

    /// Adds a parameter of the path.
    pub(super) fn path_parameter(mut self, name: &str, schema: Value) -> Self {
        let parameter = json!({ "name": name, "in": "path", "required": true, "schema": schema });
        self.parameters.push(parameter);
        self
    }

    /// Adds a parameter of the query.
    pub(super) fn query(self, name: &str, schema: Value) -> Self {
        self.query_parameter(name, schema, false)
    }

    /// Adds a parameter of the query that every request must have.
    pub(super) fn required_query(self, name: &str, schema: Value) -> Self {
        self.query_parameter(name, schema, true)
    }

    fn query_parameter(mut self, name: &str, schema: Value, is_required: bool) -> Self {
        let parameter =
            json!({ "name": name, "in": "query", "required": is_required, "schema": schema });
        self.parameters.push(parameter);
        self
    }

    /// Adds the header `viewer` of the request.
    pub(super) fn viewer(mut self) -> Self {
        let text = format!("The bridge's name of its session; at most {VIEWER_BYTES} bytes count.");
        let schema = described(json!({ "type": "string" }), &text);
        let parameter = json!({ "name": trailers::VIEWER, "in": "header", "schema": schema });
        self.parameters.push(parameter);
        self
    }

    /// Marks an answer that was added before as a stream of output, with its trailers.
    pub(super) fn trailers(mut self, status: u16) -> Self {
        if let Some(answer) = self.responses.get_mut(&status) {
            answer["x-trailers"] = trailers::ALL.split(", ").collect();
        }
        self
    }

    /// Adds the body of the request.
    pub(super) fn body(mut self, kind: &str, schema: Value, is_required: bool) -> Self {
        let content = json!({ kind: { "schema": schema } });
        self.body = Some(json!({ "required": is_required, "content": content }));
        self
    }

    /// Adds an answer, with a schema for each media type.
    pub(super) fn answer(mut self, status: u16, text: &str, content: &[(&str, Value)]) -> Self {
        let mut answer = json!({ "description": text });
        let content: Map<_, _> = content
            .iter()
            .map(|(kind, schema)| ((*kind).to_owned(), json!({ "schema": schema })))
            .collect();
        if !content.is_empty() {
            answer["content"] = content.into();
        }
        self.responses.insert(status, answer);
        self
    }

    /// Adds an answer with JSON.
    pub(super) fn json(self, status: u16, text: &str, schema: Value) -> Self {
        self.answer(status, text, &[("application/json", schema)])
    }

    /// Adds a header to an answer that was added before.
    pub(super) fn header(self, status: u16, name: &str, schema: Value, text: &str) -> Self {
        self.annotate(status, "headers", name, {
            json!({ "required": true, "schema": schema, "description": text })
        })
    }

    /// Adds a member to an object of an answer that was added before.
    pub(super) fn annotate(mut self, status: u16, object: &str, name: &str, value: Value) -> Self {
        if let Some(answer) = self.responses.get_mut(&status) {
            answer[object][name] = value;
        }
        self
    }

    /// Adds a link to an answer that was added before. It says which values of the answer are
    /// parameters of the operation with the id `target`. Each value is a runtime expression
    /// (OpenAPI 3.1, section 4.8.20.4).
    pub(super) fn link(self, status: u16, target: &str, parameters: &[(&str, &str)]) -> Self {
        let parameters: Map<_, _> = parameters
            .iter()
            .map(|(name, source)| ((*name).to_owned(), json!(source)))
            .collect();
        let link = json!({ "operationId": target, "parameters": parameters });
        self.annotate(status, "links", target, link)
    }

    /// Adds problems that the operation may answer.
    pub(super) fn problems(mut self, kinds: &[ProblemType]) -> Self {
        self.problems.extend(kinds);
        self
    }

    /// Returns the name of the operation.
    #[cfg(test)]
    pub(super) fn id(&self) -> &'static str {
        self.id
    }

    /// Returns the path, the method in lower case and the description.
    pub(super) fn build(self) -> (String, String, Value) {
        let Self {
            method,
            path,
            id,
            tag,
            text,
            parameters,
            body,
            responses,
            problems,
            needs_token,
        } = self;
        let mut all: BTreeMap<String, Value> = responses
            .into_iter()
            .map(|(status, answer)| (status.to_string(), answer))
            .collect();
        for (status, kinds) in by_status(&problems) {
            all.insert(status.to_string(), problem_answer(status, &kinds));
        }
        // An empty requirement: without a token file, no token is needed.
        let security = match needs_token {
            true => json!([{ "token": [] }, {}]),
            false => json!([]),
        };
        let mut description = json!({
            "operationId": id,
            "tags": [tag],
            "description": text,
            "parameters": parameters,
            "responses": all,
            "security": security,
        });
        if let Some(body) = body {
            description["requestBody"] = body;
        }
        (path.to_owned(), method.to_lowercase(), description)
    }
}

/// Groups problem types by their status.
fn by_status(problems: &[ProblemType]) -> BTreeMap<u16, Vec<ProblemType>> {
    let mut groups: BTreeMap<u16, Vec<ProblemType>> = BTreeMap::new();
    for kind in ProblemType::ALL {
        if problems.contains(kind) {
            groups.entry(kind.status()).or_default().push(*kind);
        }
    }
    groups
}

/// Returns the answer for all problems of one status.
pub(super) fn problem_answer(status: u16, kinds: &[ProblemType]) -> Value {
    let schemas: Vec<_> = kinds
        .iter()
        .map(|kind| reference(&schema_name(*kind)))
        .collect();
    let names: Vec<_> = kinds
        .iter()
        .map(|kind| format!("`{}`", kind.as_str()))
        .collect();
    let schema = match schemas.as_slice() {
        [one] => one.clone(),
        _ => json!({ "oneOf": schemas }),
    };
    let mut answer = json!({
        "description": format!("A problem: {}.", names.join(", ")),
        "content": { problem::CONTENT_TYPE: { "schema": schema } },
    });
    if let Some((name, header)) = header_of(status) {
        answer["headers"] = json!({ name: header });
    }
    answer
}

/// Returns the header that belongs to problems of a status.
fn header_of(status: u16) -> Option<(&'static str, Value)> {
    let text = |text: &str| json!({ "schema": { "type": "string" }, "description": text });
    match StatusCode::from_u16(status).ok()? {
        StatusCode::UNAUTHORIZED => Some(("WWW-Authenticate", text("`Bearer`."))),
        StatusCode::UPGRADE_REQUIRED => Some(("Upgrade", text("`HTTP/1.1`."))),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let text = "Seconds until the next attempt, where a retry helps.";
            Some((
                "Retry-After",
                json!({ "schema": count(""), "description": text }),
            ))
        }
        _ => None,
    }
}
