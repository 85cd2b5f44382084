//! Disconnects: what happens to the executions of a session that is gone.

use std::time::{Duration, Instant};

use cc_tests::{
    harness::{Stack, StackOptions},
    http::Http,
    ws,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    sessions::execution_id,
    support::{PATIENCE, accept, assert_problem, ended, exists, id, path, send, until},
};

/// Waits for the terminal status without viewing the execution.
async fn wait_ended(http: &Http, id: &str) -> Value {
    let terminal = |status: &Value| status["endedAt"].is_string();
    until(http, id, "ended", terminal).await
}

/// Starts an execution with `onDisconnect: "cancel"` in a session of its own; it says `x` and runs
/// on. Returns the session and the id.
async fn session_with_execution(stack: &Stack) -> (ws::Client, String) {
    let mut client = stack.client().await;
    let extra = json!({"onDisconnect": "cancel"});
    let id = execution_id(&client.execute("@say x\n@tree 3\n@tool 60", extra).await);
    client.wait_output(&id, 1).await;
    (client, id)
}

#[tokio::test]
async fn on_disconnect_cancel_waits_ten_seconds() {
    let stack = Stack::start().await;
    let (client, id) = session_with_execution(&stack).await;
    let gone = Instant::now();
    client.vanish();
    let end = wait_ended(&stack.http(), &id).await;
    let after = gone.elapsed();
    assert_eq!(end["state"], "cancelled", "{end}");
    assert!(
        (Duration::from_secs(9)..Duration::from_secs(18)).contains(&after),
        "{after:?}"
    );
    stack.assert_nothing_left(&id).await;
    stack.assert_quiet();
}

#[tokio::test]
async fn an_attach_in_time_keeps_the_execution_and_an_end_of_the_bridge_is_no_disconnect() {
    let options = StackOptions::default().bridge("--disconnect-grace-ms=1500");
    let mut stack = Stack::with(options).await;
    let http = stack.http();
    // The execution without a new viewer shows when the grace has passed.
    let (kept, kept_id) = session_with_execution(&stack).await;
    let (lost, lost_id) = session_with_execution(&stack).await;
    kept.vanish();
    let mut other = stack.client().await;
    other.attach(&kept_id, None).await.expect("attached");
    lost.vanish();
    assert_eq!(wait_ended(&http, &lost_id).await["state"], "cancelled");
    assert_eq!(
        http.status(&kept_id).await.expect("a status")["state"],
        "running"
    );
    other
        .control("CANCEL", Some(&kept_id))
        .await
        .expect("accepted");
    other.wait_terminal(&kept_id).await;
    other.finish().await;
    // A stop or crash of the bridge: its clients did not leave.
    for crash in [true, false] {
        let (client, id) = session_with_execution(&stack).await;
        if crash {
            stack.crash_bridges().await;
        } else {
            stack.stop_bridges().await;
            stack.start_bridges_again().await;
        }
        client.wait_closed().await;
        let (lost, lost_id) = session_with_execution(&stack).await;
        lost.vanish();
        assert_eq!(wait_ended(&http, &lost_id).await["state"], "cancelled");
        assert_eq!(
            http.status(&id).await.expect("a status")["state"],
            "running",
            "crash: {crash}"
        );
        let mut reconnected = stack.client().await;
        reconnected
            .control("CANCEL", Some(&id))
            .await
            .expect("accepted");
        assert_eq!(ended(&http, &id).await["state"], "cancelled");
        reconnected.finish().await;
    }
}

#[tokio::test]
async fn a_disconnect_is_not_a_cancel() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let first = client.start("@silence 0.5\n@say a").await;
    let second = client.start("@say b").await;
    client.vanish();
    for id in [&first, &second] {
        assert_eq!(ended(&stack.http(), id).await["state"], "completed");
        assert_eq!(stack.spawns(id), 1);
    }
    // An `execute` for whose answer the client did not wait.
    let mut client = stack.client().await;
    let unanswered = id();
    client
        .request(
            "execute",
            json!({"prompt": "@say c", "executionId": unanswered}),
        )
        .await;
    client
        .call("ping", json!({}))
        .await
        .expect("the request was read before the ping");
    client.vanish();
    let http = stack.http();
    let end = Instant::now() + PATIENCE;
    while http.status(&unanswered).await.is_err() {
        assert!(Instant::now() < end, "the execute was lost");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(ended(&http, &unanswered).await["state"], "completed");
    stack.assert_quiet();
}

