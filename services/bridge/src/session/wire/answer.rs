//! Encodes the answers to requests as JSON text. Each is cut to the length of a message, or to its
//! part of a batch.

use protocol::Status;
use protocol::message::{Accepted, Empty};
use protocol::rpc::RpcError;
use serde_json::json;

use super::events_part::EventsPart;
use super::list_page::ListPage;

/// The most bytes around a result in an answer: the members of JSON-RPC, without the id.
const ENVELOPE_BYTES: usize = 64;

/// The result of a successful request.
#[derive(Debug)]
pub enum Answer {
    /// A status object, cut to the length of a message.
    Status(Box<Status>),
    /// A page of a list, cut to the length of a message.
    Page(Box<ListPage>),
    /// A part of the events, cut to the length of a message.
    Events(Box<EventsPart>),
    /// The bytes of input that claude-api has accepted in total.
    Accepted(Accepted),
    /// `{}`, for a ping or a detach.
    Empty(Empty),
}

/// Encodes the answer to the request with this `id`, which is JSON already. `status_bytes`: the
/// most bytes of a status object. `part`: the most bytes of the whole answer; a longer result is
/// cut.
pub(in crate::session) fn encode(
    id: &str,
    answer: Result<Answer, &RpcError>,
    status_bytes: usize,
    part: usize,
) -> String {
    let room = part.saturating_sub(id.len() + ENVELOPE_BYTES);
    let result = match answer {
        Ok(Answer::Page(page)) => page.to_json(room),
        Ok(Answer::Events(part)) => part.to_json(room),
        Ok(Answer::Accepted(accepted)) => json!(accepted).to_string(),
        Ok(Answer::Empty(empty)) => json!(empty).to_string(),
        Ok(Answer::Status(status)) => {
            let json = status.to_json(status_bytes.min(room));
            String::from_utf8_lossy(&json).into_owned()
        }
        Err(error) => {
            let error = json!(shorten_error(error, room));
            return format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
        }
    };
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

/// Returns the error, shortened to `limit` bytes of JSON if it is longer: with a shorter message,
/// and only the data that a program needs.
pub(in crate::session) fn shorten_error(error: &RpcError, limit: usize) -> RpcError {
    let length = |error: &RpcError| json!(error).to_string().len();
    let mut short = error.clone();
    if length(&short) <= limit {
        return short;
    }
    short.data = json!({});
    for name in [
        "reason",
        "executionId",
        "accepted",
        "state",
        "keptFrom",
        "limit",
    ] {
        let value = &error.data[name];
        if !value.is_null() && value.to_string().len() <= 128 {
            short.data[name] = value.clone();
        }
    }
    short.message = short.message.chars().take(limit).collect();
    let mut characters = short.message.chars().count();
    while length(&short) > limit && characters > 0 {
        characters /= 2;
        short.message = short.message.chars().take(characters).collect();
    }
    short
}
