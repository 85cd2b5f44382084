//! Parses the text of a client's message into JSON-RPC 2.0 requests (docs/protocol.md, "Requests").
//! Pure.

mod params;

use protocol::Limits;
use protocol::rpc::{RpcError, code};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::bounded_json::{self, Items, Members, MembersError};
pub use params::{ExecuteRequest, Request};
use params::{params_error, read_request};

/// The longest id of a request, in bytes of JSON. The answer repeats the id, and its length is
/// limited.
const ID_BYTES: usize = 1024;

/// The requests in one message of a client.
#[derive(Debug)]
pub enum ParsedMessage {
    /// One request or notification.
    Single(Entry),
    /// The entries of a batch. There is at least one.
    Batch(Vec<Entry>),
    /// The message holds no request that could be read. It is answered with this error and id null.
    Unreadable(RpcError),
}

/// One request or notification of a message, with valid parameters or with the reason of its
/// refusal.
#[derive(Debug)]
pub struct Entry {
    /// The client's id, as JSON; `None` for a notification, which gets no answer.
    pub id: Option<String>,
    /// The request, or its refusal if it is not valid.
    pub request: Result<Request, Refusal>,
}

/// The refusal of a request whose method or parameters are not valid.
#[derive(Debug)]
pub struct Refusal {
    /// The error for the client.
    pub error: RpcError,
    /// The method, if it could be read. A refused execute is reported even if it is a notification.
    pub method: Option<String>,
}

/// Creates -32600: the message is binary, but only text messages are accepted.
#[must_use]
pub fn binary() -> RpcError {
    RpcError::new(
        code::INVALID_REQUEST,
        "binary_frame",
        "binary frames are not accepted; send JSON in text frames",
    )
}

/// Parses one text message, and checks the parameters of its requests. `batch`: the most entries of
/// a batch. `limits`: claude-api's, or `None` while unknown; then claude-api checks them.
#[must_use]
pub fn parse(text: &str, batch: u64, limits: Option<&Limits>) -> ParsedMessage {
    let message = if text.trim_start().starts_with('[') {
        parse_batch(text, batch, limits)
    } else {
        serde_json::from_str(text)
            .and_then(|request| parse_entry(request, limits))
            .map(ParsedMessage::Single)
    };
    // Also for a lone surrogate, which is no Unicode text.
    message.unwrap_or_else(|error| {
        ParsedMessage::Unreadable(RpcError::new(
            code::PARSE_ERROR,
            "parse_error",
            format!("not JSON: {error}"),
        ))
    })
}

fn parse_batch(
    text: &str,
    batch: u64,
    limits: Option<&Limits>,
) -> serde_json::Result<ParsedMessage> {
    let Items { items, count } = bounded_json::items(text, batch)?;
    if count == 0 {
        return Ok(ParsedMessage::Unreadable(RpcError::new(
            code::INVALID_REQUEST,
            "empty_batch",
            "the batch is empty; send at least one request",
        )));
    }
    if count > batch {
        let error = RpcError::new(
            code::INVALID_REQUEST,
            "batch_too_long",
            format!("the batch has {count} requests; send at most {batch}"),
        );
        return Ok(ParsedMessage::Unreadable(error.with("limit", batch)));
    }
    let entries = items.into_iter().map(|item| parse_entry(item, limits));
    entries.collect::<Result<_, _>>().map(ParsedMessage::Batch)
}

fn invalid_entry(id: Option<String>, message: &str) -> Entry {
    Entry {
        id,
        request: Err(Refusal {
            error: RpcError::new(code::INVALID_REQUEST, "invalid_request", message),
            method: None,
        }),
    }
}

/// Parses one request or notification. An invalid one becomes a refusal.
///
/// # Errors
/// The text is not JSON.
fn parse_entry(request: &RawValue, limits: Option<&Limits>) -> serde_json::Result<Entry> {
    let null = || Some("null".to_owned());
    if !request.get().starts_with('{') {
        if request.get().len() <= ID_BYTES || request.get().starts_with('"') {
            bounded_json::check(request)?;
        }
        return Ok(invalid_entry(null(), "a request must be an object"));
    }
    let mut members: Members<'_> = serde_json::from_str(request.get())?;
    let (id, params) = (members.take("id"), members.take("params"));
    let mut members = match members.values() {
        Ok(members) => members,
        Err(MembersError::Syntax(error)) => return Err(error),
        Err(MembersError::Refused(message)) => return Ok(invalid_entry(null(), message)),
    };
    let id = match id.map(id_text).transpose()? {
        Some(None) => {
            let message = "id must be a string, a number or null, of at most 1024 bytes";
            return Ok(invalid_entry(null(), message));
        }
        id => id.flatten(),
    };
    let answer_id = || id.clone().or_else(null);
    if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Ok(invalid_entry(answer_id(), r#"jsonrpc must be "2.0""#));
    }
    let Some(Value::String(name)) = members.remove("method") else {
        return Ok(invalid_entry(answer_id(), "method must be a string"));
    };
    let request = parse_params(params)?.and_then(|params| read_request(&name, params, limits));
    let request = request.map_err(|error| Refusal {
        error,
        method: Some(name),
    });
    Ok(Entry { id, request })
}

/// Returns the id exactly as the client sent it, so that the answer repeats it. `None` if the value
/// is neither a string, a number nor null, or too long.
///
/// # Errors
/// The text is not JSON.
fn id_text(id: &RawValue) -> serde_json::Result<Option<String>> {
    let text = id.get();
    if text.len() > ID_BYTES {
        if text.starts_with('"') {
            bounded_json::check(id)?;
        }
        return Ok(None);
    }
    bounded_json::check(id)?;
    // Not `serde_json::Value`, because a number may be too large for any type (RFC 8259, section
    // 6).
    let is_id =
        text == "null" || text.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
    Ok(is_id.then(|| text.to_owned()))
}

/// Decodes the parameters of a request into an object.
///
/// # Errors
/// The outer error: the text is not JSON. The inner error: the parameters are invalid.
fn parse_params(
    params: Option<&RawValue>,
) -> serde_json::Result<Result<Map<String, Value>, RpcError>> {
    let Some(params) = params.filter(|p| p.get() != "null") else {
        return Ok(Ok(Map::new()));
    };
    if !params.get().starts_with('{') {
        if params.get().starts_with('[') {
            return Ok(Err(params_error(
                "params is an array; send an object of named parameters",
            )));
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
        Err(MembersError::Syntax(error)) => Err(error),
        Err(MembersError::Refused(message)) => Ok(Err(params_error(message))),
    }
}

#[cfg(test)]
mod tests;
