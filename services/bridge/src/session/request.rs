//! From the text of one frame to requests: JSON-RPC 2.0 and the parameters of section 3. Pure.

use protocol::rpc::{OnDisconnect, OnSlow, RpcError, code, method};
use protocol::{Body, BodyError, ExecutionId, Limits, ProblemType};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::upstream::call::Verb;

/// The longest id of a request that is echoed, in bytes of JSON: an answer has its own limit.
const ID_BYTES: usize = 1024;

/// One frame.
#[derive(Debug)]
pub enum Frame {
    /// One request or notification.
    Single(Entry),
    /// Several, at least one.
    Batch(Vec<Entry>),
    /// Nothing that could be told apart: one error with id null.
    Bad(RpcError),
}

/// One request, or what is wrong with it.
#[derive(Debug)]
pub struct Entry {
    /// None for a notification.
    pub id: Option<Value>,
    /// What is asked.
    pub what: Result<Ask, Refusal>,
}

/// A request that is refused at once.
#[derive(Debug)]
pub struct Refusal {
    /// The answer.
    pub error: RpcError,
    /// A refused execute is never silent, with or without an id.
    pub method: Option<String>,
}

/// What is asked.
#[derive(Debug)]
pub enum Ask {
    /// Run a prompt.
    Execute(Box<Execute>),
    /// Signals.
    Control(Verb, Option<ExecutionId>),
    /// Look at an execution.
    Attach(Attach),
    /// Look away.
    Detach(ExecutionId),
    /// The status object.
    Status(Option<ExecutionId>),
    /// A page of statuses.
    List(Option<u64>, Option<ExecutionId>),
    /// Lines for a CLI's stdin.
    Input(Input),
    /// A sign of life.
    Ping,
}

/// An execute, checked.
#[derive(Debug)]
pub struct Execute {
    /// The client's, or a fresh one.
    pub id: ExecutionId,
    /// For claude-api.
    pub body: Body,
    /// When the session is gone.
    pub on_disconnect: OnDisconnect,
    /// When the viewer is slow.
    pub on_slow: OnSlow,
}

/// An attach.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are the contract's, section 3")]
pub struct Attach {
    pub execution_id: ExecutionId,
    #[serde(default)]
    pub offset: Option<u64>,
    #[serde(default)]
    pub on_slow: Option<OnSlow>,
}

