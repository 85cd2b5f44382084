//! Questions: permission prompts of the CLI that a person answers.

mod answers;
mod ccb;
mod ends;
mod slots;
mod ws;

use cc_tests::{
    harness::{Stack, StackOptions},
    http::Http,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{accept, id, path, send, until};

type Answered = (u16, reqwest::header::HeaderMap, Value);

/// Starts a stack whose operator allows Bash.
async fn stack(arguments: &[&str]) -> Stack {
    let mut options = StackOptions::default().api("--allowed-tools=Bash");
    for argument in arguments {
        options = options.api(*argument);
    }
    Stack::with(options).await
}

/// Accepts an execution that asks for Bash, with more fields. Returns its id.
async fn ask(http: &Http, extra: Value) -> String {
    let prompt = "@say before \n@ask Bash {\"command\":\"rm x\"}\n@say after";
    start(http, prompt, extra).await
}

/// Accepts an execution with `"permissionPrompts": "ask"`. Returns its id.
async fn start(http: &Http, prompt: &str, extra: Value) -> String {
    let execution = id();
    let mut body = json!({"permissionPrompts": "ask"});
    if let (Value::Object(body), Value::Object(extra)) = (&mut body, extra) {
        body.extend(extra);
    }
    accept(http, &execution, prompt, body).await;
    execution
}

/// Waits for an open question. Returns its entry in the status.
async fn question(http: &Http, execution: &str) -> Value {
    let status = until(http, execution, "asking", |status| {
        status["questionsOpen"] == 1
    })
    .await;
    status["questions"][0].clone()
}

fn question_path(execution: &str, question: &Value) -> String {
    let question = question["questionId"].as_str().expect("an id");
    path(execution, &format!("/questions/{question}"))
}

async fn answer(http: &Http, execution: &str, question: &Value, answer: Value) -> Answered {
    let path = question_path(execution, question);
    send(http, Method::POST, &path, answer.to_string()).await
}

async fn list(http: &Http, execution: &str) -> Value {
    let (code, list) = http
        .get(&path(execution, "/questions"))
        .await
        .expect("an answer");
    assert_eq!(code, 200, "{list}");
    list
}

async fn output(http: &Http, execution: &str) -> String {
    let output = http.output(execution, 0).await.expect("an output");
    assert!(output.clean, "the output was aborted");
    String::from_utf8(output.bytes).expect("output is UTF-8")
}
