//! Helpers of several modules.

use std::time::Duration;

use cc_tests::{
    harness::{Stack, eventually},
    http::Http,
};
use reqwest::Method;
use serde_json::{Value, json};

/// Time limit of every wait, far longer than any step takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Returns a new execution id.
pub(crate) fn id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Returns `/v1/executions/{id}{rest}`.
pub(crate) fn path(id: &str, rest: &str) -> String {
    format!("/v1/executions/{id}{rest}")
}

/// Sends this body unchanged; returns the status code, the headers and the JSON of the answer.
pub(crate) async fn send(
    http: &Http,
    method: Method,
    path: &str,
    body: impl Into<reqwest::Body>,
) -> (u16, reqwest::header::HeaderMap, Value) {
    let response = http
        .request(method, path)
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .expect("an answer");
    let (code, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.bytes().await.expect("a body");
    (
        code,
        headers,
        serde_json::from_slice(&text).unwrap_or(Value::Null),
    )
}

/// Asserts that an answer is a problem of this type, with a detail.
#[track_caller]
pub(crate) fn assert_problem(
    answer: &(u16, reqwest::header::HeaderMap, Value),
    code: u16,
    kind: &str,
    what: &str,
) {
    let (got, headers, problem) = answer;
    assert_eq!(
        (*got, problem["type"].as_str()),
        (code, Some(kind)),
        "{what}: {problem}"
    );
    assert_eq!(
        headers
            .get("content-type")
            .and_then(|value| value.to_str().ok()),
        Some("application/problem+json"),
        "{what}"
    );
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|text| text.len() > 8),
        "{what}: {problem}"
    );
}

/// Sends a PUT with a prompt and more fields; returns the status of the accepted execution.
pub(crate) async fn accept(http: &Http, id: &str, prompt: &str, extra: Value) -> Value {
    let mut body = json!({"prompt": prompt});
    if let (Value::Object(body), Value::Object(extra)) = (&mut body, extra) {
        body.extend(extra);
    }
    let (code, status) = http.put(id, &body).await.expect("an answer");
    assert!(code.is_success(), "{code}: {status}");
    status
}

/// Follows an execution to its end; returns the terminal status.
pub(crate) async fn ended(http: &Http, id: &str) -> Value {
    let seen = tokio::time::timeout(PATIENCE, http.follow_to_end(id)).await;
    let seen = seen.unwrap_or_else(|_| panic!("{id} does not end"));
    seen.expect("a stream of statuses")
        .pop()
        .expect("a terminal status")
}

/// Polls the status of an execution until `wanted` accepts it; returns that status. A timeout says
/// that the execution "is never {what}".
pub(crate) async fn until(
    http: &Http,
    id: &str,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let status = http.status(id).await.expect("a status");
        if wanted(&status) {
            return status;
        }
        assert!(
            std::time::Instant::now() < end,
            "{id} is never {what}: {status}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until a file exists.
pub(crate) async fn exists(file: &std::path::Path) {
    eventually(&file.display().to_string(), PATIENCE, || {
        file.exists().then_some(())
    })
    .await;
}

/// Runs a prompt to its end without the bridge; returns its output and its terminal status.
pub(crate) async fn run(stack: &Stack, prompt: &str, extra: Value) -> (String, Value) {
    let (http, id) = (stack.http(), id());
    accept(&http, &id, prompt, extra).await;
    let output = http.output(&id, 0).await.expect("an output");
    assert!(output.clean, "the output was aborted");
    let status = http.status(&id).await.expect("a status");
    (
        String::from_utf8(output.bytes).expect("output is UTF-8"),
        status,
    )
}

/// Parses the JSON that `@env` or `@argv` wrote.
pub(crate) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Returns a time of a status without its `Z`, so that texts compare as times do: fractions have as
/// many digits as they need.
#[track_caller]
pub(crate) fn time(status: &Value, name: &str) -> String {
    let text = status[name].as_str();
    let text = text.unwrap_or_else(|| panic!("no {name}: {status}"));
    text.trim_end_matches('Z').to_owned()
}
