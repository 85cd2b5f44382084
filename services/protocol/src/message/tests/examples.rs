//! Examples: the JSON of each message, written out.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::*;
use crate::rpc::{OnDisconnect, OnSlow, RpcError, code};
use crate::{Body, Events, ExecutionId, Limits, Page, State, Status};

const ID: &str = "018f4e2a-7b3c-7def-8123-456789abcdef";

/// The status object of a queued execution.
const STATUS: &str = r#"{"executionId":"018f4e2a-7b3c-7def-8123-456789abcdef","state":"queued",
    "reason":null,"error":null,"exitCode":null,"outputBytes":0,"keptFrom":0,"crc32":null,
    "sha256":null,"createdAt":"2026-01-01T00:00:00Z","startedAt":null,"endedAt":null,
    "durationMs":null,"queuePosition":null,"activity":null,"stalled":false,"principal":null,
    "workspace":"default","lane":null,"conversation":null,"continues":null,"continuedBy":null,
    "notBefore":null,"model":null,"usage":null,"costUsd":null,"structuredOutput":null,"permissionDenials":[],
    "questions":[],"questionsOpen":0,"restarts":0,"noiseLines":0,
    "warnings":[],"stderrTail":"","metadata":{},"webhook":null}"#;

fn id() -> ExecutionId {
    ID.parse().unwrap()
}

fn status() -> Status {
    let created = "2026-01-01T00:00:00Z".parse().unwrap();
    Status::queued(id(), created, "default".to_owned())
}

