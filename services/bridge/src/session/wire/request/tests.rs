use protocol::rpc::{OnDisconnect, OnSlow};

use super::*;

fn single(text: &str) -> Entry {
    match parse(text, 50, None) {
        ParsedMessage::Single(entry) => entry,
        other => panic!("{other:?}"),
    }
}

fn refused(method: &str, params: &str) -> (i64, Value) {
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let entry = single(&text);
    assert_eq!(entry.id.as_deref(), Some("1"));
    match entry.request {
        Err(refusal) => (refusal.error.code, refusal.error.data),
        Ok(request) => panic!("{request:?}"),
    }
}

#[test]
fn a_text_that_is_not_json_is_refused() {
    for text in [
        "",
        "{",
        "nonsense",
        r#"{"a":"\ud83d"}"#,
        r#"["\udc00"]"#,
        "1 2",
    ] {
        match parse(text, 50, None) {
            ParsedMessage::Unreadable(error) => assert_eq!(error.code, -32700, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn json_that_is_not_a_request_is_refused() {
    for text in [
        "1",
        "\"x\"",
        "null",
        "{}",
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
        r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":7}"#,
    ] {
        let entry = single(text);
        assert!(entry.id.is_some(), "{text}: the request has an answer");
        assert_eq!(entry.request.unwrap_err().error.code, -32600, "{text}");
    }
}

#[test]
fn an_empty_or_too_long_batch_is_refused() {
    for (text, reason) in [("[]", "empty_batch"), ("[1,2,3]", "batch_too_long")] {
        match parse(text, 2, None) {
            ParsedMessage::Unreadable(error) => {
                assert_eq!(error.code, -32600);
                assert_eq!(error.data["reason"], reason);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(parse("[1,2]", 2, None), ParsedMessage::Batch(entries) if entries.len() == 2));
}

#[test]
fn wrong_parameters_are_refused_with_their_code_and_execution() {
    for (method, params, code) in [
        ("execute", "{}", -32602),
        ("execute", r#"["x"]"#, -32602),
        ("execute", r#"{"prompt":"a","command":"b"}"#, -32602),
        ("execute", r#"{"prompt":7}"#, -32602),
        ("execute", r#"{"prompt":" \n"}"#, -32602),
        ("execute", r#"{"prompt":"a","color":"red"}"#, -32602),
        ("execute", r#"{"prompt":"a","executionId":"x"}"#, -32602),
        ("execute", r#"{"prompt":"a","onSlow":"run"}"#, -32602),
        (
            "execute",
            r#"{"prompt":"a","onDisconnect":"Cancel"}"#,
            -32602,
        ),
        ("execute", r#"{"prompt":"a","workspace":"../x"}"#, -32602),
        (
            "execute",
            r#"{"prompt":"a","env":{"LD_PRELOAD":"x"}}"#,
            -32002,
        ),
        ("control", "{}", -32602),
        ("control", r#"{"type":"KILL"}"#, -32602),
        ("control", r#"{"type":"CANCEL","signal":9}"#, -32602),
        ("attach", "{}", -32602),
        (
            "attach",
            r#"{"executionId":"018f4e2a-7b3c-7def-8123-456789abcdef","offset":-1}"#,
            -32602,
        ),
        ("detach", "{}", -32602),
        ("list", r#"{"limit":0}"#, -32602),
        ("list", r#"{"limit":1001}"#, -32602),
        ("events", "{}", -32602),
        (
            "events",
            r#"{"executionId":"018f4e2a-7b3c-7def-8123-456789abcdef","offset":-1}"#,
            -32602,
        ),
        (
            "events",
            r#"{"executionId":"018f4e2a-7b3c-7def-8123-456789abcdef","maxBytes":3}"#,
            -32602,
        ),
        (
            "events",
            r#"{"executionId":"018f4e2a-7b3c-7def-8123-456789abcdef","maxBytes":524289}"#,
            -32602,
        ),
        ("share", "{}", -32602),
        (
            "share",
            r#"{"executionId":"018f4e2a-7b3c-7def-8123-456789abcdef","role":"admin"}"#,
            -32602,
        ),
        (
            "share",
            r#"{"executionId":"018f4e2a-7b3c-7def-8123-456789abcdef","expiresSeconds":0}"#,
            -32602,
        ),
        (
            "share",
            r#"{"executionId":"018f4e2a-7b3c-7def-8123-456789abcdef","expiresSeconds":2592001}"#,
            -32602,
        ),
        ("answer", "{}", -32602),
        (
            "answer",
            r#"{"executionId":"018f4e2a-7b3c-7def-8123-456789abcdef",
                "questionId":"x","decision":"allow"}"#,
            -32602,
        ),
        (
            "answer",
            r#"{"executionId":"018f4e2a-7b3c-7def-8123-456789abcdef",
                "questionId":"018f4e2a-7b3c-7def-8123-456789abcdef","decision":"maybe"}"#,
            -32602,
        ),
        (
            "answer",
            r#"{"executionId":"018f4e2a-7b3c-7def-8123-456789abcdef",
                "questionId":"018f4e2a-7b3c-7def-8123-456789abcdef","decision":"deny","scope":1}"#,
            -32602,
        ),
        ("ping", r#"{"a":1}"#, -32602),
        ("input", r#"{"offset":0}"#, -32602),
        ("input", r#"{"offset":-1,"data":""}"#, -32602),
        ("input", r#"{"offset":0,"data":"","eof":1}"#, -32602),
        ("run", "{}", -32601),
    ] {
        let (got, data) = refused(method, params);
        assert_eq!(got, code, "{method} {params}");
        assert!(data["reason"].is_string());
        assert_eq!(
            data.get("executionId").is_some(),
            method == "execute" && params != r#"["x"]"#
        );
    }
}

#[test]
fn the_parameters_of_an_execute_are_read() {
    let id = "018F4E2A-7B3C-7DEF-8123-456789ABCDEF";
    let text = format!(
        r#"{{"jsonrpc":"2.0","method":"execute","params":{{"command":"--x","executionId":"{id}",
            "onDisconnect":"cancel","onSlow":"skip","format":"events","prompt":null}}}}"#
    );
    let entry = single(&text);
    assert_eq!(entry.id, None);
    let Ok(Request::Execute(execute)) = entry.request else {
        panic!("refused")
    };
    assert_eq!(execute.id.to_string(), id.to_lowercase());
    assert_eq!(execute.body.prompt, "--x");
    assert_eq!(execute.on_disconnect, OnDisconnect::Cancel);
    assert_eq!(execute.on_slow, OnSlow::Skip);
    assert!(!execute.fresh);
}

#[test]
fn known_limits_of_claude_api_are_checked() {
    let limits = Limits {
        prompt_bytes: 3,
        ..Limits::default()
    };
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"execute","params":{"prompt":"abcd"}}"#;
    let ParsedMessage::Single(entry) = parse(text, 50, Some(&limits)) else {
        panic!("no single")
    };
    assert_eq!(entry.request.unwrap_err().error.data["limit"], 3);
    assert!(single(text).request.is_ok());
}

#[test]
fn an_id_is_returned_exactly_as_sent() {
    for id in [
        "12345678901234567890123",
        "-1.50",
        "0.1234567890123456789012345",
        "1E2",
        "1e400",
        "-1e999",
        "null",
        r#""a\u00e9""#,
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let entry = single(&text);
        assert_eq!(entry.id.as_deref(), Some(id));
        assert!(entry.request.is_ok());
    }
    let long = "1".repeat(2000);
    for id in ["[]", "true", &long] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let entry = single(&text);
        assert_eq!(entry.id.as_deref(), Some("null"));
        assert_eq!(entry.request.unwrap_err().error.code, -32600);
    }
}

#[test]
fn the_refusal_of_an_execute_names_its_method_even_without_an_id() {
    for params in ["7", "\"x\"", "[1]", "true", r#"{"prompt":7}"#] {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"execute","params":{params}}}"#);
        let entry = single(&text);
        assert_eq!(
            entry.id, None,
            "{params}: a request without an id is a notification"
        );
        assert_eq!(
            entry.request.unwrap_err().method.as_deref(),
            Some("execute")
        );
    }
}

#[test]
fn a_lone_surrogate_anywhere_is_a_parse_error() {
    for text in [
        r#"{"jsonrpc":"2.0","id":"\ud83d","method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"\ud83d"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":["\ud83d"]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","x":{"\ud83d":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","x":"\ud83d","x":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":["\ud83d"],"x":1}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"\ud83d":1}]"#,
    ] {
        assert!(
            matches!(parse(text, 50, None), ParsedMessage::Unreadable(e) if e.code == -32700),
            "{text}"
        );
    }
}

/// A number that is too large for Rust's types is still JSON.
#[test]
fn a_number_out_of_range_is_no_parse_error() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"list","params":{"limit":1e400}}"#;
    assert_eq!(single(text).request.unwrap_err().error.code, -32602);
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":[{"y":1e400}]}}"#;
    assert_eq!(single(text).request.unwrap_err().error.code, -32602);
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"ping","x":1e400}"#;
    assert_eq!(single(text).request.unwrap_err().error.code, -32600);
    assert_eq!(single("1e400").request.unwrap_err().error.code, -32600);
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":[1e400,"\ud83d"]}}"#;
    assert!(matches!(parse(text, 50, None), ParsedMessage::Unreadable(e) if e.code == -32700));
}

#[test]
fn a_member_given_twice_is_refused() {
    for params in [
        r#"{"prompt":"a","prompt":"b"}"#,
        r#"{"prompt":"a","prompt":"a"}"#,
        r#"{"prompt":"a","metadata":{"k":"1","k":"2"}}"#,
        r#"{"prompt":"a","env":{"A":"1","\u0041":"2"}}"#,
    ] {
        let (code, data) = refused("execute", params);
        assert_eq!(
            (code, &data["reason"]),
            (-32602, &"invalid_params".into()),
            "{params}"
        );
    }
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{},"params":{}}"#,
    ] {
        let refusal = single(text).request.unwrap_err();
        assert_eq!(refusal.error.code, -32600, "{text}");
        assert!(
            refusal.error.message.contains("twice"),
            "{}",
            refusal.error.message
        );
    }
}
