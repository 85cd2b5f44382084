//! Compares the answers of claude-api with its OpenAPI document.

use std::sync::LazyLock;

use descriptions::openapi::document;
use serde_json::Value;

use super::Schemas;

static STRICT: LazyLock<Schemas> = LazyLock::new(|| Schemas::strict(document(), pointers()));
static PUBLISHED: LazyLock<Schemas> = LazyLock::new(|| Schemas::new(document(), pointers()));
/// The schema of a status, which is a line of some streams.
const STATUS: &str = "/components/schemas/Status";

/// Returns the JSON pointers of the schemas of all bodies, of requests and of answers.
fn pointers() -> Vec<String> {
    let mut pointers = vec![STATUS.to_owned()];
    let document = document();
    let paths = document["paths"].as_object().expect("paths");
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("operations") {
            let operation_pointer = format!("/paths/{}/{method}", escaped(path));
            let mut add = |place: String, holder: &Value| {
                let kinds = holder["content"].as_object().into_iter().flatten();
                pointers.extend(kinds.map(|(kind, _)| {
                    format!(
                        "{operation_pointer}/{place}/content/{}/schema",
                        escaped(kind)
                    )
                }));
            };
            add("requestBody".to_owned(), &operation["requestBody"]);
            for (code, answer) in operation["responses"].as_object().into_iter().flatten() {
                add(format!("responses/{code}"), answer);
            }
        }
    }
    pointers
}

/// The media types of answers that are one JSON value.
const JSON_KINDS: [&str; 2] = ["application/json", protocol::problem::CONTENT_TYPE];

/// An answer of claude-api.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The status code.
    pub code: u16,
    /// The media type, from the header `Content-Type`. Empty without a body.
    pub kind: &'a str,
    /// The body, if it was read and is JSON. It may be another text that looks like JSON.
    pub json: Option<&'a Value>,
}

/// Checks an answer to a request of this method, path and JSON body. The path may have a query.
/// Other paths than those below `/v1` are not checked: both services have them.
///
/// # Errors
/// The difference between the answer and the document, or between an accepted body and it.
pub fn check(
    method: &str,
    path: &str,
    body: Option<&Value>,
    answer: Answer<'_>,
) -> Result<(), String> {
    let Some(template) = template(path) else {
        return Ok(());
    };
    let method = match method {
        "HEAD" => "get".to_owned(),
        method => method.to_lowercase(),
    };
    let operation = format!("/paths/{}/{method}", escaped(&template));
    let Some(described) = STRICT.document.pointer(&operation) else {
        // The answer to a method that the path does not accept.
        return Ok(());
    };
    let place = format!("{operation}/responses/{}", answer.code);
    let about = |text: String| format!("{method} {path}: {} {text}", answer.code);
    let Some(response) = STRICT.document.pointer(&place) else {
        return Err(about("is not described".to_owned()));
    };
    if let Some(content) = response.get("content").filter(|_| !answer.kind.is_empty()) {
        if content.get(answer.kind).is_none() {
            return Err(about(format!("has the type {:?}", answer.kind)));
        }
        // Output and lines may look like JSON.
        if let Some(json) = answer.json.filter(|_| JSON_KINDS.contains(&answer.kind)) {
            let pointer = format!("{place}/content/{}/schema", escaped(answer.kind));
            let checked = STRICT.check(&pointer, json);
            checked.map_err(|difference| about(format!("{json}: {difference}")))?;
        }
    }
    match body {
        Some(body) if answer.code < 300 && described.get("requestBody").is_some() => {
            let kind = escaped("application/json");
            let pointer = format!("{operation}/requestBody/content/{kind}/schema");
            let is_json = PUBLISHED.document.pointer(&pointer).is_some();
            match is_json {
                true => PUBLISHED.check(&pointer, body),
                false => Ok(()),
            }
            .map_err(|difference| about(format!("was accepted, but {difference}")))
        }
        _ => Ok(()),
    }
}

/// Checks a status, such as a line of a stream of statuses.
///
/// # Errors
/// The difference between the status and the document.
pub fn check_status(status: &Value) -> Result<(), String> {
    STRICT.check(STATUS, status)
}

/// Returns the described path that a path is an instance of.
fn template(path: &str) -> Option<String> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if !path.starts_with("/v1/") {
        return None;
    }
    let is_instance = |template: &&String| {
        let mut parts = template.split('/');
        let mut given = path.split('/');
        loop {
            match (parts.next(), given.next()) {
                (None, None) => return true,
                (Some(part), Some(given)) if part == given || part.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    let paths = STRICT.document["paths"].as_object()?;
    // An exact path goes before one with a parameter.
    let exact = paths.get_key_value(path).map(|(path, _)| path);
    exact.or_else(|| paths.keys().find(is_instance)).cloned()
}

/// Escapes a name for a JSON pointer (RFC 6901, section 3).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PATH: &str = "/v1/executions/11111111-1111-4111-8111-111111111111";

    fn problem(kind: &str, status: u16) -> Value {
        json!({ "type": kind, "status": status, "detail": "d" })
    }

    fn answered(code: u16, json: &Value) -> Result<(), String> {
        let kind = "application/problem+json";
        let answer = Answer {
            code,
            kind,
            json: Some(json),
        };
        check("GET", PATH, None, answer)
    }

    #[test]
    fn answers_as_documented_pass_and_others_are_reported() {
        assert_eq!(answered(404, &problem("not-found", 404)), Ok(()));
        assert!(answered(404, &problem("queue-full", 404)).is_err());
        assert!(answered(404, &problem("not-found", 400)).is_err());
        assert!(answered(418, &problem("not-found", 418)).is_err());
        let mut more = problem("not-found", 404);
        more["length"] = 1.into();
        assert!(answered(404, &more).is_err());
    }

    #[test]
    fn an_accepted_body_must_be_as_documented() {
        let put = |body: Value| {
            let answer = Answer {
                code: 201,
                kind: "application/json",
                json: None,
            };
            check("PUT", PATH, Some(&body), answer)
        };
        assert_eq!(put(json!({ "prompt": "x" })), Ok(()));
        assert!(put(json!({ "prompt": "x", "colour": "red" })).is_err());
    }

    #[test]
    fn paths_are_found_by_their_template() {
        let of = |path: &str| template(path);
        assert_eq!(of(PATH).as_deref(), Some("/v1/executions/{id}"));
        assert_eq!(
            of("/v1/tickets/redeem?x=1").as_deref(),
            Some("/v1/tickets/redeem")
        );
        assert_eq!(of("/v1/nothing"), None);
        assert_eq!(of("/health"), None);
    }
}
