//! HTTP calls of the clients of a principal. Every answer and every header is searched for what
//! belongs to another principal.

use http::header::{CONNECTION, DATE};
use reqwest::Method;
use serde_json::Value;

use super::{isolation::Exempt, principal::Principal, world::World};
use crate::http::read_output;

/// The answer to a call, read to its end.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The status code.
    pub(super) code: u16,
    /// The headers that do not depend on the time or the connection, sorted, a line each.
    pub(super) headers: String,
    pub(super) body: Vec<u8>,
}

/// A call of a client.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: String,
    /// The ids in the call that do not exist for the client: its answer may repeat them.
    pub(super) asked: Vec<String>,
}

impl Call {
    /// Creates a call without a body, about something of the client's own.
    pub(super) fn own(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            body: String::new(),
            asked: Vec::new(),
        }
    }
}

impl Answer {
    /// Returns the body as JSON; null if it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns the body with U+FFFD for bytes that are no UTF-8.
    pub(super) fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

impl World {
    /// Makes a call with the token of a principal, directly to claude-api. Returns `None` if there
    /// is no whole answer, because claude-api is down. Cancel safe.
    pub(super) async fn exchange(&self, principal: &Principal, call: &Call) -> Option<Answer> {
        let request = principal
            .http
            .request(call.method.clone(), &call.path)
            .header("accept", "application/json")
            .body(call.body.clone());
        let response = request.send().await.ok()?;
        let code = response.status().as_u16();
        let mut headers: Vec<_> = response
            .headers()
            .iter()
            // A stop of the service adds `connection: close` to an answer in progress.
            .filter(|(name, _)| *name != DATE && *name != CONNECTION)
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        headers.sort_unstable();
        let output = read_output(response).await;
        if !output.clean {
            return None;
        }
        let answer = Answer {
            code,
            headers: headers.join("\n"),
            body: output.bytes,
        };
        let exempt = Exempt {
            asked: &call.asked,
            output: call.path.contains("/output") || call.path.contains("/events"),
        };
        let headers = std::borrow::Cow::from(&answer.headers);
        for (part, text) in [("header", headers), ("body", answer.text())] {
            if let Err(rule) = self.check_isolation(principal, &text, exempt) {
                let text = format!("{rule}\nin a {part} of {} {}", call.method, call.path);
                self.violate("claude-api", &text);
            }
        }
        Some(answer)
    }
}
