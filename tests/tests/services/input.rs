//! `input`: several turns, offsets, bad lines, backpressure, control requests, the end of stdin.

use std::time::Duration;

use cc_tests::{
    harness::{Stack, StackOptions},
    http::Http,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{accept, assert_problem, ended, id, path, send, until};

type Answer = (u16, reqwest::header::HeaderMap, Value);

/// Returns an input line with a prompt.
fn message(prompt: &str) -> String {
    let line = json!({"type": "user", "message": {"role": "user", "content": prompt}});
    format!("{line}\n")
}

fn control(subtype: &str) -> String {
    let request = json!({"subtype": subtype});
    let line = json!({"type": "control_request", "request_id": "r1", "request": request});
    format!("{line}\n")
}

async fn post(http: &Http, id: &str, query: &str, lines: &str) -> Answer {
    let path = path(id, &format!("/input?{query}"));
    send(http, Method::POST, &path, lines.to_owned()).await
}

#[track_caller]
fn accepted_bytes(answer: &Answer) -> u64 {
    assert_eq!(answer.0, 200, "{answer:?}");
    answer.2["accepted"].as_u64().expect("a total")
}

async fn start(http: &Http, prompt: &str, more: Value) -> String {
    let id = id();
    let mut extra = json!({"input": "stream"});
    if let (Value::Object(extra), Value::Object(more)) = (&mut extra, more) {
        extra.extend(more);
    }
    accept(http, &id, prompt, extra).await;
    id
}

/// Waits for `bytes` bytes of output.
async fn wait_output(http: &Http, id: &str, bytes: u64) {
    until(http, id, "so far", |status| {
        status["outputBytes"]
            .as_u64()
            .is_some_and(|now| now >= bytes)
    })
    .await;
}

#[tokio::test]
async fn the_last_result_of_several_turns_decides_the_state() {
    let stack = Stack::start().await;
    let http = stack.http();
    let id = start(&http, "@say one", json!({})).await;
    let second = message("@say two\n@result error");
    let total = accepted_bytes(&post(&http, &id, "offset=0", &second).await);
    assert_eq!(total, second.len() as u64);
    // A repetition, then a repetition with the next line: each byte counts once.
    assert_eq!(
        accepted_bytes(&post(&http, &id, "offset=0", &second).await),
        total
    );
    let third = message("@recall");
    let both = format!("{second}{third}");
    let total = accepted_bytes(&post(&http, &id, "offset=0", &both).await);
    assert_eq!(total, both.len() as u64);
    let hole = post(&http, &id, &format!("offset={}", total + 1), &third).await;
    assert_problem(&hole, 409, "input-hole", "a hole");
    assert_eq!(hole.2["accepted"], total);
    let end = format!("offset={total}&eof=true");
    assert_eq!(accepted_bytes(&post(&http, &id, &end, "").await), total);
    let status = ended(&http, &id).await;
    assert_eq!(
        (&status["state"], &status["reason"], &status["exitCode"]),
        (&json!("completed"), &json!(null), &json!(0)),
        "{status}"
    );
    let output = http.output(&id, 0).await.expect("an output");
    output.assert_whole("completed");
    let text = String::from_utf8_lossy(&output.bytes).into_owned();
    assert_eq!(text, "one\n\ntwo\n\nturns=2 first=@say one");
    assert_eq!(stack.spawns(&id), 1);
    let late = post(&http, &id, &format!("offset={total}"), &third).await;
    assert_problem(&late, 409, "wrong-state", "a terminal execution");
    assert_eq!(late.2["state"], "completed");
    stack.assert_quiet();
}

#[tokio::test]
async fn input_lines_may_be_split_anywhere_and_later_messages_are_verbatim() {
    let stack = Stack::start().await;
    let http = stack.http();
    let id = start(&http, "@say one", json!({})).await;
    let line = message("/cost");
    let (head, tail) = line.split_at(17);
    let at = accepted_bytes(&post(&http, &id, "offset=0", head).await);
    assert_eq!(at, 17);
    // The last line needs no newline when nothing follows.
    let query = format!("offset={at}&eof=true");
    accepted_bytes(&post(&http, &id, &query, tail.trim_end()).await);
    assert_eq!(ended(&http, &id).await["state"], "completed");
    let output = http.output(&id, 0).await.expect("an output").bytes;
    let text = String::from_utf8_lossy(&output);
    assert_eq!(text, "one\n\nA stand-in's answer to a prompt of 5 bytes.");
    stack.assert_quiet();
}

#[tokio::test]
async fn a_forbidden_line_refuses_the_whole_input_request() {
    let stack = Stack::with(StackOptions::default().api("--prompt-bytes=2000")).await;
    let http = stack.http();
    let id = start(&http, "@say one", json!({})).await;
    let good = message("@say never");
    for bad in [
        "no json\n",
        "{\"type\":\"assistant\"}\n",
        "{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":\" \"}}\n",
    ] {
        let answer = post(&http, &id, "offset=0", &format!("{good}{bad}")).await;
        assert_problem(&answer, 400, "invalid-body", bad);
        assert_eq!(answer.2["accepted"], 0, "{bad}");
    }
    let answer = post(&http, &id, "offset=0", &control("set_permission_mode")).await;
    assert_problem(&answer, 403, "not-allowed", "a control request");
    let answer = post(&http, &id, "offset=0", &message(&"x".repeat(2001))).await;
    assert_problem(&answer, 413, "too-large", "a large message");
    for query in ["", "eof=true", "offset=x", "offset=0&eof=1", "offset=0&x=1"] {
        let answer = post(&http, &id, query, &good).await;
        assert_problem(&answer, 400, "invalid-query", query);
    }
    let unknown = post(&http, &crate::support::id(), "offset=0", &good).await;
    assert_problem(&unknown, 404, "not-found", "an unknown execution");
    accepted_bytes(&post(&http, &id, "offset=0&eof=true", "").await);
    let after = post(&http, &id, "offset=0", &good).await;
    assert_eq!(after.0, 409, "{after:?}");
    assert_eq!(ended(&http, &id).await["state"], "completed");
    let output = http.output(&id, 0).await.expect("an output").bytes;
    assert_eq!(
        output, b"one",
        "a part of a refused request reached the CLI"
    );
    stack.assert_quiet();
}

#[tokio::test]
async fn only_a_running_execution_with_an_input_stream_accepts_input() {
    let stack = Stack::start().await;
    let http = stack.http();
    let plain = id();
    accept(&http, &plain, "@tool 60", json!({"lane": "l"})).await;
    let answer = post(&http, &plain, "offset=0", &message("x")).await;
    assert_problem(&answer, 409, "wrong-state", "without an input stream");
    let queued = start(&http, "@say one", json!({"lane": "l"})).await;
    let answer = post(&http, &queued, "offset=0", &message("x")).await;
    assert_problem(&answer, 409, "wrong-state", "queued");
    assert_eq!(answer.2["state"], "queued");
    // Input for an execution that soon leaves the queue waits until it runs.
    let (cancelled, answer) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            send(&http, Method::POST, &path(&plain, "/cancel"), "").await
        },
        post(&http, &queued, "offset=0&eof=true", "")
    );
    assert_eq!((cancelled.0, accepted_bytes(&answer)), (200, 0));
    assert_eq!(ended(&http, &queued).await["state"], "completed");
    stack.assert_quiet();
}

