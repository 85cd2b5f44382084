//! Executions with `"permissionPrompts": "client"`: requests of the CLI that the client of the
//! input answers, and requests of that client to the CLI.

mod ends;
mod input;
mod waits;
mod ws;

use cc_tests::{
    harness::{Stack, StackOptions},
    http::Http,
};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{PATIENCE, id, path, send};

type Answer = (u16, reqwest::header::HeaderMap, Value);

/// Starts a stack whose operator allows Bash.
async fn stack(arguments: &[&str]) -> Stack {
    let mut options = StackOptions::default().api("--allowed-tools=Bash");
    for argument in arguments {
        options = options.api(*argument);
    }
    Stack::with(options).await
}

/// Returns the body of an execution without a prompt, with more fields.
fn body(more: Value) -> Value {
    let mut body = json!({"permissionPrompts": "client", "input": "stream", "format": "events"});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

/// Returns a line of input with a prompt.
fn message(prompt: &str) -> String {
    let line = json!({"type": "user", "message": {"role": "user", "content": prompt}});
    format!("{line}\n")
}

/// Returns a line of input with a request to the CLI.
fn request(request: Value) -> String {
    let line = json!({"type": "control_request", "request_id": "r", "request": request});
    format!("{line}\n")
}

/// Returns a line of input that answers a request of the CLI.
fn response(asked: &Value, response: Value) -> String {
    let response = json!({
        "subtype": "success", "request_id": asked["request_id"], "response": response,
    });
    format!(
        "{}\n",
        json!({"type": "control_response", "response": response})
    )
}

/// A client that feeds one execution over HTTP and reads its events.
struct Client {
    http: Http,
    id: String,
    offset: u64,
    events: Response,
    buffer: Vec<u8>,
    /// All events so far.
    seen: Vec<Value>,
}

impl Client {
    /// Starts an execution without a prompt, with more fields.
    async fn start(http: &Http, more: Value) -> Self {
        let id = id();
        let (code, status) = http.put(&id, &body(more)).await.expect("an answer");
        assert!(code.is_success(), "{code}: {status}");
        Self::follow(http, id).await
    }

    /// Reads the events of an execution that takes no input yet.
    async fn follow(http: &Http, id: String) -> Self {
        let events = http.open_output(&id, 0).await.expect("a stream");
        Self {
            http: http.clone(),
            id,
            offset: 0,
            events,
            buffer: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Sends lines at the offset that was accepted so far, and does not count them.
    async fn offer(&self, lines: &str) -> Answer {
        let path = path(&self.id, &format!("/input?offset={}", self.offset));
        send(&self.http, Method::POST, &path, lines.to_owned()).await
    }

    /// Sends lines that must be accepted.
    async fn send(&mut self, lines: &str) {
        let answer = self.offer(lines).await;
        self.offset += lines.len() as u64;
        assert_eq!(
            (answer.0, &answer.2["accepted"]),
            (200, &json!(self.offset))
        );
    }

    /// Ends the input.
    async fn end(&self) {
        let path = path(&self.id, &format!("/input?offset={}&eof=true", self.offset));
        let answer = send(&self.http, Method::POST, &path, "").await;
        assert_eq!(answer.0, 200, "{}", answer.2);
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line).expect("JSON");
                self.seen.push(event.clone());
                return Some(event);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.events.chunk()).await;
            match chunk.expect("no event in time").expect("a stream") {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => return None,
            }
        }
    }

    /// Waits for the next event of a type, of a subtype, or of a state of the session.
    async fn until(&mut self, kind: &str) -> Value {
        while let Some(event) = self.next().await {
            let names = [&event["type"], &event["subtype"], &event["state"]];
            if names.into_iter().any(|name| name == kind) {
                return event;
            }
        }
        panic!("the output ended without {kind}: {:?}", self.seen);
    }

    /// Reads the rest of the events. Returns the text of all answers.
    async fn text(&mut self) -> String {
        while self.next().await.is_some() {}
        let deltas = self.seen.iter();
        let deltas = deltas.filter_map(|event| event["event"]["delta"]["text"].as_str());
        deltas.collect()
    }
}

/// Returns the lines that the CLI of an execution with the model `recorded` has read.
fn read_by_cli(stack: &Stack, execution: &str) -> Vec<Value> {
    let file = stack.path(&format!("home/.claude/recorded/{execution}.stdin"));
    let text = std::fs::read_to_string(file).expect("a copy of stdin");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}
