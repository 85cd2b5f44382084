//! An attempt to pass the operator's ceiling.

use std::fs;

use cc_tests::http::Http;
use serde_json::{Value, json};

use super::driver::{Refusal, Reply, Session, extend};
use super::place::Place;
use super::reply;

/// A command that no operator of this module allows.
pub(super) const MAKE: &str = "@bash touch broken";
/// A shell command that makes a file outside the workspace.
pub(super) const MAKE_OUTSIDE: &str = "touch $OUT/broken";

/// One execution, and what its client sends.
pub(super) struct Attempt {
    pub(super) name: &'static str,
    body: Value,
    files: Vec<(&'static str, String)>,
    lines: Vec<Value>,
    prompts: Vec<String>,
    reply: Reply,
    /// The problem types of the refusals, in order.
    refused: Vec<&'static str>,
}

/// Returns an attempt with this prompt, whose client denies every permission.
pub(super) fn attempt(name: &'static str, prompt: impl Into<String>) -> Attempt {
    Attempt {
        name,
        body: json!({}),
        files: Vec::new(),
        lines: Vec::new(),
        prompts: vec![prompt.into()],
        reply: reply::deny(),
        refused: Vec::new(),
    }
}

impl Attempt {
    /// Sets fields of the body.
    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = body;
        self
    }

    /// Adds a file of the workspace.
    pub(super) fn file(mut self, path: &'static str, text: impl Into<String>) -> Self {
        self.files.push((path, text.into()));
        self
    }

    /// Sends a line before the prompt.
    pub(super) fn line(mut self, line: Value) -> Self {
        self.lines.push(line);
        self
    }

    /// Sends a control request before the prompt.
    pub(super) fn request(self, request: Value) -> Self {
        self.line(json!({"type": "control_request", "request_id": "r", "request": request}))
    }

    /// Sends an `initialize` with these members before the prompt.
    pub(super) fn initialize(self, mut members: Value) -> Self {
        members["subtype"] = json!("initialize");
        self.request(members)
    }

    /// Sends one more prompt after the first turn.
    pub(super) fn then(mut self, prompt: impl Into<String>) -> Self {
        self.prompts.push(prompt.into());
        self
    }

    /// Sets the answers to the CLI.
    pub(super) fn reply(mut self, reply: Reply) -> Self {
        self.reply = reply;
        self
    }

    /// Expects that the body, or a line before the prompt, is refused with this problem type.
    pub(super) fn refused(mut self, kind: &'static str) -> Self {
        self.refused.push(kind);
        self
    }

    /// Makes the attempt. Returns the traces that it left.
    ///
    /// # Errors
    /// Other refusals than expected, or a turn without a result.
    pub(super) async fn run(self, http: &Http, place: Place) -> Result<Vec<&'static str>, String> {
        let name = self.name;
        for (path, text) in &self.files {
            let path = place.workspace.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, place.fill_in(text)).expect("a file");
        }
        let mut body = json!({"includePartialMessages": false});
        extend(&mut body, &place.fill_in_json(&self.body));
        body["workspace"] = json!(place.name);
        let (reply, inner) = (self.reply, place.clone());
        let reply: Reply = Box::new(move |line| {
            let lines = reply(line);
            lines.iter().map(|line| inner.fill_in_json(line)).collect()
        });
        let mut refusals: Vec<Refusal> = Vec::new();
        let output = match Session::start(http, &body, reply).await {
            Err(refusal) => {
                refusals.push(refusal);
                String::new()
            }
            Ok(mut session) => {
                for line in &self.lines {
                    let line = place.fill_in_json(line);
                    refusals.extend(session.send(&[line]).await.err());
                }
                let mut results = 0;
                for prompt in &self.prompts {
                    let result = session.turn(place.fill_in(prompt)).await;
                    let result = result.map_err(|refusal| format!("{name}: {refusal:?}"))?;
                    results += usize::from(result.is_some());
                }
                session.finish().await;
                let text = session.text();
                if results != self.prompts.len() {
                    return Err(format!("{name}: a turn has no result: {text}"));
                }
                refusals.append(&mut session.refusals);
                text
            }
        };
        let kinds: Vec<_> = refusals
            .iter()
            .map(|refusal| refusal.kind.as_str())
            .collect();
        if kinds != self.refused {
            let expected = self.refused;
            return Err(format!(
                "{name}: {refusals:?}, expected {expected:?}\n{output}"
            ));
        }
        Ok(place.traces(&output))
    }
}