/// Returns the value of JSON text without repeated members.
fn value(text: &str) -> Value {
    crate::json::from_slice(text.as_bytes()).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn sent(request: impl Into<Request>, method: &str, params: &str) {
    let request = request.into();
    let message = ClientMessage::request(7, request);
    let expected = format!(r#"{{"id":7,"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
    assert_eq!(value(&message.to_json()), value(&expected));
    assert_eq!(
        serde_json::from_str::<ClientMessage>(&expected).unwrap(),
        message
    );
}

fn received(message: &ServerMessage, expected: &str) {
    assert_eq!(value(&message.to_json()), value(expected));
    assert_eq!(&ServerMessage::from_json(expected).unwrap(), message);
}

fn notified(message: &ServerMessage, method: &str, params: &str) {
    let expected = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
    received(message, &expected);
}

fn answered<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    result: T,
    expected: &str,
) {
    let reply = Reply::result(7, result);
    let expected = format!(r#"{{"id":7,"jsonrpc":"2.0","result":{expected}}}"#);
    assert_eq!(value(&reply.to_message()), value(&expected));
    let ServerMessage::Reply(untyped) = ServerMessage::from_json(&expected).unwrap() else {
        panic!("{expected} is not a reply");
    };
    assert_eq!(untyped.read::<T>().unwrap(), reply);
}

#[test]
fn an_execute_omits_the_null_fields_of_its_body() {
    let mut execute = ExecuteParams::prompt("p");
    execute.execution_id = Some(id());
    let defaults = r#""env":{},"format":"text","input":"none","metadata":{},"onInterrupt":"none",
        "onUsageLimit":"none","permissionPrompts":"deny","promptMode":"verbatim",
        "workspace":"default""#;
    let own = format!(r#""executionId":"{ID}","prompt":"p""#);
    let params = format!(r#"{{{own},"onDisconnect":"continue","onSlow":"wait",{defaults}}}"#);
    sent(execute.clone(), "execute", &params);
    execute.on_disconnect = OnDisconnect::Cancel;
    execute.on_slow = OnSlow::Skip;
    execute.body.max_turns = Some(3);
    let own = format!(r#"{own},"maxTurns":3"#);
    let params = format!(r#"{{{own},"onDisconnect":"cancel","onSlow":"skip",{defaults}}}"#);
    sent(execute, "execute", &params);
}

#[test]
fn an_execute_is_read_with_defaults_and_command_instead_of_prompt() {
    for params in [
        json!({ "prompt": "p" }),
        json!({ "command": "p" }),
        json!({ "command": null, "prompt": "p", "executionId": null, "onSlow": null,
                "onDisconnect": null, "env": null }),
    ] {
        let execute: ExecuteParams = serde_json::from_value(params).unwrap();
        let expected = ExecuteParams {
            execution_id: None,
            ..ExecuteParams::body(Body::new("p"))
        };
        assert_eq!(execute, expected);
    }
    for (params, word) in [
        (json!({}), "prompt"),
        (json!({ "prompt": "p", "command": "c" }), "not both"),
        (json!({ "prompt": "p", "onSlow": "stop" }), "onSlow"),
        (json!({ "prompt": "p", "executionId": "x" }), "executionId"),
        (json!({ "prompt": "p", "colour": "red" }), "colour"),
    ] {
        let error = serde_json::from_value::<ExecuteParams>(params.clone()).unwrap_err();
        assert!(error.to_string().contains(word), "{params}: {error}");
    }
}

#[test]
fn requests_omit_absent_fields() {
    let execution_id = Some(id());
    let pause = ControlParams {
        control: Control::Pause,
        execution_id,
    };
    let about = format!(r#"{{"executionId":"{ID}"}}"#);
    sent(
        pause,
        "control",
        &format!(r#"{{"executionId":"{ID}","type":"PAUSE"}}"#),
    );
    let cancel = ControlParams {
        control: Control::Cancel,
        execution_id: None,
    };
    sent(cancel, "control", r#"{"type":"CANCEL"}"#);
    let attach = AttachParams::from_start(id());
    sent(
        attach,
        "attach",
        &format!(r#"{{"executionId":"{ID}","onSlow":"wait"}}"#),
    );
    let attach = AttachParams {
        offset: Some(4096),
        on_slow: OnSlow::Skip,
        ..attach
    };
    sent(
        attach,
        "attach",
        &format!(r#"{{"executionId":"{ID}","offset":4096,"onSlow":"skip"}}"#),
    );
    sent(DetachParams { execution_id: id() }, "detach", &about);
    sent(StatusParams { execution_id }, "status", &about);
    sent(StatusParams::default(), "status", "{}");
    sent(ListParams::default(), "list", "{}");
    let list = ListParams {
        limit: Some(1000),
        before: Some(id()),
        workspace: Some("shop".to_owned()),
    };
    sent(
        list,
        "list",
        &format!(r#"{{"before":"{ID}","limit":1000,"workspace":"shop"}}"#),
    );
    let events = EventsParams {
        execution_id: id(),
        offset: Some(1),
        max_bytes: Some(4),
    };
    sent(
        events,
        "events",
        &format!(r#"{{"executionId":"{ID}","maxBytes":4,"offset":1}}"#),
    );
    let input = InputParams {
        execution_id,
        offset: 0,
        data: "{}\n".to_owned(),
        eof: true,
    };
    sent(
        input,
        "input",
        &format!(r#"{{"data":"{{}}\n","eof":true,"executionId":"{ID}","offset":0}}"#),
    );
    sent(PingParams {}, "ping", "{}");
}

#[test]
fn a_request_with_the_id_null_is_not_a_notification() {
    let read = |text: &str| serde_json::from_str::<ClientMessage>(text).unwrap();
    let null = read(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#);
    assert_eq!(null.id, Some(RequestId::null()));
    let none = read(r#"{"jsonrpc":"2.0","method":"ping","params":null}"#);
    assert_eq!(none, ClientMessage::notification(PingParams {}));
    assert_eq!(
        none.to_json(),
        r#"{"jsonrpc":"2.0","method":"ping","params":{}}"#
    );
}

#[test]
fn an_id_keeps_its_json_text() {
    for text in [
        "1",
        "-0",
        "1e400",
        "10000000000000000000000001",
        r#""\u0061""#,
        "null",
    ] {
        assert_eq!(RequestId::from_json(text).unwrap().as_json(), text);
    }
    let long = format!("\"{}\"", "x".repeat(1023));
    for text in ["", "{}", "[1]", "true", "1 2", r#""\ud83d""#, &long] {
        assert_eq!(RequestId::from_json(text), Err(BadRequestId), "{text}");
    }
    assert_eq!(RequestId::from(7).as_u64(), Some(7));
    assert_eq!(RequestId::from("7").as_u64(), None);
}

#[test]
fn a_connected_has_the_capabilities_and_the_limits() {
    let connected = Connected {
        session_id: "5f0c".to_owned(),
        protocol: 1,
        version: "0.1.0".to_owned(),
        capabilities: Capabilities::all(),
        limits: None,
    };
    let capabilities = r#"{"batch":true,"control":["PAUSE","RESUME","CANCEL"],
        "formats":["text","events"],"input":true,
        "methods":["execute","control","attach","detach","status","list","events","input",
        "share","answer","ping"],
        "onDisconnect":["continue","cancel"],"onSlow":["wait","skip"]}"#;
    let params = |limits: &str| {
        let versions = r#""protocol":1,"version":"0.1.0""#;
        let session = format!(r#""sessionId":"5f0c",{versions}"#);
        format!(r#"{{"capabilities":{capabilities},"limits":{limits},{session}}}"#)
    };
    let message = ServerMessage::Connected(Box::new(connected.clone()));
    notified(&message, "connected", &params("null"));
    let limits = ConnectedLimits {
        limits: Limits::default(),
        views: 64,
    };
    let mut expected = serde_json::to_value(&limits.limits).unwrap();
    expected["views"] = 64.into();
    let message = ServerMessage::Connected(Box::new(Connected {
        limits: Some(limits),
        ..connected
    }));
    notified(&message, "connected", &params(&expected.to_string()));
}

#[test]
fn a_status_update_has_the_fields_of_the_status() {
    let fields = STATUS.strip_prefix('{').unwrap();
    let update = StatusUpdate {
        word: StatusWord::State(State::Queued),
        elapsed_ms: 1500,
        upstream: None,
        status: status(),
    };
    let params = format!(r#"{{"status":"QUEUED","elapsedMs":1500,{fields}"#);
    let message = ServerMessage::StatusUpdate(Box::new(update.clone()));
    notified(&message, "statusUpdate", &params);
    let update = StatusUpdate {
        word: StatusWord::Resumed,
        upstream: Some(Upstream::Unreachable),
        ..update
    };
    let params =
        format!(r#"{{"status":"RESUMED","elapsedMs":1500,"upstream":"unreachable",{fields}"#);
    let message = ServerMessage::StatusUpdate(Box::new(update));
    notified(&message, "statusUpdate", &params);
}

#[test]
fn a_status_update_within_a_limit_is_its_serde_form() {
    for upstream in [None, Some(Upstream::Unreachable)] {
        let status = status();
        let update = StatusUpdate {
            word: StatusWord::State(State::TimedOut),
            elapsed_ms: u64::MAX,
            upstream,
            status: &status,
        };
        assert_eq!(update.to_message_within(64 * 1024), update.to_message());
    }
}

#[test]
fn a_rejected_execute_has_a_json_rpc_error() {
    let error = RpcError::new(code::INVALID_PARAMS, "invalid_params", "m");
    let message = ServerMessage::RejectedExecute(Box::new(RejectedExecute::new(error)));
    let params = r#"{"error":{"code":-32602,"data":{"reason":"invalid_params"},"message":"m"},
        "reason":"rejected","status":"FAILED"}"#;
    notified(&message, "statusUpdate", params);
}

#[test]
fn an_output_has_its_offset_and_a_gap_its_bounds() {
    let output = Output::new(id(), 7, "a\n\u{20ac}\u{1}\u{2028}\"".to_owned());
    let params = format!(
        r#"{{"executionId":"{ID}","type":"stdout","offset":7,"content":"a\n€\u0001{}\""}}"#,
        '\u{2028}'
    );
    let expected = format!(r#"{{"jsonrpc":"2.0","method":"output","params":{params}}}"#);
    assert_eq!(
        output.to_message(),
        expected,
        "the handwritten encoder writes exactly these bytes"
    );
    notified(&ServerMessage::Output(output), "output", &params);
    let gap = Gap {
        execution_id: id(),
        from: 0,
        to: 4096,
    };
    let params = format!(r#"{{"executionId":"{ID}","from":0,"to":4096}}"#);
    notified(&ServerMessage::Gap(gap), "gap", &params);
}

#[test]
fn an_output_with_the_longest_escapes_fits_a_message() {
    let worst = "\u{1}".repeat(crate::OUTPUT_MESSAGE_BYTES);
    let text = Output::new(id(), u64::MAX, worst.as_str()).to_message();
    let length = text.len();
    assert!(length <= crate::SERVER_MESSAGE_BYTES, "{length}");
}

#[test]
fn a_notice_has_the_execution_that_it_concerns() {
    let notice = Notice {
        execution_id: Some(id()),
        code: "stalled".to_owned(),
        message: "m".to_owned(),
        data: json!({ "activity": null }),
    };
    let params = format!(
        r#"{{"code":"stalled","data":{{"activity":null}},"executionId":"{ID}","message":"m"}}"#
    );
    notified(&ServerMessage::Notice(Box::new(notice)), "notice", &params);
    let notice = Notice {
        execution_id: None,
        code: "upstream_unreachable".to_owned(),
        message: "m".to_owned(),
        data: Value::Null,
    };
    let params = r#"{"code":"upstream_unreachable","data":null,"message":"m"}"#;
    notified(&ServerMessage::Notice(Box::new(notice)), "notice", params);
}

#[test]
fn each_method_has_its_result() {
    answered(status(), STATUS);
    answered(Empty {}, "{}");
    answered(Accepted { accepted: 63 }, r#"{"accepted":63}"#);
    let page = Page {
        executions: vec![status()],
        next: None,
    };
    answered(page, &format!(r#"{{"executions":[{STATUS}],"next":null}}"#));
    let events = Events {
        execution_id: id(),
        offset: 1,
        text: "{}\n".to_owned(),
        next_offset: 4,
        ended: false,
    };
    let expected = format!(
        r#"{{"ended":false,"executionId":"{ID}","nextOffset":4,"offset":1,"text":"{{}}\n"}}"#
    );
    answered(events, &expected);
}

#[test]
fn errors_and_batches_are_replies() {
    let error = RpcError::new(code::OFFSET_NOT_KEPT, "offset_not_kept", "m").with("keptFrom", 4096);
    let expected = r#"{"id":"a","jsonrpc":"2.0","error":{"code":-32007,
        "data":{"keptFrom":4096,"reason":"offset_not_kept"},"message":"m"}}"#;
    let refused: Reply = Reply::error("a", error.clone());
    received(&ServerMessage::Reply(refused.clone()), expected);
    let result = Reply::result(1, JsonText::parse("{}").unwrap());
    let batch = ServerMessage::Batch(vec![refused, result]);
    let both = format!(r#"[{expected},{{"jsonrpc":"2.0","id":1,"result":{{}}}}]"#);
    received(&batch, &both);
    let unknown: Reply = Reply::error(RequestId::null(), error);
    let expected = expected.replace(r#""a""#, "null");
    received(&ServerMessage::Reply(unknown), &expected);
}

#[test]
fn a_client_ignores_unknown_fields_and_methods() {
    let params = format!(r#"{{"executionId":"{ID}","from":0,"to":1,"why":"x"}}"#);
    let gap = format!(r#"{{"jsonrpc":"2.0","method":"gap","more":1,"params":{params}}}"#);
    assert!(matches!(
        ServerMessage::from_json(&gap),
        Ok(ServerMessage::Gap(_))
    ));
    let limits =
        r#""capabilities":{"batch":true,"later":1},"limits":{"messageBytes":7,"later":{}}"#;
    let params = format!(r#"{{"sessionId":"s","protocol":1,{limits},"later":[]}}"#);
    let connected = format!(r#"{{"jsonrpc":"2.0","method":"connected","params":{params}}}"#);
    let Ok(ServerMessage::Connected(connected)) = ServerMessage::from_json(&connected) else {
        panic!("no connected");
    };
    assert!(connected.capabilities.batch && connected.capabilities.methods.is_empty());
    let limits = connected.limits.unwrap();
    assert_eq!((limits.limits.message_bytes, limits.views), (7, 64));
    let later = r#"{"jsonrpc":"2.0","method":"later","params":[1]}"#;
    assert!(matches!(
        ServerMessage::from_json(later),
        Ok(ServerMessage::Other(_))
    ));
    for broken in [
        "nonsense",
        r#"{"jsonrpc":"2.0","method":"output","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":{},"result":{}}"#,
    ] {
        assert!(ServerMessage::from_json(broken).is_err(), "{broken}");
    }
}

#[test]
fn an_invalid_request_is_refused() {
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"sing"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"list","params":{"limit":-1}}"#,
    ] {
        assert!(
            serde_json::from_str::<ClientMessage>(text).is_err(),
            "{text}"
        );
    }
}
