//! The requests over HTTP, directly to claude-api.

use rand::{Rng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};

use super::{PROMPT, anonymous, input_line};
use crate::soak::{
    exchange::{Answer, Call},
    execution::Execution,
};

/// A request over HTTP, with the type of the problem that must answer it.
#[derive(Debug, Clone)]
pub(in crate::soak) struct HttpAttack {
    /// The method and the path without the id.
    pub(in crate::soak) name: String,
    pub(in crate::soak) call: Call,
    due: (u16, &'static str),
    /// As for [`super::Attack::takes_the_id`].
    pub(in crate::soak) takes_the_id: bool,
}

impl HttpAttack {
    /// Returns a random request about an execution; `id` is its id, or one that never existed.
    pub(in crate::soak) fn random(id: &str, victim: &Execution, rng: &mut StdRng) -> Self {
        let path = format!("/v1/executions/{id}");
        let question = victim.any_question().unwrap_or_else(|| {
            let id = uuid::Builder::from_random_bytes(rng.random());
            id.into_uuid().to_string()
        });
        let hidden = (404, "not-found");
        let calls = [
            (Method::GET, "", "", hidden),
            (Method::GET, "?follow=true", "", hidden),
            (Method::GET, "/output", "", hidden),
            (Method::GET, "/output?offset=5", "", hidden),
            (Method::GET, "/events?follow=false", "", hidden),
            (Method::POST, "/input?offset=0&eof=true", "input", hidden),
            (Method::POST, "/pause", "", hidden),
            (Method::POST, "/resume", "", hidden),
            (Method::POST, "/cancel", "", hidden),
            (Method::POST, "/cancel?ifUnviewedForMs=0", "", hidden),
            (Method::DELETE, "", "", hidden),
            (Method::POST, "/share", "share", hidden),
            (Method::GET, "/questions", "", hidden),
            (Method::GET, "/questions/ID", "", hidden),
            (Method::POST, "/questions/ID", "answer", hidden),
            (Method::GET, "before", "", hidden),
            (Method::POST, "/cancel?ifUnknown=burn", "", hidden),
            (Method::PUT, "", "same", (409, "id-in-use")),
            (Method::PUT, "", "other", (409, "id-in-use")),
        ];
        let (method, rest, body, due) = &calls[rng.random_range(0..calls.len())];
        let takes_the_id = *method == Method::PUT || rest.ends_with("burn");
        let call = Call {
            method: method.clone(),
            path: match *rest {
                "before" => format!("/v1/executions?before={id}"),
                "/questions/ID" => format!("{path}/questions/{question}"),
                rest => format!("{path}{rest}"),
            },
            body: match *body {
                "input" => input_line(),
                "answer" => json!({"decision": "allow"}).to_string(),
                "share" => json!({"role": "control"}).to_string(),
                "same" => http_body(victim).to_string(),
                "other" => json!({"prompt": PROMPT}).to_string(),
                none => none.to_owned(),
            },
            asked: vec![id.to_owned(), question],
        };
        Self {
            name: format!("{method} {rest}"),
            call,
            due: *due,
            takes_the_id,
        }
    }

    /// Returns the same call about another id.
    pub(in crate::soak) fn about(mut self, id: &str, other: &str) -> Self {
        self.call.path = self.call.path.replace(id, other);
        if let Some(asked) = self.call.asked.first_mut() {
            other.clone_into(asked);
        }
        self
    }

    /// Checks the answer, as [`super::Attack::judge`] does. `None` if the service is stopping.
    ///
    /// # Errors
    /// If the answer is not that about an unknown id.
    pub(in crate::soak) fn judge(&self, answer: &Answer) -> Result<Option<String>, String> {
        if answer.code == 503 {
            return Ok(None);
        }
        let text = answer.text();
        let problem = answer.json();
        let got = (answer.code, problem["type"].as_str().unwrap_or_default());
        if got != self.due {
            return Err(format!(
                "I7: {} of an id of another principal got {got:?}, not {:?}: {text}",
                self.name, self.due
            ));
        }
        let equal = format!("{}\n{text}", answer.headers);
        Ok(Some(anonymous(&equal, &self.call.asked)))
    }
}

/// Returns the body of an execution as its own client sends it over HTTP.
fn http_body(execution: &Execution) -> Value {
    let mut body = execution.params.clone();
    if let Some(body) = body.as_object_mut() {
        for name in ["executionId", "onDisconnect", "onSlow"] {
            body.remove(name);
        }
    }
    if body["prompt"].is_null() {
        body = json!({"prompt": PROMPT});
    }
    body
}
