//! Messages of a newer bridge: a client reads the fields and words that it knows.

use serde_json::{Value, json};

use super::super::*;
use crate::{ExecutionId, State, Status};

fn read(method: &str, params: &Value) -> Result<ServerMessage, BadMessage> {
    let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
    ServerMessage::from_json(&message.to_string())
}

fn status() -> Status {
    let at = jiff::Timestamp::UNIX_EPOCH;
    let mut status = Status::queued(ExecutionId::random(), at, "w".to_owned());
    status.state = State::Paused;
    status
}

#[test]
fn an_unknown_word_of_a_status_update_is_read_as_the_state() {
    let mut params = json!(status());
    params["status"] = "THAWING".into();
    params["elapsedMs"] = 7.into();
    params["upstream"] = "slow".into();
    let Ok(ServerMessage::StatusUpdate(update)) = read("statusUpdate", &params) else {
        panic!("no status update");
    };
    assert_eq!(update.word, StatusWord::State(State::Paused));
    assert_eq!((update.elapsed_ms, update.upstream), (7, None));
    assert_eq!(update.status.state, State::Paused);
}

#[test]
fn a_status_update_without_a_required_field_is_an_error() {
    for name in ["status", "elapsedMs", "outputBytes"] {
        let mut params = json!(status());
        params["status"] = "PAUSED".into();
        params["elapsedMs"] = 7.into();
        assert!(read("statusUpdate", &params).is_ok());
        params.as_object_mut().unwrap().remove(name);
        assert!(read("statusUpdate", &params).is_err(), "{name}");
    }
}

#[test]
fn a_status_update_without_an_execution_is_ignored_unless_it_rejects_an_execute() {
    let error = json!({ "code": -32004, "message": "m", "data": null });
    let mut params = json!({ "status": "FAILED", "reason": "rejected", "error": error });
    let rejected = read("statusUpdate", &params);
    assert!(matches!(rejected, Ok(ServerMessage::RejectedExecute(_))));
    params["reason"] = "throttled".into();
    params["error"] = Value::Null;
    let other = read("statusUpdate", &params);
    assert!(matches!(other, Ok(ServerMessage::Other(_))), "{other:?}");
}

#[test]
fn an_output_of_an_unknown_type_is_ignored() {
    let id = ExecutionId::random().to_string();
    let mut params = json!({ "executionId": id, "type": "stderr", "offset": 0, "content": "x" });
    let other = read("output", &params);
    assert!(matches!(other, Ok(ServerMessage::Other(_))), "{other:?}");
    params["type"] = "stdout".into();
    assert!(matches!(
        read("output", &params),
        Ok(ServerMessage::Output(_))
    ));
    params["offset"] = "0".into();
    assert!(read("output", &params).is_err());
}