#[tokio::test]
async fn input_for_a_cli_that_does_not_read_is_refused_when_the_buffer_is_full() {
    let stack = Stack::with(StackOptions::default().api("--prompt-bytes=20000")).await;
    let http = stack.http();
    let id = start(&http, "@say one\n@tool 60", json!({})).await;
    wait_output(&http, &id, 3).await;
    let lines = message(&"x".repeat(18_000));
    let mut total = 0;
    let full = loop {
        let answer = post(&http, &id, &format!("offset={total}"), &lines).await;
        if answer.0 != 200 {
            break answer;
        }
        total = accepted_bytes(&answer);
        assert!(total < 1 << 20, "the buffer has no limit");
    };
    assert_problem(&full, 503, "input-full", "a full buffer");
    assert_eq!(full.2["accepted"], total);
    assert!(full.1.contains_key("retry-after"));
    send(&http, Method::POST, &path(&id, "/cancel"), "").await;
    assert_eq!(ended(&http, &id).await["state"], "cancelled");
    stack.assert_nothing_left(&id).await;
    stack.assert_quiet();
}

#[tokio::test]
async fn a_paused_execution_accepts_input_and_reads_it_later() {
    let stack = Stack::start().await;
    let http = stack.http();
    let id = start(&http, "@say one", json!({})).await;
    wait_output(&http, &id, 3).await;
    send(&http, Method::POST, &path(&id, "/pause"), "").await;
    until(&http, &id, "paused", |s| s["state"] == "paused").await;
    let line = message("@say two");
    accepted_bytes(&post(&http, &id, "offset=0&eof=true", &line).await);
    let status = http.status(&id).await.expect("a status");
    assert_eq!(
        (&status["state"], &status["outputBytes"]),
        (&json!("paused"), &json!(3))
    );
    send(&http, Method::POST, &path(&id, "/resume"), "").await;
    assert_eq!(ended(&http, &id).await["state"], "completed");
    let output = http.output(&id, 0).await.expect("an output").bytes;
    assert_eq!(String::from_utf8_lossy(&output), "one\n\ntwo");
    stack.assert_quiet();
}