/// Requests a cancel for when no client has viewed the execution for `ms` milliseconds; returns the
/// present status.
async fn cancel_if_unviewed(stack: &Stack, id: &str, ms: u64) -> Value {
    let path = path(id, &format!("/cancel?ifUnviewedForMs={ms}"));
    let (code, _, status) = send(&stack.http(), Method::POST, &path, "").await;
    assert_eq!(code, 200, "{status}");
    status
}

/// docs/protocol.md, "Calls": `ifUnviewedForMs`.
#[tokio::test]
async fn an_unviewed_execution_is_cancelled_and_a_new_stream_keeps_it() {
    let stack = Stack::start().await;
    let http = stack.http();
    let [kept, followed, watched, left] = std::array::from_fn(|_| id());
    for id in [&kept, &followed, &watched, &left] {
        accept(&http, id, "@say x\n@tool 60", json!({})).await;
        until(&http, id, "running", |status| status["state"] == "running").await;
    }
    let open = http.open_output(&watched, 0).await.expect("a stream");
    for id in [&kept, &followed, &watched, &left] {
        let begun = Instant::now();
        let status = cancel_if_unviewed(&stack, id, 2000).await;
        assert_eq!(status["state"], "running", "it is answered at once");
        assert!(begun.elapsed() < Duration::from_millis(1500));
    }
    // A new stream of either kind clears the cancel, even if it is closed at once.
    drop(http.open_output(&kept, 0).await.expect("a stream"));
    drop(http.follow(&followed).await.expect("a stream"));
    let status = until(&http, &left, "cancelled", |s| s["state"] == "cancelled").await;
    assert_eq!(status["reason"], Value::Null);
    for id in [&kept, &followed, &watched] {
        let status = http.status(id).await.expect("a status");
        assert_eq!(status["state"], "running", "{status}");
    }
    // The older stream only delayed the cancel.
    drop(open);
    until(&http, &watched, "cancelled", |s| s["state"] == "cancelled").await;
    for id in [&kept, &followed] {
        let status = http.status(id).await.expect("a status");
        assert_eq!(status["state"], "running", "{status}");
        let (code, ..) = send(&http, Method::POST, &path(id, "/cancel"), "").await;
        assert_eq!(code, 200);
        assert_eq!(ended(&http, id).await["state"], "cancelled");
    }
    for wrong in ["x", "-1", "", "86400001"] {
        let path = path(&left, &format!("/cancel?ifUnviewedForMs={wrong}"));
        let answer = send(&http, Method::POST, &path, "").await;
        assert_problem(&answer, 400, "invalid-query", wrong);
    }
    stack.assert_nothing_left(&left).await;
    stack.assert_quiet();
}

/// docs/protocol.md, "Calls": `ifUnviewedForMs` outlives a restart of claude-api.
#[tokio::test]
async fn a_cancel_of_an_unviewed_execution_outlives_a_kill_of_claude_api() {
    let options = StackOptions::default().api("--running-executions=1");
    let mut stack = Stack::with(options).await;
    let http = stack.http();
    let [first, wanted, cleared] = std::array::from_fn(|_| id());
    let mark = stack.path("tmp").join("running");
    let prompt = format!("@touch {}\n@tool 60", mark.display());
    let policy = json!({"onInterrupt": "continue"});
    accept(&http, &first, &prompt, policy).await;
    exists(&mark).await;
    for (id, prompt) in [(&wanted, "@tool 60"), (&cleared, "@say x")] {
        accept(&http, id, prompt, json!({})).await;
        assert_eq!(
            cancel_if_unviewed(&stack, id, 4000).await["state"],
            "queued"
        );
    }
    cancel_if_unviewed(&stack, &first, 1500).await;
    drop(http.follow(&cleared).await.expect("a stream"));
    stack.crash_api().await;
    let http = stack.http();
    // The policy's continuation of the running execution inherits the cancel, and is queued after
    // the other two. No client views any of them.
    let end = wait_ended(&http, &first).await;
    let next = end["continuedBy"]
        .as_str()
        .expect("its policy says so")
        .to_owned();
    for id in [&wanted, &next] {
        let end = wait_ended(&http, id).await;
        assert_eq!(end["state"], "cancelled", "{end}");
    }
    assert_eq!(ended(&http, &cleared).await["state"], "completed");
    // Their cancels were due before their turn in the queue.
    assert_eq!(stack.spawns(&next), 0);
    stack.assert_quiet();
}

