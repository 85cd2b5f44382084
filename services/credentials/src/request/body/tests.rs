use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Checks a body that arrives in pieces of this size. Returns the status of the refusal, or 200.
fn check(body: &[u8], piece: usize, allowed: &[Field]) -> u16 {
    let mut check = BodyCheck::new(&allowed.iter().copied().collect());
    let pushed = body.chunks(piece).try_for_each(|piece| check.push(piece));
    match pushed.and_then(|()| check.finish()) {
        Ok(()) => 200,
        Err(refusal) => refusal.status.as_u16(),
    }
}

#[test]
fn members_beyond_the_request_are_refused() {
    for (body, expected) in [
        (r#"{"model":"m","messages":[]}"#, 200),
        (r#"{}"#, 200),
        (r#"{"container":"c"}"#, 403),
        (r#"{ "a": [], "container" : null }"#, 403),
        (r#"{"mcp_servers":[]}"#, 403),
        (r#"{"MCP_Servers":[]}"#, 403),
        (r#"{"\u0063ontainer":1}"#, 403),
        (r#"{"\u0043ONTAINER":1}"#, 403),
        ("{\"mcp_\u{17f}ervers\":1}", 403),
        (r#"{"mcp_\u017fervers":1}"#, 403),
        (r#"{"a":{"container":1,"mcp_servers":2}}"#, 200),
        (r#"{"a":[{"container":1}]}"#, 200),
        (r#"{"a":"container","b":["mcp_servers","file_id"]}"#, 200),
        (r#"{"a":"{\"container\":1}"}"#, 200),
        (r#"{"file_id":1}"#, 403),
        (
            r#"{"messages":[{"content":[{"source":{"file_id":"f"}}]}]}"#,
            403,
        ),
        (
            r#"{"messages":[{"content":[{"source":{"file\u005fid":"f"}}]}]}"#,
            403,
        ),
        (r#"{"file_ids":1,"xfile_id":2}"#, 200),
        (r#"{"a":1,"a":{"file_id":"f"}}"#, 403),
        // A tool with a parameter of that name, and its use.
        (
            r#"{"tools":[{"name":"t","input_schema":{"properties":{"file_id":{}}}}]}"#,
            200,
        ),
        (
            r#"{"messages":[{"content":[{"type":"tool_use","input":{"a":[{"file_id":"f"}]}}]}]}"#,
            200,
        ),
        (r#"{"tools":[{"file_id":1,"input_schema":{}}]}"#, 403),
        (
            r#"{"tools":[{"input_schema":{}},{"input_schema":[],"file_id":1}]}"#,
            403,
        ),
        (r#"{"tools":{"input_schema":{"file_id":1}}}"#, 403),
        (r#"{"a":{"tools":[{"input_schema":{"file_id":1}}]}}"#, 403),
        (
            r#"{"messages":[{"content":[{"input":{}},{"file_id":"f"}]}]}"#,
            403,
        ),
        (
            r#"{"messages":[{"content":[{"content":[{"input":{"file_id":"f"}}]}]}]}"#,
            403,
        ),
        (r#"{"messages":[{"input":{"file_id":"f"}}]}"#, 403),
        (
            r#"{"tools":[{"input_schema":{"container":1}}],"container":1}"#,
            403,
        ),
    ] {
        for piece in [1, 2, 7, 4096] {
            assert_eq!(
                check(body.as_bytes(), piece, &[]),
                expected,
                "{body} by {piece}"
            );
        }
    }
}

#[test]
fn members_that_the_operator_allows_pass() {
    let body = br#"{"container":1,"mcp_servers":2,"a":{"file_id":3}}"#;
    assert_eq!(check(body, 9, &Field::ALL), 200);
    assert_eq!(check(body, 9, &[Field::Container, Field::McpServers]), 403);
    assert_eq!("file_id".parse(), Ok(Field::FileId));
    assert_eq!("file".parse::<Field>(), Err(UnknownField));
}

#[test]
fn a_body_that_is_no_json_object_is_refused() {
    let utf16: Vec<u8> = r#"{"container":1}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let deep = [&b"{\"a\":"[..], &b"[".repeat(600)].concat();
    for body in [
        &b""[..],
        b"[]",
        b"1",
        b"\"a\"",
        b"null",
        b"{",
        b"{\"a\":1",
        b"{\"a\":1}}",
        b"{\"a\":1}{}",
        b"{\"a\":1},",
        b"{a:1}",
        b"{'a':1}",
        b"{\"a\":1,}",
        b"{\"a\":01}",
        b"{\"a\":NaN}",
        b"{\"a\":1}//",
        b"/**/{}",
        b"\xef\xbb\xbf{}",
        b"{\"a\xff\":1}",
        b"{\"a\xc0\xa3\":1}",
        b"{\"a\":\"\n\"}",
        b"{\"\\x\":1}",
        &utf16,
        &deep,
    ] {
        assert_eq!(
            check(body, 5, &[]),
            400,
            "{}",
            String::from_utf8_lossy(body)
        );
    }
}

/// The last byte of a body with a refused member never passes.
#[test]
fn a_refusal_precedes_the_end_of_the_body() {
    let body = br#"{"a":1,"container":{}}"#;
    let mut check = BodyCheck::new(&BTreeSet::new());
    let passed = body.iter().position(|byte| check.push(&[*byte]).is_err());
    assert_eq!(passed, Some(br#"{"a":1,"container"#.len()));
}

/// Returns values in which refused names occur often.
fn values() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "a",
        "container",
        "Container",
        "mcp_servers",
        "file_id",
        "\u{e9}\"\\",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let names = names.clone();
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..4).prop_map(|members| {
                let owned = members.into_iter().map(|(n, v)| (n.to_owned(), v));
                Value::Object(owned.collect())
            }),
        ]
    })
}

fn has_refused(value: &Value, depth: usize) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, value)| {
            let name = name.to_lowercase();
            name == "file_id"
                || (depth == 1 && (name == "container" || name == "mcp_servers"))
                || has_refused(value, depth + 1)
        }),
        Value::Array(elements) => elements.iter().any(|value| has_refused(value, depth + 1)),
        _ => false,
    }
}

proptest! {
    #[test]
    fn the_check_agrees_with_a_parser(value in values(), piece in 1..40_usize, pretty: bool) {
        let body = json!({"x": value.clone(), "y": 1});
        let whole = if value.is_object() { value } else { body };
        let text = if pretty {
            serde_json::to_string_pretty(&whole).unwrap()
        } else {
            whole.to_string()
        };
        let expected = if has_refused(&whole, 1) { 403 } else { 200 };
        prop_assert_eq!(check(text.as_bytes(), piece, &[]), expected, "{}", text);
    }

    #[test]
    fn damaged_json_passes_only_if_a_parser_accepts_it(
        value in values(), at: prop::sample::Index, byte: u8, piece in 1..40_usize,
    ) {
        let mut body = json!({"x": value}).to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        let passed = check(&body, piece, &Field::ALL) == 200;
        let is_object = serde_json::from_slice::<Value>(&body).is_ok_and(|v| v.is_object());
        // serde_json refuses lone surrogates, numbers beyond its range and depth beyond 128.
        prop_assert!(passed || !is_object, "{}", String::from_utf8_lossy(&body));
        if passed && !is_object {
            let error = serde_json::from_slice::<Value>(&body).unwrap_err().to_string();
            let known = error.contains("surrogate") || error.contains("out of range")
                || error.contains("hex escape");
            prop_assert!(known, "{error}: {}", String::from_utf8_lossy(&body));
        }
    }
}

#[test]
fn the_model_and_the_speed_of_a_body_are_read() {
    let price = |body: &str| {
        let mut check = BodyCheck::new(&BTreeSet::new());
        for piece in body.as_bytes().chunks(3) {
            check.push(piece).unwrap();
        }
        check.finish().unwrap();
        let PriceFacts { model, is_fast, .. } = check.price().clone();
        (model, is_fast)
    };
    let model = |name: &str| Some(name.to_owned());
    for (body, expected) in [
        (r#"{"model":"a","speed":"fast"}"#, (model("a"), true)),
        (
            r#"{"speed":"standard","model":"\u0061"}"#,
            (model("a"), false),
        ),
        (r#"{"x":{"model":"a","speed":"fast"}}"#, (None, false)),
        (r#"{"model":"a","model":"b"}"#, (None, false)),
        (r#"{"model":1}"#, (None, false)),
    ] {
        assert_eq!(price(body), expected, "{body}");
    }
}