#[tokio::test]
async fn the_linger_grace_does_not_begin_while_stdin_is_open() {
    let stack = Stack::with(StackOptions::default().api("--linger-ms=300")).await;
    let http = stack.http();
    let id = start(&http, "@say one", json!({})).await;
    wait_output(&http, &id, 3).await;
    // Three times the grace.
    tokio::time::sleep(Duration::from_millis(900)).await;
    let line = message("@say two\n@linger 60");
    accepted_bytes(&post(&http, &id, "offset=0&eof=true", &line).await);
    let status = ended(&http, &id).await;
    assert_eq!(
        (&status["state"], &status["reason"], &status["outputBytes"]),
        (&json!("completed"), &json!("lingered"), &json!(8)),
        "{status}"
    );
    stack.assert_nothing_left(&id).await;
    stack.assert_quiet();
}

#[tokio::test]
async fn control_requests_reach_the_cli_and_are_answered_in_its_events() {
    let stack = Stack::start().await;
    let http = stack.http();
    let id = start(&http, "@say one", json!({"format": "events"})).await;
    let lines = format!("{}{}", control("interrupt"), control("end_session"));
    accepted_bytes(&post(&http, &id, "offset=0", &lines).await);
    // The end of the session closes stdin; the client did not.
    let status = ended(&http, &id).await;
    assert_eq!(
        (&status["state"], &status["exitCode"]),
        (&json!("completed"), &json!(0)),
        "{status}"
    );
    let output = http.output(&id, 0).await.expect("an output").bytes;
    let answers = String::from_utf8_lossy(&output)
        .lines()
        .filter(|line| line.contains("control_response"))
        .count();
    assert_eq!(answers, 2);
    stack.assert_quiet();
}

