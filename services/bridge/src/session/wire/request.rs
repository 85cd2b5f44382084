//! Reads the requests in the text of one message: JSON-RPC 2.0 and the parameters in docs/protocol.md,
//! "Requests" and "Request parameters". Pure.

use protocol::rpc::{OnDisconnect, OnSlow, RpcError, code, method};
use protocol::{Body, BodyError, ExecutionId, Limits, ProblemType};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::bounded_json::{self, Items, Members, Unfit};
use crate::control::Control;

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
    /// As JSON; None for a notification.
    pub id: Option<String>,
    /// The request, or why it is refused.
    pub request: Result<Request, Refusal>,
}

/// A request that is refused at once.
#[derive(Debug)]
pub struct Refusal {
    /// The answer.
    pub error: RpcError,
    /// A refused execute is never silent, with or without an id.
    pub method: Option<String>,
}

/// A request that can be carried out (docs/protocol.md, "Requests").
#[derive(Debug)]
pub enum Request {
    /// Run a prompt.
    Execute(Box<Execute>),
    /// Signals.
    Control(Control, Option<ExecutionId>),
    /// Look at an execution.
    Attach(Attach),
    /// Look away.
    Detach(ExecutionId),
    /// The status object.
    Status(Option<ExecutionId>),
    /// A page of statuses.
    List(Option<u64>, Option<ExecutionId>),
    /// A part of the events.
    Events(Events),
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
    /// Whether it is a fresh one.
    pub fresh: bool,
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
#[allow(missing_docs, reason = "docs/protocol.md describes them")]
pub struct Attach {
    pub execution_id: ExecutionId,
    #[serde(default)]
    pub offset: Option<u64>,
    #[serde(default)]
    pub on_slow: Option<OnSlow>,
}

/// A part of the events.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Events {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The first byte, in bytes of the CLI's stdout. None: the oldest kept byte.
    #[serde(default)]
    pub offset: Option<u64>,
    /// The most bytes of events in the answer. None: as many as a message holds.
    #[serde(default)]
    pub max_bytes: Option<usize>,
}

/// Lines for a CLI's stdin.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/protocol.md describes them")]
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
struct ControlParams {
    #[serde(rename = "type")]
    control: Control,
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
    let frame = if text.trim_start().starts_with('[') {
        several(text, batch, limits)
    } else {
        serde_json::from_str(text)
            .and_then(|request| entry(request, limits))
            .map(Frame::Single)
    };
    // A lone surrogate, too: its text is no Unicode.
    frame.unwrap_or_else(|error| {
        Frame::Bad(RpcError::new(
            code::PARSE_ERROR,
            "parse_error",
            format!("not JSON: {error}"),
        ))
    })
}

fn several(text: &str, batch: u64, limits: Option<&Limits>) -> serde_json::Result<Frame> {
    let Items { items, count } = bounded_json::items(text, batch)?;
    if count == 0 {
        return Ok(Frame::Bad(RpcError::new(
            code::INVALID_REQUEST,
            "empty_batch",
            "a batch has at least one request",
        )));
    }
    if count > batch {
        let error = RpcError::new(
            code::INVALID_REQUEST,
            "batch_too_long",
            format!("a batch has at most {batch} requests"),
        );
        return Ok(Frame::Bad(error.with("limit", batch)));
    }
    let entries = items.into_iter().map(|item| entry(item, limits));
    entries.collect::<Result<_, _>>().map(Frame::Batch)
}

fn invalid(id: Option<String>, message: &str) -> Entry {
    Entry {
        id,
        request: Err(Refusal {
            error: RpcError::new(code::INVALID_REQUEST, "invalid_request", message),
            method: None,
        }),
    }
}

