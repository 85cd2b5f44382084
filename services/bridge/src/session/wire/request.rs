//! The parser of messages: the JSON-RPC 2.0 requests in the text of one message (docs/protocol.md,
//! "Requests"). Pure.

mod params;

use protocol::Limits;
use protocol::rpc::{RpcError, code};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::bounded_json::{self, Items, Members, Unfit};
pub use params::{Execute, Request};
use params::{params_error, read};

/// The longest id of a request that is echoed, in bytes of JSON: an answer has its own limit.
const ID_BYTES: usize = 1024;

/// The requests of one message.
#[derive(Debug)]
pub enum Frame {
    /// One request or notification.
    Single(Entry),
    /// The entries of a batch, at least one.
    Batch(Vec<Entry>),
    /// No request could be made out: the message gets one error with id null.
    Bad(RpcError),
}

/// One request or notification, or why it is refused.
#[derive(Debug)]
pub struct Entry {
    /// The id as JSON; None for a notification.
    pub id: Option<String>,
    /// The request, or why it is refused.
    pub request: Result<Request, Refusal>,
}

/// A request that is refused at once.
#[derive(Debug)]
pub struct Refusal {
    /// The error to answer with.
    pub error: RpcError,
    /// The method, as far as known. The client hears of a refused execute even without an id.
    pub method: Option<String>,
}

/// -32600: the message is binary.
#[must_use]
pub fn binary() -> RpcError {
    RpcError::new(
        code::INVALID_REQUEST,
        "binary_frame",
        "binary frames are not taken; send JSON in text frames",
    )
}

/// Parses one text message. `batch`: the most entries of a batch; `limits`: claude-api's, as far as
/// known.
#[must_use]
pub fn parse(text: &str, batch: u64, limits: Option<&Limits>) -> Frame {
    let frame = if text.trim_start().starts_with('[') {
        several(text, batch, limits)
    } else {
        serde_json::from_str(text)
            .and_then(|request| entry(request, limits))
            .map(Frame::Single)
    };
    // A lone surrogate is refused here too: its text is no Unicode.
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

/// Reads one entry.
///
/// # Errors
/// The text is no JSON.
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

/// Returns the text of an id exactly as it was sent; None when it is no id.
///
/// # Errors
/// The text is no JSON.
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

/// Reads parameters by name. The outer error: the text is no JSON. The inner one: they are no
/// parameters.
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

#[cfg(test)]
mod tests;
