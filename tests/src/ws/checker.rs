//! The rules of docs/protocol.md for one WebSocket session, as a pure type. The [`Checker`] gets
//! the messages of both sides, and reports the rule that a message breaks.
//!
//! The checker reads raw JSON and has its own limits, codes and field lists. It uses no type of
//! `protocol::message`: the bridge encodes with these types, so both sides would miss a field that
//! such a type omits or misnames.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{status, viewer::Viewer};

/// The longest message of the bridge, in bytes.
const MESSAGE_BYTES: usize = 512 * 1024;
const CODES: [i64; 14] = [
    -32700, -32600, -32601, -32602, -32603, -32001, -32002, -32003, -32004, -32005, -32006, -32007,
    -32008, -32009,
];
/// The close codes that the bridge may send, the answers to a client's close (1000, and 1005 for
/// none), and 1006 for a connection that ends without a close.
const CLOSE_CODES: [u16; 10] = [1000, 1002, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013];
/// The errors that the bridge may send without a request's id.
const WITHOUT_ID: [i64; 3] = [-32700, -32600, -32001];

#[derive(Debug, Clone)]
struct Pending {
    method: String,
    execution: Option<String>,
    offset: Option<u64>,
}

/// The state of one session, as its messages define it.
#[derive(Default)]
pub struct Checker {
    connected: bool,
    pending: HashMap<String, Pending>,
    viewers: HashMap<String, Viewer>,
    detached: HashSet<String>,
    /// Executes without an id that had neither a status nor a rejection yet.
    unanswered: usize,
}

impl Checker {
    /// Creates the state of a new session.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a message of the client: a request, a notification or a batch. Ignores malformed
    /// messages.
    pub fn sent(&mut self, message: &Value) {
        if let Some(batch) = message.as_array() {
            batch.iter().for_each(|one| self.sent(one));
            return;
        }
        let Some(method) = message["method"].as_str() else {
            return;
        };
        let params = &message["params"];
        let execution = params["executionId"].as_str().map(str::to_lowercase);
        let Some(id) = message.get("id") else {
            self.unanswered += usize::from(method == "execute");
            return;
        };
        let offset = params["offset"].as_u64().filter(|_| method == "attach");
        self.pending.insert(
            id.to_string(),
            Pending {
                method: method.to_owned(),
                execution,
                offset,
            },
        );
    }

    /// Checks a received message of `bytes` bytes.
    ///
    /// # Errors
    /// The rule that the message breaks. The state is invalid afterwards.
    pub fn received(&mut self, message: &Value, bytes: usize) -> Result<(), String> {
        if let Some(batch) = message.as_array() {
            if batch.is_empty() {
                return Err("an empty batch".into());
            }
            for answer in batch {
                self.answer(answer)?;
            }
        } else if message.get("method").is_some() {
            self.notification(message)?;
        } else {
            self.answer(message)?;
        }
        if bytes > MESSAGE_BYTES {
            return Err(format!("a message of {bytes} bytes"));
        }
        Ok(())
    }

    /// Checks the end of the connection by its close code: 1005 for none, 1006 without a close
    /// frame.
    ///
    /// # Errors
    /// The rule that the close code breaks.
    pub fn closed(&self, code: u16) -> Result<(), String> {
        if CLOSE_CODES.contains(&code) {
            Ok(())
        } else {
            Err(format!("close code {code}"))
        }
    }

    /// Checks that nothing is missing: each request has its answer, each view its end, and each
    /// execute without an id a status or a rejection.
    ///
    /// # Errors
    /// The missing message.
    pub fn finished(&self) -> Result<(), String> {
        if let Some((id, pending)) = self.pending.iter().next() {
            return Err(format!("no answer to {} with id {id}", pending.method));
        }
        if let Some((id, _)) = self.viewers.iter().find(|(_, viewer)| !viewer.is_done()) {
            return Err(format!("no terminal statusUpdate of {id}"));
        }
        if self.unanswered > 0 {
            return Err("an execute without an id has neither a status nor a rejection".into());
        }
        Ok(())
    }

    fn envelope(&mut self, message: &Value) -> Result<(), String> {
        if message["jsonrpc"] != "2.0" {
            return Err("no jsonrpc 2.0".into());
        }
        let first = message["method"] == "connected";
        if first == self.connected {
            // A refused session gets one error instead of `connected`.
            let refused = message["error"]["code"] == -32001;
            return if refused {
                Ok(())
            } else {
                Err("connected must be the first message, and only that".into())
            };
        }
        self.connected = true;
        Ok(())
    }