/// One request. An error is one of JSON.
fn entry(request: &RawValue, limits: Option<&Limits>) -> serde_json::Result<Entry> {
    let null = || Some("null".to_owned());
    if !request.get().starts_with('{') {
        if request.get().len() <= ID_BYTES || request.get().starts_with('"') {
            bounded_json::check(request)?;
        }
        return Ok(invalid(null(), "a request is an object"));
    }
    let mut members: Members<'_> = serde_json::from_str(request.get())?;
    let (id, params) = (members.take("id"), members.take("params"));
    let mut members = match members.values() {
        Ok(members) => members,
        Err(Unfit::Syntax(error)) => return Err(error),
        Err(Unfit::Refused(what)) => return Ok(invalid(null(), what)),
    };
    let id = match id.map(echo).transpose()? {
        Some(None) => {
            let message = "id must be a string, a number or null, of at most 1024 bytes";
            return Ok(invalid(null(), message));
        }
        id => id.flatten(),
    };
    let echo = || id.clone().or_else(null);
    if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Ok(invalid(echo(), r#"jsonrpc must be "2.0""#));
    }
    let Some(Value::String(name)) = members.remove("method") else {
        return Ok(invalid(echo(), "method must be a string"));
    };
    let request = by_name(params)?.and_then(|params| read(&name, params, limits));
    let request = request.map_err(|error| Refusal {
        error,
        method: Some(name),
    });
    Ok(Entry { id, request })
}

/// The text of an id as it is answered, number for number as it was sent; None when it is none.
fn echo(id: &RawValue) -> serde_json::Result<Option<String>> {
    let text = id.get();
    if text.len() > ID_BYTES {
        if text.starts_with('"') {
            bounded_json::check(id)?;
        }
        return Ok(None);
    }
    bounded_json::check(id)?;
    // Not `serde_json::Value`: a number may be larger than any type holds (RFC 8259, section 6).
    let is_id =
        text == "null" || text.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
    Ok(is_id.then(|| text.to_owned()))
}

/// The parameters; an outer error is one of JSON.
fn by_name(params: Option<&RawValue>) -> serde_json::Result<Result<Map<String, Value>, RpcError>> {
    let Some(params) = params.filter(|p| p.get() != "null") else {
        return Ok(Ok(Map::new()));
    };
    if !params.get().starts_with('{') {
        if params.get().starts_with('[') {
            return Ok(Err(params_error("params are given by name, as an object")));
        }
        bounded_json::check(params)?;
        return Ok(Err(RpcError::new(
            code::INVALID_REQUEST,
            "invalid_request",
            "params must be an object",
        )));
    }
    match serde_json::from_str::<Members<'_>>(params.get())?.values() {
        Ok(params) => Ok(Ok(params)),
        Err(Unfit::Syntax(error)) => Err(error),
        Err(Unfit::Refused(what)) => Ok(Err(params_error(what))),
    }
}

fn params_error(message: impl Into<String>) -> RpcError {
    RpcError::new(code::INVALID_PARAMS, "invalid_params", message)
}

fn read(
    name: &str,
    params: Map<String, Value>,
    limits: Option<&Limits>,
) -> Result<Request, RpcError> {
    match name {
        method::EXECUTE => execute(params, limits).map(|e| Request::Execute(Box::new(e))),
        method::CONTROL => {
            typed(params).map(|c: ControlParams| Request::Control(c.control, c.execution_id))
        }
        method::ATTACH => typed(params).map(Request::Attach),
        method::DETACH => typed(params).map(|d: Detach| Request::Detach(d.execution_id)),
        method::STATUS => typed(params).map(|s: StatusOf| Request::Status(s.execution_id)),
        method::LIST => {
            let List { limit, before } = typed(params)?;
            if limit.is_some_and(|n| n == 0 || n > 1000) {
                return Err(params_error("limit must be 1 to 1000"));
            }
            Ok(Request::List(limit, before))
        }
        method::EVENTS => {
            let events: Events = typed(params)?;
            let range = protocol::events::MIN_BYTES..=protocol::events::MAX_BYTES;
            if events.max_bytes.is_some_and(|n| !range.contains(&n)) {
                let (least, most) = range.into_inner();
                return Err(params_error(format!("maxBytes must be {least} to {most}")));
            }
            Ok(Request::Events(events))
        }
        method::INPUT => typed(params).map(Request::Input),
        method::PING => typed(params).map(|Nothing {}| Request::Ping),
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
    let fresh = asked.is_none();
    checked(id, fresh, params, limits).map_err(|e| e.with("executionId", id.to_string()))
}

fn checked(
    id: ExecutionId,
    fresh: bool,
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
        fresh,
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
mod tests;
