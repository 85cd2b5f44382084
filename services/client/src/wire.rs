//! The bridge's messages as types.

use std::borrow::Cow;

use bytes::Bytes;
use protocol::rpc::{RpcError, method};
use protocol::{ExecutionId, Status};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The greeting of a session.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connected {
    /// The session; also the lane of its executions.
    pub session_id: String,
    /// The version of the protocol.
    pub protocol: u32,
    /// The version of the bridge.
    #[serde(default)]
    pub version: String,
    /// What the bridge can do.
    #[serde(default)]
    pub capabilities: Value,
    /// The limits in force (contract, section 4), or null while the bridge does not know them.
    #[serde(default)]
    pub limits: Value,
}

impl Connected {
    /// The largest message that the bridge takes, in bytes.
    #[must_use]
    pub fn message_bytes(&self) -> usize {
        let greeted = self.limits["messageBytes"].as_u64();
        greeted.map_or(crate::link::MESSAGE_BYTES, |bytes| {
            usize::try_from(bytes).unwrap_or(usize::MAX)
        })
    }
}

/// A `statusUpdate`.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusUpdate {
    /// `status` as the bridge wrote it: the state in capitals, or `RESUMED`.
    pub shown: String,
    /// Milliseconds since it was created.
    pub elapsed_ms: Option<u64>,
    /// `unreachable` while the bridge cannot reach claude-api.
    pub upstream: Option<String>,
    /// The status object.
    pub status: Status,
}

/// A `notice`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The execution it is about, if it is about one.
    #[serde(default)]
    pub execution_id: Option<ExecutionId>,
    /// Machine-readable.
    pub code: String,
    /// For a person.
    #[serde(default)]
    pub message: String,
    /// Details.
    #[serde(default)]
    pub data: Value,
}

/// One message of the bridge.
#[derive(Debug)]
pub(crate) enum Incoming {
    Connected(Connected),
    Answer(u64, Result<Box<RawValue>, RpcError>),
    /// An error that answers no request of ours (`id` is null).
    Refused(RpcError),
    Status(Box<StatusUpdate>),
    Output(ExecutionId, u64, Bytes),
    Gap(ExecutionId, u64, u64),
    Notice(Notice),
    /// Something a later version sends.
    Other,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default, borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<RpcError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OutputParams {
    execution_id: ExecutionId,
    offset: u64,
    content: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GapParams {
    execution_id: ExecutionId,
    from: u64,
    to: u64,
}

impl Incoming {
    /// Reads one message.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('[') {
            return Ok(Self::Other); // the answer to a batch; this client sends none
        }
        let frame: Frame<'_> =
            serde_json::from_str(text).map_err(|e| format!("{e} in {}", start(text)))?;
        let Some(name) = frame.method else {
            return Ok(
                match (
                    frame.id.as_ref().and_then(Value::as_u64),
                    frame.result,
                    frame.error,
                ) {
                    (Some(id), _, Some(error)) => Self::Answer(id, Err(error)),
                    (Some(id), Some(result), None) => Self::Answer(id, Ok(result.to_owned())),
                    (None, _, Some(error)) => Self::Refused(error),
                    _ => Self::Other,
                },
            );
        };
        let params = frame.params.map_or("{}", RawValue::get);
        let wrong = |e: serde_json::Error| format!("{name}: {e} in {}", start(text));
        Ok(match &*name {
            method::OUTPUT => {
                let p: OutputParams = serde_json::from_str(params).map_err(wrong)?;
                Self::Output(p.execution_id, p.offset, Bytes::from(p.content))
            }
            method::GAP => {
                let p: GapParams = serde_json::from_str(params).map_err(wrong)?;
                Self::Gap(p.execution_id, p.from, p.to)
            }
            method::STATUS_UPDATE => status_update(params).map_err(wrong)?,
            method::NOTICE => Self::Notice(serde_json::from_str(params).map_err(wrong)?),
            method::CONNECTED => Self::Connected(serde_json::from_str(params).map_err(wrong)?),
            _ => Self::Other,
        })
    }
}

fn status_update(params: &str) -> Result<Incoming, serde_json::Error> {
    let mut params: Value = serde_json::from_str(params)?;
    if params.get("executionId").is_none_or(Value::is_null) {
        return Ok(Incoming::Other); // a refused execute that had no request id; this client sends none
    }
    let shown = params["status"].as_str().unwrap_or_default().to_owned();
    let elapsed_ms = params["elapsedMs"].as_u64();
    let upstream = params["upstream"].as_str().map(str::to_owned);
    let status: Status = serde_json::from_value(params.take())?;
    Ok(Incoming::Status(Box::new(StatusUpdate {
        shown,
        elapsed_ms,
        upstream,
        status,
    })))
}

/// The beginning of a message, for an error.
fn start(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "018f4e2a-7b3c-7def-8123-456789abcdef";

    #[test]
    fn output_is_taken_with_its_offset() {
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"output","params":{{"executionId":"{ID}","type":"stdout","offset":7,"content":"a\n\u20ac"}}}}"#
        );
        let Incoming::Output(id, 7, bytes) = Incoming::parse(&text).unwrap() else {
            panic!("not an output");
        };
        assert_eq!(id.to_string(), ID);
        assert_eq!(bytes, "a\n\u{20ac}".as_bytes());
    }

    #[test]
    fn a_status_update_is_a_status_with_more() {
        let status = Status::queued(ID.parse().unwrap(), jiff::Timestamp::UNIX_EPOCH, "w".into());
        let mut params = serde_json::to_value(&status).unwrap();
        params["status"] = "RESUMED".into();
        params["elapsedMs"] = 12.into();
        params["upstream"] = "unreachable".into();
        let text = protocol::rpc::notification("statusUpdate", &params).to_string();
        let Incoming::Status(update) = Incoming::parse(&text).unwrap() else {
            panic!("not a status");
        };
        assert_eq!(update.shown, "RESUMED");
        assert_eq!(update.elapsed_ms, Some(12));
        assert_eq!(update.upstream.as_deref(), Some("unreachable"));
        assert_eq!(update.status, status);
    }

    #[test]
    fn answers_errors_and_the_unknown() {
        let answer = Incoming::parse(r#"{"jsonrpc":"2.0","id":3,"result":{}}"#).unwrap();
        assert!(matches!(answer, Incoming::Answer(3, Ok(_))));
        let error = r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32003,"message":"m","data":{"reason":"r"}}}"#;
        assert!(
            matches!(Incoming::parse(error).unwrap(), Incoming::Answer(3, Err(e)) if e.code == -32003)
        );
        let refused = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"m"}}"#;
        assert!(matches!(
            Incoming::parse(refused).unwrap(),
            Incoming::Refused(_)
        ));
        let later = r#"{"jsonrpc":"2.0","method":"later","params":[1]}"#;
        assert!(matches!(Incoming::parse(later).unwrap(), Incoming::Other));
        assert!(Incoming::parse("nonsense").is_err());
        assert!(Incoming::parse(r#"{"jsonrpc":"2.0","method":"output","params":{}}"#).is_err());
    }
}