    /// Checks one answer.
    fn answer(&mut self, message: &Value) -> Result<(), String> {
        self.envelope(message)?;
        let Some(id) = message.get("id") else {
            return Err("an answer without an id".into());
        };
        let (result, error) = (message.get("result"), message.get("error"));
        if result.is_some() == error.is_some() {
            return Err("an answer has either result or error".into());
        }
        if let Some(error) = error {
            check_error(error)?;
            if id.is_null() && WITHOUT_ID.iter().any(|code| error["code"] == *code) {
                return Ok(());
            }
        }
        let Some(pending) = self.pending.remove(&id.to_string()) else {
            return Err(format!("an answer to {id}, but no request has that id"));
        };
        let Some(result) = result else {
            return Ok(());
        };
        match pending.method.as_str() {
            "execute" | "attach" => {
                status::check(result)?;
                let execution = result["executionId"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                if pending.execution.is_some_and(|asked| asked != execution) {
                    return Err(format!(
                        "an answer about {execution}, but the request named another execution"
                    ));
                }
                self.detached.remove(&execution);
                self.viewers
                    .insert(execution, Viewer::answered(result, pending.offset));
            }
            "control" | "status" => status::check(result)?,
            "detach" => {
                if let Some(execution) = pending.execution {
                    self.viewers.remove(&execution);
                    self.detached.insert(execution);
                }
            }
            "list" => {
                let Some(executions) = result["executions"].as_array() else {
                    return Err("a list without executions".into());
                };
                executions.iter().try_for_each(status::check)?;
                if result.get("next").is_none() {
                    return Err("a list without next".into());
                }
            }
            "events" => {
                let numbers = [&result["offset"], &result["nextOffset"]].map(Value::as_u64);
                let [Some(offset), Some(next)] = numbers else {
                    return Err("events without offsets".into());
                };
                let has_text = result["text"].as_str().is_some_and(|text| !text.is_empty());
                if has_text != (next > offset) || !result["ended"].is_boolean() {
                    return Err(format!("events from {offset} to {next}: {result}"));
                }
            }
            "answer" => {
                let decision = result["decision"].as_str();
                let is_known = matches!(decision, Some("allow" | "deny"));
                if !is_known || !result["questionId"].is_string() {
                    return Err(format!("answer answered {result}"));
                }
            }
            "ping" if *result != serde_json::json!({}) => {
                return Err(format!("ping answered {result}"));
            }
            _ => {}
        }
        Ok(())
    }

    fn notification(&mut self, message: &Value) -> Result<(), String> {
        self.envelope(message)?;
        if message.get("id").is_some() {
            return Err("a notification with an id".into());
        }
        let params = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "connected" => check_connected(params),
            "output" => self.viewer(params, "output")?.output(params),
            "gap" => self.viewer(params, "gap")?.gap(params),
            "question" => self.viewer(params, "question")?.question(params),
            "questionClosed" => {
                let viewer = self.viewer(params, "questionClosed")?;
                viewer.question_closed(params)
            }
            "statusUpdate" if params.get("executionId").is_none_or(Value::is_null) => {
                self.rejected(params)
            }
            "statusUpdate" => self.status_update(params),
            "notice" => self.notice(params),
            other => Err(format!("unknown notification {other}")),
        }
    }

    fn viewer(&mut self, params: &Value, what: &str) -> Result<&mut Viewer, String> {
        let Some(id) = params["executionId"].as_str() else {
            return Err(format!("{what} without executionId"));
        };
        let detached = self.detached.contains(id);
        self.viewers.get_mut(id).ok_or_else(|| {
            let why = if detached {
                "which was detached"
            } else {
                "which this session does not view (no answer yet?)"
            };
            format!("{what} of {id}, {why}")
        })
    }

    fn status_update(&mut self, params: &Value) -> Result<(), String> {
        let id = params["executionId"].as_str().unwrap_or_default();
        if !self.viewers.contains_key(id) && self.unanswered > 0 && !self.detached.contains(id) {
            self.unanswered -= 1;
            self.viewers.insert(id.to_owned(), Viewer::unanswered());
        }
        self.viewer(params, "statusUpdate")?.status_update(params)
    }

    /// Checks the rejection of an execute without an id.
    fn rejected(&mut self, params: &Value) -> Result<(), String> {
        if params["status"] != "FAILED" || params["reason"] != "rejected" {
            return Err("a statusUpdate without executionId that is no rejection".into());
        }
        check_error(&params["error"])?;
        self.unanswered = self
            .unanswered
            .checked_sub(1)
            .ok_or("a rejection without an execute")?;
        Ok(())
    }

    fn notice(&mut self, params: &Value) -> Result<(), String> {
        if !(params["code"].is_string() && params["message"].is_string()) {
            return Err("a notice needs code and message".into());
        }
        let Some(id) = params["executionId"].as_str() else {
            return Ok(());
        };
        let awaited = self
            .pending
            .values()
            .any(|pending| pending.method == "execute");
        match self.viewers.get(id) {
            Some(viewer) => viewer.notice(),
            // The bridge still retries its acceptance.
            None if awaited || self.unanswered > 0 => Ok(()),
            None => Err(format!(
                "a notice of {id}, which this session does not view"
            )),
        }
    }
}

fn check_connected(params: &Value) -> Result<(), String> {
    for name in ["sessionId", "protocol", "version", "capabilities", "limits"] {
        if params.get(name).is_none() {
            return Err(format!("connected without {name}"));
        }
    }
    if params["protocol"] != 1 || !params["sessionId"].is_string() {
        return Err("connected needs protocol 1 and a sessionId".into());
    }
    Ok(())
}

fn check_error(error: &Value) -> Result<(), String> {
    let known = CODES.iter().any(|code| error["code"] == *code);
    let silent = error["message"].as_str().is_none_or(str::is_empty);
    if !known || silent {
        return Err(format!(
            "an error needs a known code and a message: {error}"
        ));
    }
    if !error["data"]["reason"].is_string() {
        return Err(format!("an error needs data.reason: {error}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