/// docs/protocol.md, "Request parameters": for `onDisconnect` a viewer on any bridge or over HTTP
/// counts.
#[tokio::test]
async fn a_reader_over_http_keeps_the_execution_that_a_session_left() {
    let options = StackOptions::default().bridge("--disconnect-grace-ms=1500");
    let stack = Stack::with(options).await;
    let http = stack.http();
    let (read, read_id) = session_with_execution(&stack).await;
    let (lost, lost_id) = session_with_execution(&stack).await;
    read.vanish();
    let mut stream = http.follow(&read_id).await.expect("a stream");
    stream.next().await.expect("a line");
    lost.vanish();
    assert_eq!(wait_ended(&http, &lost_id).await["state"], "cancelled");
    assert_eq!(
        http.status(&read_id).await.expect("a status")["state"],
        "running"
    );
    drop(stream);
    let (code, ..) = send(&http, Method::POST, &path(&read_id, "/cancel"), "").await;
    assert_eq!(code, 200);
    assert_eq!(ended(&http, &read_id).await["state"], "cancelled");
    stack.assert_quiet();
}

/// The streams of a session that leaves while its view begins are no new viewers.
#[tokio::test]
async fn late_streams_of_a_session_that_left_do_not_keep_its_execution() {
    let options = StackOptions::default().bridge("--disconnect-grace-ms=300");
    let stack = Stack::with(options).await;
    let mut ids = Vec::new();
    for n in 0..30_u64 {
        let mut client = stack.client().await;
        let id = id();
        let params = json!({
            "prompt": "@say x\n@tool 60", "executionId": id, "onDisconnect": "cancel",
        });
        client.request("execute", params).await;
        tokio::time::sleep(Duration::from_millis(n % 10)).await;
        client.vanish();
        ids.push(id);
    }
    let http = stack.http();
    for id in &ids {
        let end = Instant::now() + PATIENCE;
        // The `execute` may never have been read.
        while let Ok(status) = http.status(id).await {
            if status["state"] == "cancelled" {
                break;
            }
            assert!(Instant::now() < end, "{status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    stack.assert_quiet();
}

/// A departure without a cancel, because a viewer returned, has a log line of its own.
#[tokio::test]
async fn the_log_distinguishes_a_sent_cancel_from_a_returned_viewer() {
    let options = StackOptions::default().bridge("--disconnect-grace-ms=300");
    let options = options.one_bridge();
    let stack = Stack::with(options).await;
    let logged = |id: &str, text: &str| {
        let about = |line: &Value| line["execution"] == id && line["message"] == text;
        stack.bridge.lines().iter().any(about)
    };
    let sent = "claude-api accepted the cancel of an abandoned execution";
    let viewed = "a client views the execution again; it is not cancelled";
    let (kept, kept_id) = session_with_execution(&stack).await;
    let (lost, lost_id) = session_with_execution(&stack).await;
    let mut other = stack.client().await;
    other.attach(&kept_id, None).await.expect("attached");
    kept.vanish();
    lost.vanish();
    let end = Instant::now() + PATIENCE;
    while !(logged(&lost_id, sent) && logged(&kept_id, viewed)) {
        assert!(Instant::now() < end, "{}", stack.bridge.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!logged(&kept_id, sent) && !logged(&lost_id, viewed));
    assert_eq!(
        wait_ended(&stack.http(), &lost_id).await["state"],
        "cancelled"
    );
    other
        .control("CANCEL", Some(&kept_id))
        .await
        .expect("accepted");
    other.wait_terminal(&kept_id).await;
    other.finish().await;
    stack.assert_quiet();
}

/// An `input` that was refused as too large changes nothing about a departure.
#[tokio::test]
async fn a_disconnect_after_a_refused_input_cancels_the_execution() {
    let options = StackOptions::default().bridge("--disconnect-grace-ms=1000");
    let stack = Stack::with(options).await;
    for (bytes, waits) in [(5 << 20, true), (5 << 20, false), (12 << 20, true)] {
        let mut client = stack.client().await;
        let extra = json!({"onDisconnect": "cancel", "input": "stream"});
        let id = execution_id(&client.execute("@say x", extra).await);
        client.wait_output(&id, 1).await;
        let content = "x".repeat(bytes);
        let line = json!({"type": "user", "message": {"role": "user", "content": content}});
        let input = json!({"executionId": id, "offset": 0, "data": format!("{line}\n")});
        if waits {
            let error = client.call("input", input).await.expect_err("too large");
            assert_eq!(error["data"]["reason"], "too_large", "{error}");
        } else {
            client.request("input", input).await;
        }
        client.vanish();
        let end = wait_ended(&stack.http(), &id).await;
        assert_eq!(end["state"], "cancelled", "{bytes} {waits}: {end}");
        stack.assert_nothing_left(&id).await;
    }
    stack.assert_quiet();
}
