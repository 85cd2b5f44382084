//! Parses the text of a client's message into JSON-RPC 2.0 requests (docs/protocol.md, "Requests").
//! Does no I/O.

mod params;

use protocol::Limits;
use protocol::rpc::{RpcError, code};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::bounded_json::{self, Items, Members, MembersError};
pub use params::{ExecuteRequest, Request};
use params::{params_error, read_request};

/// The longest `id` of a request, in bytes of JSON. It is limited because the answer repeats the
/// id, and the length of an answer is limited, too.
const ID_BYTES: usize = 1024;

/// The result of parsing one text message of a client.
#[derive(Debug)]
pub enum ParsedMessage {
    /// One request or notification, valid or not.
    Single(Entry),
    /// The entries of a JSON-RPC batch, of which there is at least one. Each may be valid or not.
    Batch(Vec<Entry>),
    /// The message is not JSON, or it is an empty or too long batch. It is answered with this error
    /// and the id `null`.
    Unreadable(RpcError),
}

/// One request or notification in a message of the client, either valid or with the reason of its
/// refusal.
#[derive(Debug)]
pub struct Entry {
    /// The client's `id` as JSON text, and `null` if the request is too malformed to have one.
    /// `None` for a notification, which gets no answer.
    pub id: Option<String>,
    /// The request with its checked parameters, or its refusal if it is not valid.
    pub request: Result<Request, Refusal>,
}

/// The refusal of a request whose structure, method or parameters are not valid.
#[derive(Debug)]
pub struct Refusal {
    /// The JSON-RPC error for the client.
    pub error: RpcError,
    /// The name of the method, or `None` if it could not be read. It is needed because the refusal
    /// of an execute is reported as a `statusUpdate` when the execute was a notification.
    pub method: Option<String>,
}

/// Returns the JSON-RPC error for a binary message (-32600, invalid request). Only text messages
/// are accepted.
#[must_use]
pub fn binary() -> RpcError {
    RpcError::new(
        code::INVALID_REQUEST,
        "binary_frame",
        "binary frames are not accepted; send JSON in text frames",
    )
}

/// Parses one text message of the client, and checks the parameters of its requests. An invalid
/// request becomes a refusal, and does not affect the other requests of its batch. A message that
/// is not JSON becomes `Unreadable` with -32700 (parse error).
///
/// `batch` is the most entries of a batch. `limits` are the limits of claude-api. While they are
/// unknown (`None`), claude-api alone checks them.
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

/// Parses a JSON-RPC batch, and checks each of its requests. An empty batch, or one of more than
/// `batch` entries, is refused as a whole with -32600 (invalid request).
///
/// # Errors
/// The text is not valid JSON.
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

/// Returns the refusal of an entry that is not a valid request object (-32600, invalid request).
fn invalid_entry(id: Option<String>, message: &str) -> Entry {
    Entry {
        id,
        request: Err(Refusal {
            error: RpcError::new(code::INVALID_REQUEST, "invalid_request", message),
            method: None,
        }),
    }
}

/// Parses one request or notification. One that is JSON but not a valid request becomes a refusal.
///
/// # Errors
/// The text is not valid JSON, so the whole message cannot be read.
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

/// Returns the `id` of a request exactly as the client sent it, so that the answer repeats it.
/// `None` if it is not a string, a number or null, or if it is longer than 1024 bytes.
///
/// # Errors
/// The text is not valid JSON.
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

/// Decodes the `params` of a request into an object. Missing or null `params` become an empty
/// object.
///
/// # Errors
/// The outer error means that the text is not valid JSON. The inner error is for the client, and
/// means that `params` is not an object or that its members are refused.
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
