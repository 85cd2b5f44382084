//! Encodes the answers to requests as JSON text. Each is shortened to the longest allowed message,
//! or in a batch to its part of that.

use protocol::Status;
use protocol::access::Share;
use protocol::message::{Accepted, Empty};
use protocol::question::Answered;
use protocol::rpc::RpcError;
use serde_json::json;

use super::events_part::EventsPart;
use super::list_page::ListPage;

/// The most bytes of JSON around the result in an answer. They hold the members `jsonrpc`, `id` and
/// `result` or `error`, without the value of the id.
const ENVELOPE_BYTES: usize = 64;

/// The result of a request that succeeded, before it is encoded as JSON.
#[derive(Debug)]
pub enum Answer {
    /// The status object of an execution, which is shortened if it is too long.
    Status(Box<Status>),
    /// A page of the list of executions. Statuses that do not fit are left for the next page.
    Page(Box<ListPage>),
    /// A part of an execution's events. Lines that do not fit are left for the next part.
    Events(Box<EventsPart>),
    /// The new share of an execution.
    Share(Box<Share>),
    /// The question that was answered, with the decision.
    Answered(Answered),
    /// The number of input bytes that claude-api has accepted in total.
    Accepted(Accepted),
    /// An empty object, which is the result of a ping or a detach.
    Empty(Empty),
}

/// Returns the JSON-RPC response to the request with this `id`, which is JSON text already. A
/// result that is too long is shortened. `status_bytes` is the most bytes of a status object, and
/// `part` the most bytes of the whole response.
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
        Ok(Answer::Share(share)) => json!(share).to_string(),
        Ok(Answer::Answered(answered)) => json!(answered).to_string(),
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

/// Returns a copy of the error whose JSON has at most `limit` bytes. An error that is too long
/// loses the end of its message. Of its `data` only the short members remain that a client program
/// evaluates, such as `reason` and `executionId`.
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
        "closedBy",
        "decision",
        "principal",
        "keptFrom",
        "limit",
        "resetsAt",
        "retryAfterSeconds",
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
