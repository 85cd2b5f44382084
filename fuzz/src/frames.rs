//! Properties of the bridge's parser for a client's text message: no panic, an answer to each
//! request with an id, and only errors of docs/protocol.md, "Error codes". `serde_json` is the
//! reference for the parsed values.

use bridge::session::wire::request::{Entry, ExecuteRequest, ParsedMessage, Request, parse};
use protocol::Limits;
use protocol::message::ListParams;
use protocol::rpc::RpcError;
use serde_json::{Value, value::RawValue};

/// The defaults (docs/protocol.md, "Limits" and "Requests").
const BATCH: u64 = 50;
const ID_BYTES: usize = 1024;
/// The codes of docs/protocol.md, "Error codes", that the parser may return.
const CODES: [i64; 5] = [-32700, -32600, -32601, -32602, -32002];
/// The length limit of an error, which quotes a part of the message.
const ERROR_BYTES: usize = 16 * 1024;

/// Checks one frame; bytes that are not UTF-8 never reach the parser.
///
/// # Panics
/// If a property does not hold.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for limits in [None, Some(&Limits::default())] {
        frame(text, &parse(text, BATCH, limits));
    }
}

fn frame(text: &str, frame: &ParsedMessage) {
    let value: Option<Value> = serde_json::from_str(text).ok();
    match (frame, value) {
        (ParsedMessage::Unreadable(error), value) => {
            well_formed(error);
            let length = value.as_ref().and_then(Value::as_array).map(Vec::len);
            let batch = length.is_some_and(|length| length == 0 || length as u64 > BATCH);
            match error.code {
                -32700 => assert!(value.is_none() || batch, "this is JSON: {text:?}"),
                -32600 => assert!(value.is_none() || batch, "this is a frame: {text:?}"),
                code => panic!("{code} for a whole frame"),
            }
        }
        (ParsedMessage::Single(_), Some(Value::Array(_))) => panic!("a batch taken for a request"),
        (ParsedMessage::Single(one), Some(value)) => {
            let raw = serde_json::from_str(text).expect("it is JSON");
            entry(one, raw, &value);
        }
        (ParsedMessage::Batch(entries), Some(Value::Array(values))) => {
            assert_eq!(entries.len(), values.len(), "answers to a batch");
            let raws: Vec<&RawValue> = serde_json::from_str(text).expect("it is JSON");
            for ((one, raw), value) in entries.iter().zip(raws).zip(&values) {
                entry(one, raw, value);
            }
        }
        (ParsedMessage::Batch(_), Some(_)) => panic!("a request taken for a batch"),
        (ParsedMessage::Single(one), None) => broken(text, std::slice::from_ref(one)),
        (ParsedMessage::Batch(entries), None) => broken(text, entries),
    }
}

/// Checks that a message that is not JSON is refused.
fn broken(text: &str, entries: &[Entry]) {
    let refused = entries.iter().any(|one| one.request.is_err());
    assert!(refused, "taken, but no JSON: {text:?}");
}

/// Checks one request against its JSON.
fn entry(entry: &Entry, raw: &RawValue, value: &Value) {
    let Some(request) = value.as_object() else {
        assert_eq!(entry.id.as_deref(), Some("null"), "it is answered");
        return refused(entry, value);
    };
    match request.get("id") {
        Some(id) if entry.id.is_none() => panic!("no answer to {id}"),
        Some(id) => echo(entry, id, raw),
        None => {
            let invalid = entry
                .request
                .as_ref()
                .is_err_and(|r| r.error.code == -32600);
            let null = entry.id.as_deref() == Some("null");
            assert!(entry.id.is_none() || null && invalid, "an answer to nobody");
        }
    }
    match &entry.request {
        Ok(request) => {
            assert_eq!(value["jsonrpc"], "2.0");
            taken(request, value["method"].as_str(), &value["params"]);
        }
        Err(_) => refused(entry, value),
    }
}

/// Checks that the answer has the request's id, or that the request is refused with id null.
fn echo(entry: &Entry, id: &Value, raw: &RawValue) {
    let text = entry.id.as_deref().unwrap_or_default();
    let invalid = entry
        .request
        .as_ref()
        .is_err_and(|r| r.error.code == -32600);
    if text == "null" && invalid {
        return;
    }
    assert!(text.len() <= ID_BYTES, "an id of {} bytes", text.len());
    assert!(raw.get().contains(text), "{text} was not sent");
    let echoed: Value = serde_json::from_str(text).expect("an id is JSON");
    assert_eq!(&echoed, id);
    assert!(
        id.is_null() || id.is_number() || id.is_string(),
        "{id} is no id"
    );
}

/// Returns an integer, which may be written with a fraction of zero.
fn integer(value: &Value) -> Option<u64> {
    let float = value.as_f64().filter(|float| float.fract() == 0.0);
    value.as_u64().or_else(|| float.map(|float| float as u64))
}

