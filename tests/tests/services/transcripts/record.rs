//! One transcript: the messages of a session or the calls over HTTP, written down by the rules.

use cc_tests::{
    http::{Http, read_output},
    ws::Recorded,
};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::layout;
use super::names::Names;
use super::rules::{CUT, cut, joins, repeats, set_state_before, shorten};
use super::scene::Scene;

const SENT: &str = "-> ";
const RECEIVED: &str = "<- ";
/// The mark of a line that belongs to the line above.
const MORE: &str = "   ";
/// The length of the part of a text that is kept before the page's cut.
const BEGIN_CHARACTERS: usize = 300;
/// Headers of an answer that are left out: two do not depend on the call, two are for browsers.
const LEFT_OUT_HEADERS: [&str; 4] = [
    "access-control-expose-headers",
    "content-length",
    "date",
    "vary",
];

/// The text of one block of the page.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    /// The replacements of ids and other values of this run.
    pub(super) names: Names,
    /// Whether statuses are shown with all fields.
    pub(super) whole: bool,
    /// Whether the content of an output depends on the run; it is shown as `…` then.
    pub(super) hides_content: bool,
    /// Whether calls go to the bridge, and not to claude-api.
    pub(super) is_for_the_bridge: bool,
    /// The last word of the path of the last call.
    last_word: String,
    parts: Vec<String>,
}

impl Transcript {
    /// Returns the text of the block, without its fences.
    pub(super) fn text(&self) -> String {
        self.parts.iter().map(|part| format!("{part}\n")).collect()
    }

    /// Adds a line that is not a message, for example the description of a binary frame.
    pub(super) fn line(&mut self, line: &str) {
        self.parts.push(line.to_owned());
    }

    fn message(&mut self, mark: &str, mut value: Value) {
        if self.hides_content && value["method"] == "output" {
            value["params"]["content"] = CUT.into();
        }
        shorten(&mut value, self.whole);
        self.names.replace(&mut value);
        self.parts.push(layout::message(mark, &value));
    }

    /// Adds messages of a session.
    pub(super) fn session(&mut self, recorded: &[Recorded]) {
        let mut messages: Vec<(&str, Value)> = Vec::new();
        for message in recorded {
            match message {
                Recorded::Sent(text) => {
                    let value = serde_json::from_str(text);
                    // A text that is no JSON is shown as it is.
                    messages.push((SENT, value.unwrap_or_else(|_| json!({"": text}))));
                }
                Recorded::Received(text) => {
                    let value = serde_json::from_str(text).expect("the bridge sends JSON");
                    receive(&mut messages, value);
                }
                Recorded::Closed(code) => {
                    messages.push((RECEIVED, json!({"": format!("(close {code})")})))
                }
            }
        }
        for (mark, value) in messages {
            match value[""].as_str() {
                Some(text) => self.parts.push(format!("{mark}{text}")),
                None => self.message(mark, value),
            }
        }
    }

    /// Sends a request over HTTP and adds its head and its body.
    pub(super) async fn send(
        &mut self,
        scene: &Scene,
        (method, path): (Method, &str),
        headers: &[(&'static str, &str)],
        body: Option<Value>,
    ) -> Response {
        let service = match self.is_for_the_bridge {
            true => &scene.stack.bridge,
            false => &scene.stack.api,
        };
        let mut request = Http::new(service.addr()).request(method.clone(), path);
        let shown = self.names.replace_text(path);
        path.rsplit('/')
            .next()
            .unwrap_or_default()
            .clone_into(&mut self.last_word);
        let mut part = format!("{SENT}{method} {shown}");
        for (name, value) in headers {
            request = request.header(*name, *value);
            part.push_str(&format!("\n{MORE}{name}: {value}"));
        }
        self.parts.push(part);
        if let Some(body) = body {
            // Lines for the CLI's stdin are a string.
            let text = body
                .as_str()
                .map_or_else(|| body.to_string(), str::to_owned);
            request = request
                .header("content-type", "application/json")
                .body(text);
            match body {
                Value::String(lines) => self.parts.push(format!("{MORE}{}", lines.trim_end())),
                body => self.message(MORE, body),
            }
        }
        request.send().await.expect("an answer")
    }

    /// Adds an answer over HTTP, and reads it to its end. Returns its body.
    pub(super) async fn receive(&mut self, response: Response) -> String {
        let status = response.status();
        let mut part = format!("{RECEIVED}{status}");
        let headers = response.headers().clone();
        let mut names: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        names.retain(|name| !LEFT_OUT_HEADERS.contains(name));
        for name in names {
            let value = headers[name].to_str().expect("a header of ASCII");
            let value = self.header(name, value);
            part.push_str(&format!("\n{MORE}{name}: {value}"));
        }
        self.parts.push(part);
        let output = read_output(response).await;
        assert!(output.clean, "the answer was aborted");
        let text = String::from_utf8(output.bytes).expect("the answer is UTF-8");
        self.body(&text);
        let mut trailers: Vec<_> = output.trailers.iter().collect();
        trailers.sort_unstable();
        for (name, value) in trailers {
            self.parts.push(format!("{MORE}{name}: {value} (trailer)"));
        }
        text
    }

    fn header(&mut self, name: &str, value: &str) -> String {
        let number = value.parse::<u64>().map(Value::from);
        match number {
            Ok(mut number) if name.starts_with("events-") => {
                self.names.replace(&mut number);
                number.to_string()
            }
            _ => self.names.replace_text(value),
        }
    }

    fn body(&mut self, text: &str) {
        let lines: Vec<Value> = text
            .lines()
            .map_while(|line| serde_json::from_str(line).ok())
            .filter(Value::is_object)
            .collect();
        let is_events = lines
            .first()
            .is_some_and(|line| line.get("session_id").is_some());
        if lines.is_empty() || is_events {
            if !text.is_empty() {
                // A replacement may be longer or shorter than the real value.
                let begin: String = text.chars().take(BEGIN_CHARACTERS).collect();
                let begin = self.names.replace_text(&begin);
                self.parts.push(format!("{MORE}{}", cut(&begin)));
            }
            return;
        }
        let mut states: Vec<Value> = Vec::new();
        for mut line in lines {
            set_state_before(&self.last_word, &mut line);
            let state = line["state"].clone();
            // A followed status is sent again when something else changes, too.
            let is_new = states.last() != Some(&state) || state.is_null();
            states.push(state);
            if is_new {
                self.message(MORE, line);
            }
        }
    }
}

/// Adds a message of the bridge. An answer is placed below its request, an output is joined to the
/// output before, and a repeated state is left out.
fn receive(messages: &mut Vec<(&'static str, Value)>, mut value: Value) {
    if let Value::Array(answers) = &mut value {
        answers.sort_by_key(|answer| answer["id"].to_string());
    }
    let is_answer = value.get("method").is_none() && !value["id"].is_null();
    if is_answer {
        let is_request = |(mark, sent): &(&str, Value)| *mark == SENT && sent["id"] == value["id"];
        let at = messages.iter().position(is_request).expect("a request");
        let params = messages[at].1["params"].clone();
        if let (Some(control), Some(_)) = (params["type"].as_str(), value.get("result")) {
            set_state_before(control, &mut value["result"]);
        }
        messages.insert(at + 1, (RECEIVED, value));
        return;
    }
    let received: Vec<Value> = messages.iter().map(|(_, value)| value.clone()).collect();
    if repeats(&received, &value) || joins(messages.last_mut().map(|(_, last)| last), &value) {
        return;
    }
    messages.push((RECEIVED, value));
}
