//! A small client of the control protocol, as an Agent SDK is one: it reads the output of an
//! execution line by line, answers the requests of the CLI, and sends lines to the input.

use std::time::{Duration, Instant};

use cc_tests::harness::until;
use cc_tests::http::Http;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::PATIENCE;

/// The pause before input is sent again to an execution that does not run yet.
const RETRY: Duration = Duration::from_millis(20);

/// The pause between two answers of which the CLI must see the first alone.
const PAUSE: Duration = Duration::from_millis(500);

/// The lines that the client sends after a control request of the CLI, whose line it gets. A null
/// among them stands for a pause.
pub(super) type Reply = Box<dyn Fn(&Value) -> Vec<Value> + Send + Sync>;

/// A refusal of claude-api.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status code of HTTP.
    pub(super) code: u16,
    /// The problem type, such as `not-allowed`.
    pub(super) kind: String,
    /// The text of the problem.
    pub(super) detail: String,
}

/// A client of one execution with `"permissionPrompts": "client"`.
pub(super) struct Session {
    http: Http,
    /// The id of the execution.
    pub(super) id: String,
    /// The number of input bytes that claude-api has accepted.
    offset: usize,
    /// The stream of output lines. The service begins its answer with the first of them, so the
    /// stream is opened after the first input.
    output: Option<Response>,
    /// The bytes of an output line that has not arrived completely.
    buffer: Vec<u8>,
    reply: Reply,
    /// The output lines so far.
    pub(super) events: Vec<Value>,
    /// The refusals of lines that `reply` returned.
    pub(super) refusals: Vec<Refusal>,
    control_requests: usize,
}

impl Session {
    /// Creates an execution with this body, whose requests `reply` answers.
    pub(super) async fn start(http: &Http, body: &Value, reply: Reply) -> Result<Self, Refusal> {
        let id = uuid::Uuid::new_v4().to_string();
        let mut whole =
            json!({"permissionPrompts": "client", "input": "stream", "format": "events"});
        extend(&mut whole, body);
        let put = http.request(Method::PUT, &format!("/v1/executions/{id}"));
        let (code, answer) = answer(put.json(&whole)).await;
        if !code.is_success() {
            return Err(refusal(code, &answer));
        }
        Ok(Self {
            http: http.clone(),
            id,
            offset: 0,
            output: None,
            buffer: Vec::new(),
            reply,
            events: Vec::new(),
            refusals: Vec::new(),
            control_requests: 0,
        })
    }

    /// Sends lines in one call.
    pub(super) async fn send(&mut self, lines: &[Value]) -> Result<(), Refusal> {
        let data: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.post(data, false).await
    }

    async fn post(&mut self, data: String, eof: bool) -> Result<(), Refusal> {
        let path = format!(
            "/v1/executions/{}/input?offset={}&eof={eof}",
            self.id, self.offset
        );
        let begin = Instant::now();
        loop {
            let request = self.http.request(Method::POST, &path).body(data.clone());
            let (code, answer) = answer(request).await;
            if code.is_success() {
                self.offset = usize::try_from(answer["accepted"].as_u64().expect("a count"))
                    .expect("it fits");
                return Ok(());
            }
            // A call waits for 2 s at most until the execution runs.
            let status = self.status().await;
            let is_early = status["startedAt"].is_null() && status["endedAt"].is_null();
            let is_refused = code != StatusCode::CONFLICT || !is_early;
            if is_refused || begin.elapsed() > PATIENCE {
                return Err(refusal(code, &answer));
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Returns the status of the execution.
    pub(super) async fn status(&self) -> Value {
        let path = format!("/v1/executions/{}", self.id);
        answer(self.http.request(Method::GET, &path)).await.1
    }

    /// Returns the next line of the output. `None` at its end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line: Value = serde_json::from_slice(&line).expect("a line is JSON");
                self.events.push(line.clone());
                return Some(line);
            }
            let output = match &mut self.output {
                Some(output) => output,
                none => {
                    let opened = self.http.open_output(&self.id, 0).await;
                    none.insert(opened.expect("an output"))
                }
            };
            let chunk = tokio::time::timeout(PATIENCE, output.chunk()).await;
            let chunk =
                chunk.unwrap_or_else(|_| panic!("{}: no output: {:#?}", self.id, self.events));
            self.buffer.extend(chunk.expect("an output")?);
        }
    }