#[tokio::test]
async fn input_over_the_websocket_is_accepted_in_order_and_once() {
    let stack = Stack::with(StackOptions::default().proxies()).await;
    let mut client = stack.client().await;
    let body = json!({"prompt": "@say one", "input": "stream"});
    let status = client.call("execute", body).await.expect("accepted");
    let id = status["executionId"].as_str().expect("an id").to_owned();
    let lines = [message("@say two \u{e9}"), message("@say three")];
    let total = lines[0].len() as u64;
    let first = json!({"offset": 0, "data": lines[0]});
    let accepted = client.call("input", first.clone()).await.expect("accepted");
    assert_eq!(accepted, json!({"accepted": total}));
    let repeated = client.call("input", first).await.expect("accepted before");
    assert_eq!(repeated, json!({"accepted": total}));
    let hole = json!({"executionId": id, "offset": total + 1, "data": lines[1]});
    let error = client.call("input", hole).await.expect_err("a hole");
    assert_eq!(
        (&error["code"], &error["data"]["accepted"]),
        (&json!(-32602), &json!(total)),
        "{error}"
    );
    let bad = json!({"offset": total, "data": "nonsense\n"});
    let error = client.call("input", bad).await.expect_err("a bad line");
    assert_eq!(error["code"], -32602, "{error}");
    // The connection breaks: the bridge sends the input again, and it counts once.
    stack
        .middle
        .as_ref()
        .expect("a proxy between the services")
        .cut_now(cc_tests::faults::Cut::Reset);
    let last = json!({"executionId": id, "offset": total, "data": lines[1], "eof": true});
    client.call("input", last).await.expect("accepted");
    let (output, end) = client.wait_terminal(&id).await;
    assert_eq!(end["status"], "COMPLETED", "{end}");
    assert_eq!(
        String::from_utf8_lossy(&output),
        "one\n\ntwo \u{e9}\n\nthree"
    );
    let late = json!({"executionId": id, "offset": 0, "data": lines[0]});
    let error = client.call("input", late).await.expect_err("it has ended");
    assert_eq!(
        (&error["code"], &error["data"]["state"]),
        (&json!(-32008), &json!("completed")),
        "{error}"
    );
    client.finish().await;
    stack.assert_quiet();
}

/// Returns an input line with a picture of `bytes` bytes.
fn picture(bytes: usize) -> String {
    let data = "QUJD".repeat(bytes.div_ceil(3));
    let source = json!({"type": "base64", "media_type": "image/png", "data": data});
    let content =
        json!([{"type": "text", "text": "@say seen"}, {"type": "image", "source": source}]);
    format!(
        "{}\n",
        json!({"type": "user", "message": {"role": "user", "content": content}})
    )
}

/// The limit counts a message's text and the bytes of its pictures, not their
/// encoding. A larger message gets one refusal that names the limit, no part of it is kept, and the
/// next line works.
#[tokio::test]
async fn a_picture_over_the_limit_is_refused_once_and_the_next_line_works() {
    let stack = Stack::with(StackOptions::default().api("--prompt-bytes=300000")).await;
    let http = stack.http();
    let id = start(&http, "@say one", json!({})).await;
    // A quarter longer in base64 than the limit.
    let fits = picture(297_000);
    let mut total = accepted_bytes(&post(&http, &id, "offset=0", &fits).await);
    assert_eq!(total, fits.len() as u64);
    let at = |total: u64| format!("offset={total}");
    for over in [picture(303_000), picture(3_000_000)] {
        let answer = post(&http, &id, &at(total), &over).await;
        assert_problem(&answer, 413, "too-large", "a large picture");
        let detail = answer.2["detail"].as_str().expect("a text");
        assert!(detail.contains("300000"), "{detail}");
        assert!(!detail.contains("rest"), "{detail}");
        assert_eq!(answer.2["accepted"], total, "{detail}");
        let next = message("@say two");
        total = accepted_bytes(&post(&http, &id, &at(total), &next).await);
    }
    // In pieces: the accepted pieces are dropped when the line becomes too long.
    let long = picture(3_000_000);
    let mut rest = long.as_str();
    let start_of_line = total;
    let refused = loop {
        let (piece, more) = rest.split_at(rest.len().min(400_000));
        let answer = post(&http, &id, &at(total), piece).await;
        if answer.0 != 200 {
            break answer;
        }
        total = accepted_bytes(&answer);
        rest = more;
        assert!(!rest.is_empty(), "the whole picture was accepted");
    };
    assert_problem(&refused, 413, "too-large", "a large picture in pieces");
    assert_eq!(refused.2["accepted"], start_of_line, "{}", refused.2);
    let query = format!("offset={start_of_line}&eof=true");
    accepted_bytes(&post(&http, &id, &query, &message("@say three")).await);
    assert_eq!(ended(&http, &id).await["state"], "completed");
    let output = http.output(&id, 0).await.expect("an output").bytes;
    let text = String::from_utf8_lossy(&output).into_owned();
    assert!(text.ends_with("two\n\ntwo\n\nthree"), "{text}");
    stack.assert_quiet();
}