fn refused(entry: &Entry, value: &Value) {
    let Err(refusal) = &entry.request else {
        panic!("taken: {value}");
    };
    well_formed(&refusal.error);
    let named = value["method"].as_str();
    assert!(refusal.method.is_none() || refusal.method.as_deref() == named);
    if refusal.method.as_deref() != Some("execute") {
        return;
    }
    // A client needs the execution's id to know which execute was refused. Params that are not an
    // object, or are too large, have no id that was read.
    let read = value["params"].is_object()
        && !refusal
            .error
            .message
            .starts_with("members that are not strings");
    if read
        && !refusal
            .error
            .message
            .starts_with("the object has too many members")
    {
        let data = &refusal.error.data["executionId"];
        assert!(data.is_string(), "without executionId: {value}");
    }
}

fn well_formed(error: &RpcError) {
    assert!(CODES.contains(&error.code), "{error:?}");
    assert!(!error.message.is_empty(), "{error:?}");
    assert!(error.data["reason"].is_string(), "{error:?}");
    let text = serde_json::to_string(error).expect("an error is JSON");
    assert!(text.len() <= ERROR_BYTES, "an error of {}", text.len());
}

/// Checks that the parsed request equals the sent one.
fn taken(request: &Request, method: Option<&str>, params: &Value) {
    let id = |name: &str| params[name].as_str().map(str::to_lowercase);
    let method = method.expect("a method");
    match request {
        Request::Execute(asked) => {
            assert_eq!(method, "execute");
            execute(asked, params);
        }
        Request::Control(verb, of) => {
            assert_eq!(method, "control");
            let word = format!("{verb:?}").to_uppercase();
            assert_eq!(params["type"].as_str(), Some(word.as_str()));
            assert_eq!(of.map(|id| id.to_string()), id("executionId"));
        }
        Request::Attach(attach) => {
            assert_eq!(method, "attach");
            assert_eq!(Some(attach.execution_id.to_string()), id("executionId"));
            assert_eq!(attach.offset, integer(&params["offset"]));
        }
        Request::Detach(of) => {
            assert_eq!(method, "detach");
            assert_eq!(Some(of.to_string()), id("executionId"));
        }
        Request::Status(of) => {
            assert_eq!(method, "status");
            assert_eq!(of.map(|id| id.to_string()), id("executionId"));
        }
        Request::List(ListParams {
            limit,
            before,
            workspace,
        }) => {
            assert_eq!(method, "list");
            assert_eq!(workspace.as_deref(), params["workspace"].as_str());
            assert_eq!(*limit, integer(&params["limit"]));
            assert!(limit.is_none_or(|limit| (1..=1000).contains(&limit)));
            assert_eq!(before.map(|id| id.to_string()), id("before"));
        }
        Request::Events(events) => {
            assert_eq!(method, "events");
            assert_eq!(Some(events.execution_id.to_string()), id("executionId"));
            assert_eq!(events.offset, integer(&params["offset"]));
            assert_eq!(
                events.max_bytes.map(|n| n as u64),
                integer(&params["maxBytes"])
            );
            assert!(
                events
                    .max_bytes
                    .is_none_or(|n| (4..=512 * 1024).contains(&n))
            );
        }
        Request::Input(input) => {
            assert_eq!(method, "input");
            assert_eq!(Some(input.offset), integer(&params["offset"]));
            assert_eq!(Some(input.data.as_str()), params["data"].as_str());
            assert_eq!(input.eof, params["eof"].as_bool().unwrap_or(false));
        }
        Request::Share(share) => {
            assert_eq!(method, "share");
            assert_eq!(Some(share.execution_id.to_string()), id("executionId"));
            assert_eq!(share.expires_seconds, integer(&params["expiresSeconds"]));
            assert!(
                share
                    .expires_seconds
                    .is_none_or(|n| (1..=30 * 24 * 3600).contains(&n))
            );
        }
        Request::Answer(answer) => {
            assert_eq!(method, "answer");
            assert_eq!(Some(answer.execution_id.to_string()), id("executionId"));
            assert!(params["questionId"].is_string(), "{params}");
            assert_eq!(Some(answer.decision.as_str()), params["decision"].as_str());
            assert_eq!(answer.message.as_deref(), params["message"].as_str());
            let interrupt = params["interrupt"].as_bool().unwrap_or(false);
            assert_eq!(answer.interrupt, interrupt);
        }
        Request::Ping => assert_eq!(method, "ping"),
    }
}

fn execute(execute: &ExecuteRequest, params: &Value) {
    let ExecuteRequest {
        id, fresh, body, ..
    } = execute;
    let asked = params["executionId"].as_str().map(str::to_lowercase);
    assert_eq!(*fresh, asked.is_none());
    if let Some(asked) = asked {
        assert_eq!(id.to_string(), asked);
    }
    let prompt = params["prompt"].as_str().or(params["command"].as_str());
    assert_eq!(Some(body.prompt.as_str()), prompt);
    assert!(!prompt.is_some_and(|prompt| prompt.trim().is_empty()));
    // The body for claude-api, which parses it again.
    let sent = serde_json::to_string(body).expect("a body is JSON");
    let read: protocol::Body = serde_json::from_str(&sent).expect("a body that can be read");
    assert_eq!(&read, body);
    assert_eq!(read.digest(), body.digest());
}