    /// Reads and answers lines until one of them fits, and returns it. `None` at the end of the
    /// output.
    pub(super) async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        loop {
            let line = self.next().await?;
            if line["type"] == "control_request" {
                let lines = (self.reply)(&line);
                for (number, call) in lines.split(Value::is_null).enumerate() {
                    if number > 0 {
                        tokio::time::sleep(PAUSE).await;
                    }
                    if !call.is_empty() {
                        let sent = self.send(call).await;
                        self.refusals.extend(sent.err());
                    }
                }
            }
            if fits(&line) {
                return Some(line);
            }
        }
    }

    /// Sends a control request and returns the CLI's `response` to it.
    pub(super) async fn request(&mut self, request: Value) -> Result<Value, Refusal> {
        self.control_requests += 1;
        let id = format!("client-{}", self.control_requests);
        self.send(&[json!({"type": "control_request", "request_id": id, "request": request})])
            .await?;
        let is_answer = |line: &Value| {
            line["type"] == "control_response" && line["response"]["request_id"] == id.as_str()
        };
        let answer = self.until(is_answer).await;
        Ok(answer.map_or(Value::Null, |mut line| line["response"].take()))
    }

    /// Sends a message and waits until the CLI is idle. Returns the last `result` of its turn;
    /// `None` if the output has ended without one.
    pub(super) async fn turn(
        &mut self,
        content: impl Into<Value>,
    ) -> Result<Option<Value>, Refusal> {
        let first = self.events.len();
        self.send(&[user(content)]).await?;
        Ok(self.idle(first).await)
    }

    /// Waits until the CLI is idle. Returns the last `result` since the line `first`.
    pub(super) async fn idle(&mut self, first: usize) -> Option<Value> {
        self.until(|line| line["subtype"] == "session_state_changed" && line["state"] == "idle")
            .await;
        let results = self.events[first..].iter().rev();
        results
            .into_iter()
            .find(|line| line["type"] == "result")
            .cloned()
    }

    /// Ends the input and waits for the end of the execution. Returns its terminal status.
    pub(super) async fn finish(&mut self) -> Value {
        // The execution may have ended by itself.
        let _ = self.post(String::new(), true).await;
        self.ended().await
    }

    /// Waits for the end of the execution. Returns its terminal status.
    pub(super) async fn ended(&mut self) -> Value {
        while self.until(|_| false).await.is_some() {}
        until("the terminal status", PATIENCE, async || {
            Some(self.status().await).filter(|status| status["endedAt"].is_string())
        })
        .await
    }

    /// Returns the whole output so far as text.
    pub(super) fn text(&self) -> String {
        self.events
            .iter()
            .map(|event| format!("{event}\n"))
            .collect()
    }
}

/// Returns a message of the user.
pub(super) fn user(content: impl Into<Value>) -> Value {
    json!({"type": "user", "message": {"role": "user", "content": content.into()}})
}

/// Adds members to an object.
pub(super) fn extend(object: &mut Value, members: &Value) {
    let (Some(object), Some(members)) = (object.as_object_mut(), members.as_object()) else {
        return;
    };
    object.extend(members.clone());
}

/// Sends a request. Returns the status code and the JSON of the answer.
async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let request = request.header("accept", "application/json");
    let response = request.send().await.expect("an answer");
    (response.status(), response.json().await.expect("JSON"))
}

fn refusal(code: StatusCode, problem: &Value) -> Refusal {
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    Refusal {
        code: code.as_u16(),
        kind: text("type"),
        detail: text("detail"),
    }
}