/// Lines for a CLI's stdin.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are the contract's, section 3")]
pub struct Input {
    #[serde(default)]
    pub execution_id: Option<ExecutionId>,
    /// In bytes of UTF-8.
    pub offset: u64,
    pub data: String,
    #[serde(default)]
    pub eof: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Control {
    #[serde(rename = "type")]
    verb: Verb,
    #[serde(default)]
    execution_id: Option<ExecutionId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Detach {
    execution_id: ExecutionId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StatusOf {
    #[serde(default)]
    execution_id: Option<ExecutionId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct List {
    #[serde(default)]
    limit: Option<u64>,
    #[serde(default)]
    before: Option<ExecutionId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// A binary frame's error.
#[must_use]
pub fn binary() -> RpcError {
    RpcError::new(
        code::INVALID_REQUEST,
        "binary_frame",
        "binary frames are not taken; send JSON in text frames",
    )
}

/// Reads one text frame. `limits` are claude-api's, as far as known.
#[must_use]
pub fn parse(text: &str, batch: u64, limits: Option<&Limits>) -> Frame {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        // A lone surrogate, too: its text is no Unicode.
        Err(error) => {
            return Frame::Bad(RpcError::new(
                code::PARSE_ERROR,
                "parse_error",
                format!("not JSON: {error}"),
            ));
        }
    };
    match value {
        Value::Array(items) if items.is_empty() => Frame::Bad(RpcError::new(
            code::INVALID_REQUEST,
            "empty_batch",
            "a batch has at least one request",
        )),
        Value::Array(items) if items.len() as u64 > batch => Frame::Bad(
            RpcError::new(
                code::INVALID_REQUEST,
                "batch_too_long",
                format!("a batch has at most {batch} requests"),
            )
            .with("limit", batch),
        ),
        Value::Array(items) => {
            Frame::Batch(items.into_iter().map(|item| entry(item, limits)).collect())
        }
        other => Frame::Single(entry(other, limits)),
    }
}

fn invalid(message: &str) -> Refusal {
    Refusal {
        error: RpcError::new(code::INVALID_REQUEST, "invalid_request", message),
        method: None,
    }
}

fn entry(value: Value, limits: Option<&Limits>) -> Entry {
    let bad = |id, message| Entry {
        id: Some(id),
        what: Err(invalid(message)),
    };
    let Value::Object(mut request) = value else {
        return bad(Value::Null, "a request is an object");
    };
    let id = request.remove("id");
    let good_id = match &id {
        None | Some(Value::Null) => true,
        Some(id @ (Value::String(_) | Value::Number(_))) => id.to_string().len() <= ID_BYTES,
        Some(_) => false,
    };
    if !good_id {
        return bad(
            Value::Null,
            "id must be a string, a number or null, of at most 1024 bytes",
        );
    }
    let echo = id.clone().unwrap_or(Value::Null);
    if request.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return bad(echo, r#"jsonrpc must be "2.0""#);
    }
    let Some(Value::String(name)) = request.remove("method") else {
        return bad(echo, "method must be a string");
    };
    let params = match request.remove("params") {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(params)) => Ok(params),
        Some(Value::Array(_)) => Err(params_error("params are given by name, as an object")),
        Some(_) => return bad(echo, "params must be an object"),
    };
    let what = params
        .and_then(|params| ask(&name, params, limits))
        .map_err(|error| Refusal {
            error,
            method: Some(name),
        });
    Entry { id, what }
}

fn params_error(message: impl Into<String>) -> RpcError {
    RpcError::new(code::INVALID_PARAMS, "invalid_params", message)
}

fn ask(name: &str, params: Map<String, Value>, limits: Option<&Limits>) -> Result<Ask, RpcError> {
    match name {
        method::EXECUTE => execute(params, limits).map(|e| Ask::Execute(Box::new(e))),
        method::CONTROL => typed(params).map(|c: Control| Ask::Control(c.verb, c.execution_id)),
        method::ATTACH => typed(params).map(Ask::Attach),
        method::DETACH => typed(params).map(|d: Detach| Ask::Detach(d.execution_id)),
        method::STATUS => typed(params).map(|s: StatusOf| Ask::Status(s.execution_id)),
        method::LIST => {
            let List { limit, before } = typed(params)?;
            if limit.is_some_and(|n| n == 0 || n > 1000) {
                return Err(params_error("limit must be 1 to 1000"));
            }
            Ok(Ask::List(limit, before))
        }
        method::INPUT => typed(params).map(Ask::Input),
        method::PING => typed(params).map(|Nothing {}| Ask::Ping),
        other => {
            let short: String = other.chars().take(64).collect();
            Err(RpcError::new(
                code::METHOD_NOT_FOUND,
                "unknown_method",
                format!("there is no method {short:?}"),
            ))
        }
    }
}

fn typed<T: for<'de> Deserialize<'de>>(params: Map<String, Value>) -> Result<T, RpcError> {
    T::deserialize(Value::Object(params)).map_err(|e| params_error(shorten(&e.to_string())))
}

/// Messages quote what was sent; they stay short.
fn shorten(text: &str) -> String {
    text.chars().take(512).collect()
}

/// A field of the bridge's own; null is the default.
fn own<T: for<'de> Deserialize<'de> + Default>(
    params: &mut Map<String, Value>,
    name: &str,
) -> Result<T, RpcError> {
    match params.remove(name) {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => T::deserialize(value)
            .map_err(|e| params_error(format!("{name}: {}", shorten(&e.to_string())))),
    }
}

fn execute(mut params: Map<String, Value>, limits: Option<&Limits>) -> Result<Execute, RpcError> {
    let asked = params.remove("executionId").filter(|id| !id.is_null());
    let id = match &asked {
        None => ExecutionId::random(),
        Some(asked) => ExecutionId::deserialize(asked).map_err(|e| {
            let short: String = asked
                .as_str()
                .unwrap_or_default()
                .chars()
                .take(64)
                .collect();
            params_error(format!("executionId: {}", shorten(&e.to_string())))
                .with("executionId", short)
        })?,
    };
    checked(id, params, limits).map_err(|e| e.with("executionId", id.to_string()))
}

fn checked(
    id: ExecutionId,
    mut params: Map<String, Value>,
    limits: Option<&Limits>,
) -> Result<Execute, RpcError> {
    let on_disconnect: OnDisconnect = own(&mut params, "onDisconnect")?;
    let on_slow: OnSlow = own(&mut params, "onSlow")?;
    let command = params.remove("command").filter(|c| !c.is_null());
    let prompt = params.get("prompt").filter(|p| !p.is_null());
    match (command, prompt) {
        (Some(_), Some(_)) => return Err(params_error("give prompt or command, not both")),
        (None, None) => return Err(params_error("give prompt (or command, which is the same)")),
        (Some(command), None) => {
            params.insert("prompt".to_owned(), command);
        }
        (None, Some(_)) => {}
    }
    let body: Body = typed(params)?;
    // While claude-api's limits are unknown only what no limit allows is refused here.
    let open = Limits {
        prompt_bytes: u64::MAX,
        system_prompt_bytes: u64::MAX,
        ..Limits::default()
    };
    body.check(limits.unwrap_or(&open))
        .map_err(|e| body_error(&e))?;
    Ok(Execute {
        id,
        body,
        on_disconnect,
        on_slow,
    })
}

fn body_error(error: &BodyError) -> RpcError {
    let (code, reason) = match error.kind() {
        ProblemType::NotAllowed => (code::NOT_ALLOWED, "not_allowed"),
        ProblemType::TooLarge => (code::INVALID_PARAMS, "too_large"),
        _ => (code::INVALID_PARAMS, "invalid_body"),
    };
    let rpc = RpcError::new(code, reason, shorten(&error.to_string()));
    match error {
        BodyError::TooLarge { limit, .. } => rpc.with("limit", *limit),
        _ => rpc,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(text: &str) -> Entry {
        match parse(text, 50, None) {
            Frame::Single(entry) => entry,
            other => panic!("{other:?}"),
        }
    }

    fn refused(method: &str, params: &str) -> (i64, Value) {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let entry = single(&text);
        assert_eq!(entry.id, Some(Value::from(1)));
        match entry.what {
            Err(refusal) => (refusal.error.code, refusal.error.data),
            Ok(ask) => panic!("{ask:?}"),
        }
    }

    #[test]
    fn what_is_no_json() {
        for text in [
            "",
            "{",
            "nonsense",
            r#"{"a":"\ud83d"}"#,
            r#"["\udc00"]"#,
            "1 2",
        ] {
            match parse(text, 50, None) {
                Frame::Bad(error) => assert_eq!(error.code, -32700, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_request() {
        for text in [
            "1",
            "\"x\"",
            "null",
            "{}",
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":7}"#,
        ] {
            let entry = single(text);
            assert!(entry.id.is_some(), "{text}: it is answered");
            assert_eq!(entry.what.unwrap_err().error.code, -32600, "{text}");
        }
    }

    #[test]
    fn batches() {
        for (text, reason) in [("[]", "empty_batch"), ("[1,2,3]", "batch_too_long")] {
            match parse(text, 2, None) {
                Frame::Bad(error) => {
                    assert_eq!(error.code, -32600);
                    assert_eq!(error.data["reason"], reason);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(parse("[1,2]", 2, None), Frame::Batch(entries) if entries.len() == 2));
    }

    #[test]
    fn wrong_parameters() {
        for (method, params, code) in [
            ("execute", "{}", -32602),
            ("execute", r#"["x"]"#, -32602),
            ("execute", r#"{"prompt":"a","command":"b"}"#, -32602),
            ("execute", r#"{"prompt":7}"#, -32602),
            ("execute", r#"{"prompt":" \n"}"#, -32602),
            ("execute", r#"{"prompt":"a","color":"red"}"#, -32602),
            ("execute", r#"{"prompt":"a","executionId":"x"}"#, -32602),
            ("execute", r#"{"prompt":"a","onSlow":"run"}"#, -32602),
            (
                "execute",
                r#"{"prompt":"a","onDisconnect":"Cancel"}"#,
                -32602,
            ),
            ("execute", r#"{"prompt":"a","workspace":"../x"}"#, -32602),
            (
                "execute",
                r#"{"prompt":"a","env":{"LD_PRELOAD":"x"}}"#,
                -32002,
            ),
            ("control", "{}", -32602),
            ("control", r#"{"type":"KILL"}"#, -32602),
            ("control", r#"{"type":"CANCEL","signal":9}"#, -32602),
            ("attach", "{}", -32602),
            (
                "attach",
                r#"{"executionId":"018f4e2a-7b3c-7def-8123-456789abcdef","offset":-1}"#,
                -32602,
            ),
            ("detach", "{}", -32602),
            ("list", r#"{"limit":0}"#, -32602),
            ("list", r#"{"limit":1001}"#, -32602),
            ("ping", r#"{"a":1}"#, -32602),
            ("input", r#"{"offset":0}"#, -32602),
            ("input", r#"{"offset":-1,"data":""}"#, -32602),
            ("input", r#"{"offset":0,"data":"","eof":1}"#, -32602),
            ("run", "{}", -32601),
        ] {
            let (got, data) = refused(method, params);
            assert_eq!(got, code, "{method} {params}");
            assert!(data["reason"].is_string());
            assert_eq!(
                data.get("executionId").is_some(),
                method == "execute" && params != r#"["x"]"#
            );
        }
    }

    #[test]
    fn an_execute() {
        let id = "018F4E2A-7B3C-7DEF-8123-456789ABCDEF";
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"execute","params":{{"command":"--x","executionId":"{id}",
                "onDisconnect":"cancel","onSlow":"skip","format":"events","prompt":null}}}}"#
        );
        let entry = single(&text);
        assert_eq!(entry.id, None);
        let Ok(Ask::Execute(execute)) = entry.what else {
            panic!("refused")
        };
        assert_eq!(execute.id.to_string(), id.to_lowercase());
        assert_eq!(execute.body.prompt, "--x");
        assert_eq!(execute.on_disconnect, OnDisconnect::Cancel);
        assert_eq!(execute.on_slow, OnSlow::Skip);
    }

    #[test]
    fn limits_that_are_known_are_used() {
        let limits = Limits {
            prompt_bytes: 3,
            ..Limits::default()
        };
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"execute","params":{"prompt":"abcd"}}"#;
        let Frame::Single(entry) = parse(text, 50, Some(&limits)) else {
            panic!("no single")
        };
        assert_eq!(entry.what.unwrap_err().error.data["limit"], 3);
        assert!(single(text).what.is_ok());
    }
}
