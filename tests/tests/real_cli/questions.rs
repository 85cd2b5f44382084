//! The real CLI asks, and a person answers: permissions, choices, plans, and attempts to allow more
//! than the operator does.

mod ceiling;
mod decisions;

use std::time::{Duration, Instant};

use cc_tests::http::Http;
use reqwest::Method;
use serde_json::{Value, json};

use super::{PATIENCE, pause::World};

/// Starts both services with an operator who allows these tools.
async fn world(tools: &str, environment: &[(&str, &str)]) -> World {
    let mut all = vec![("CLAUDE_API_ALLOWED_TOOLS", tools)];
    all.extend(environment);
    World::new(&all).await
}

/// Accepts an execution that asks, with more fields. Returns its id.
async fn start(http: &Http, prompt: &str, extra: &Value) -> String {
    let execution = uuid::Uuid::new_v4().to_string();
    let mut body = json!({"prompt": prompt, "permissionPrompts": "ask"});
    if let (Value::Object(body), Value::Object(extra)) = (&mut body, extra) {
        body.extend(extra.clone());
    }
    let (code, status) = http.put(&execution, &body).await.expect("an answer");
    assert!(code.is_success(), "{code}: {status}");
    execution
}

/// Waits until the execution asks or has ended. Returns the first open question; `None` after the
/// end.
async fn question(http: &Http, execution: &str) -> Option<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = http.status(execution).await.expect("a status");
        if status["questionsOpen"].as_u64() > Some(0) {
            return Some(status["questions"][0].clone());
        }
        if status["endedAt"].is_string() {
            return None;
        }
        assert!(
            Instant::now() < end,
            "{execution} neither asks nor ends: {status}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Answers a question. Returns the status code and the answer.
async fn answer(http: &Http, execution: &str, question: &Value, answer: &Value) -> (u16, Value) {
    let question = question["questionId"].as_str().expect("an id");
    let path = format!("/v1/executions/{execution}/questions/{question}");
    let request = http.request(Method::POST, &path).json(answer);
    let response = request.send().await.expect("an answer");
    let code = response.status().as_u16();
    (code, response.json().await.expect("JSON"))
}

/// Waits for the end. Returns the output and the terminal status.
async fn ended(http: &Http, execution: &str) -> (String, Value) {
    let seen = tokio::time::timeout(PATIENCE, http.follow_to_end(execution)).await;
    let seen = seen.unwrap_or_else(|_| panic!("{execution} does not end"));
    let status = seen.expect("a stream").pop().expect("a terminal status");
    let output = http.output(execution, 0).await.expect("an output");
    assert!(output.clean, "the output was aborted");
    (String::from_utf8(output.bytes).expect("UTF-8"), status)
}
