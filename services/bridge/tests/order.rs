//! Tests of the order of messages, and of views, offsets, batches and ids.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod common;

use common::{Bridge, Fake, id_of};
use protocol::{ExecutionId, State};
use serde_json::{Value, json};

async fn start() -> (Fake, Bridge) {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    (fake, bridge)
}

#[tokio::test]
async fn an_execution_is_answered_then_streamed_then_ended() {
    let (fake, bridge) = start().await;
    let mut client = bridge.connect().await;
    let params = json!({"command": "do it"});
    let answer = client.call("execute", params).await.unwrap();
    assert_eq!(answer["state"], "queued");
    let execution = id_of(&answer);
    // The client checks that the answer precedes the first status.
    client.wait_status(execution, "QUEUED").await;
    fake.state(execution, State::Running);
    fake.write(execution, "héllo ".as_bytes());
    client.wait_output(execution, 1).await;
    fake.write(execution, "wörld".as_bytes());
    fake.end(execution, State::Completed);
    let (output, end) = client.wait_terminal(execution).await;
    assert_eq!(output, "héllo wörld".as_bytes());
    assert_eq!(end["status"], "COMPLETED");
    assert_eq!(end["exitCode"], 0);
    assert_eq!(end["outputBytes"], 13);
    assert_eq!(
        end["crc32"],
        format!("{:08x}", crc32fast::hash("héllo wörld".as_bytes()))
    );
    // No message of the execution precedes the answer to a ping: the client checks that.
    let ping = client.call("ping", json!({})).await.unwrap();
    assert_eq!(ping, json!({}));
    client.finish().await;
    let (_, body) = fake.world().puts[0].clone();
    assert_eq!(body.prompt, "do it");
    assert!(body.lane.is_some());
}

#[tokio::test]
async fn each_state_has_its_word_and_heartbeats_repeat_it() {
    let (fake, bridge) = start().await;
    let mut client = bridge.connect().await;
    let id: ExecutionId = client.start("x").await.parse().unwrap();
    fake.state(id, State::Running);
    let is_running = |update: &Value| update["status"] == "RUNNING";
    client.wait_updates(id, 2, is_running).await;
    let paused = client
        .call("control", json!({"type": "PAUSE"}))
        .await
        .unwrap();
    assert_eq!(paused["state"], "paused");
    client.wait_status(id, "PAUSED").await;
    let params = json!({"type": "RESUME", "executionId": id});
    client.call("control", params).await.unwrap();
    client.wait_status(id, "RESUMED").await;
    let received = client.updates(id).len();
    client.wait_update(id, received, "RUNNING").await;
    let params = json!({"type": "CANCEL"});
    client.call("control", params).await.unwrap();
    let (_, end) = client.wait_terminal(id).await;
    assert_eq!(end["status"], "CANCELLED");
    let resumed = |update: &Value| update["status"] == "RESUMED";
    let updates = client.updates(id);
    assert_eq!(updates.iter().filter(|u| resumed(u)).count(), 1);
    let none = client
        .call("control", json!({"type": "CANCEL"}))
        .await
        .unwrap_err();
    assert_eq!(none["code"], -32003);
    let again = client
        .call("control", json!({"type": "CANCEL", "executionId": id}))
        .await
        .unwrap();
    assert_eq!(again["state"], "cancelled");
}

#[tokio::test]
async fn an_attach_begins_at_its_offset_or_at_the_start_of_a_character() {
    let (fake, bridge) = start().await;
    let id = fake.add(State::Completed, "aé😀z".as_bytes());
    for (offset, expected, from) in [
        (json!(null), "aé😀z", 0),
        (json!(1), "é😀z", 1),
        (json!(2), "é😀z", 1),
        (json!(6), "😀z", 3),
        (json!(7), "z", 7),
        (json!(8), "", 8),
    ] {
        let mut client = bridge.connect().await;
        let answer = client
            .call("attach", json!({"executionId": id, "offset": offset}))
            .await
            .unwrap();
        assert_eq!(answer["state"], "completed");
        let (output, end) = client.wait_terminal(id).await;
        assert_eq!(String::from_utf8_lossy(&output), expected, "{offset}");
        assert_eq!(end["status"], "COMPLETED");
        let updates = client.updates(id).len();
        assert_eq!(
            updates, 1,
            "after a terminal answer, only the terminal status follows"
        );
        // The client checks that the output ends at `outputBytes`, without a hole.
        assert_eq!(end["outputBytes"], from + expected.len());
    }
    let mut client = bridge.connect().await;
    let error = client
        .call("attach", json!({"executionId": id, "offset": 9}))
        .await
        .unwrap_err();
    assert_eq!(error["code"], -32602);
    assert_eq!(error["data"]["reason"], "offset_beyond_end");
    let unknown = client
        .call("attach", json!({"executionId": ExecutionId::random()}))
        .await
        .unwrap_err();
    assert_eq!(unknown["code"], -32003);
}

#[tokio::test]
async fn output_that_is_not_kept_is_a_gap_or_an_error() {
    let (fake, bridge) = start().await;
    let id = fake.add(State::Running, b"0123456789");
    fake.set(id, |e| e.status.kept_from = 4);
    let mut client = bridge.connect().await;
    let error = client
        .call("attach", json!({"executionId": id, "offset": 3}))
        .await
        .unwrap_err();
    assert_eq!(error["code"], -32007);
    assert_eq!(error["data"]["keptFrom"], 4);
    client.attach(id, None).await.unwrap();
    assert_eq!(client.wait_gaps(id, 1).await, [(0, 4)]);
    client.wait_output(id, 1).await;
    // The bytes at the view's offset are freed: the stream breaks, and the retry resumes at
    // `keptFrom`.
    fake.write(id, b"abcdef");
    client.wait_output(id, 12).await;
    fake.set(id, |e| {
        e.output.extend_from_slice(b"lost!KEPT");
        e.status.output_bytes = e.output.len() as u64;
        e.status.kept_from = e.status.output_bytes - 4;
    });
    fake.end(id, State::Completed);
    let (output, _) = client.wait_terminal(id).await;
    assert_eq!(client.gaps(id), [(0, 4), (16, 21)]);
    assert!(output.ends_with(b"KEPT"));
}

#[tokio::test]
async fn a_batch_is_one_array_and_its_views_begin_after_it() {
    let (fake, bridge) = start().await;
    let done = fake.add(State::Completed, b"done");
    let mut client = bridge.connect().await;
    let batch = json!([
        {"jsonrpc": "2.0", "id": "a", "method": "attach", "params": {"executionId": done}},
        {"jsonrpc": "2.0", "id": "b", "method": "execute", "params": {"prompt": "x"}},
        {"jsonrpc": "2.0", "method": "ping"},
        {"jsonrpc": "2.0", "id": "c", "method": "nothing"},
        1,
    ]);
    client.send_text(&batch.to_string()).await;
    let array = client.wait_without_id().await;
    let answers = array.as_array().unwrap();
    assert_eq!(answers.len(), 4);
    let of = |id: Value| answers.iter().find(|a| a["id"] == id).unwrap();
    assert_eq!(of(json!("a"))["result"]["state"], "completed");
    assert_eq!(of(json!("b"))["result"]["state"], "queued");
    assert_eq!(of(json!("c"))["error"]["code"], -32601);
    assert_eq!(of(Value::Null)["error"]["code"], -32600);
    client.wait_terminal(done).await;
    for (batch, reason) in [
        (json!([]), "empty_batch"),
        (Value::Array(vec![json!(1); 51]), "batch_too_long"),
    ] {
        client.send_text(&batch.to_string()).await;
        let error = client.wait_without_id().await;
        assert_eq!(error["error"]["code"], -32600);
        assert_eq!(error["id"], Value::Null);
        assert_eq!(error["error"]["data"]["reason"], reason);
    }
}

#[tokio::test]
async fn an_execute_without_an_id_is_viewed_or_rejected() {
    let (fake, bridge) = start().await;
    let mut client = bridge.connect().await;
    client.notify("execute", json!({"prompt": "x"})).await;
    fake.until(|w| !w.order.is_empty()).await;
    let first = fake.world().order[0];
    client.wait_status(first, "QUEUED").await;
    assert_eq!(client.updates(first)[0]["status"], "QUEUED");
    let id = ExecutionId::random();
    for params in [
        json!({"executionId": id}),
        json!({"executionId": id, "prompt": "x", "env": {"PATH": "/"}}),
    ] {
        client.notify("execute", params).await;
        let refused = client.wait_rejection().await;
        assert_eq!(refused["status"], "FAILED");
        assert_eq!(refused["reason"], "rejected");
        assert_eq!(refused.get("executionId"), None);
        assert_eq!(refused["error"]["data"]["executionId"], id.to_string());
    }
    // claude-api refuses this one.
    fake.change(|w| {
        w.faults.push_back(common::fake::Fault::Problem(
            protocol::ProblemType::QueueFull,
        ))
    });
    client.notify("execute", json!({"prompt": "x"})).await;
    assert_eq!(client.wait_rejection().await["error"]["code"], -32004);
}

#[tokio::test]
async fn the_default_execution_is_the_oldest_live_one_of_the_session() {
    let (fake, bridge) = start().await;
    let mut client = bridge.connect().await;
    let first: ExecutionId = client.start("1").await.parse().unwrap();
    let second: ExecutionId = client.start("2").await.parse().unwrap();
    let third: ExecutionId = client.start("3").await.parse().unwrap();
    assert_eq!(
        client.call("status", json!({})).await.unwrap()["executionId"],
        first.to_string()
    );
    // The first execution ends without a view.
    let params = json!({"executionId": first});
    client.call("detach", params).await.unwrap();
    fake.end(first, State::Completed);
    assert_eq!(
        client.call("status", json!({})).await.unwrap()["executionId"],
        second.to_string()
    );
    let params = json!({"type": "CANCEL"});
    client.call("control", params).await.unwrap();
    client.wait_terminal(second).await;
    assert_eq!(
        client.call("status", json!({})).await.unwrap()["executionId"],
        third.to_string()
    );
    let list = client.call("list", json!({"limit": 10})).await.unwrap();
    assert_eq!(list["executions"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_repeated_id_views_the_same_execution_and_another_body_is_refused() {
    let (fake, bridge) = start().await;
    let id = ExecutionId::random();
    let params = json!({"prompt": "x", "executionId": id.to_string().to_uppercase()});
    let mut one = bridge.connect().await;
    one.call("execute", params.clone()).await.unwrap();
    fake.state(id, State::Running);
    fake.write(id, b"abc");
    one.wait_output(id, 1).await;
    let mut two = bridge.connect().await;
    assert_eq!(
        two.call("execute", params).await.unwrap()["executionId"],
        id.to_string()
    );
    let other = two
        .call("execute", json!({"prompt": "y", "executionId": id}))
        .await
        .unwrap_err();
    assert_eq!(other["code"], -32009);
    assert_eq!(other["data"]["executionId"], id.to_string());
    fake.write(id, b"def");
    fake.end(id, State::Failed);
    for client in [&mut one, &mut two] {
        assert_eq!(client.wait_terminal(id).await.0, b"abcdef");
    }
}

#[tokio::test]
async fn a_new_attach_replaces_the_view_and_nothing_follows_a_detach() {
    let (fake, bridge) = start().await;
    let id = fake.add(State::Running, b"0123456789");
    let mut client = bridge.connect().await;
    client.attach(id, Some(2)).await.unwrap();
    client.wait_output(id, 1).await;
    // The new view replaces the old one.
    client.attach(id, Some(5)).await.unwrap();
    client.wait_output(id, 5).await;
    assert_eq!(client.output(id), b"56789");
    assert_eq!(
        client
            .call("detach", json!({"executionId": id}))
            .await
            .unwrap(),
        json!({})
    );
    let updates = client.updates(id).len();
    fake.write(id, b"more");
    fake.end(id, State::Completed);
    let params = json!({"executionId": id});
    client.call("status", params).await.unwrap();
    client.call("ping", json!({})).await.unwrap();
    assert_eq!(
        client.updates(id).len(),
        updates,
        "a status followed the detach"
    );
    client.finish().await;
}

#[tokio::test]
async fn changes_of_the_status_are_notices() {
    let (fake, bridge) = start().await;
    let mut client = bridge.connect().await;
    let id: ExecutionId = client.start("x").await.parse().unwrap();
    fake.set(id, |e| {
        e.status.state = State::Running;
        e.status.activity = Some("retrying: 529".into());
    });
    let notice = client.wait_notice("api_retry").await;
    assert_eq!(notice["data"]["errorStatus"], 529);
    fake.set(id, |e| e.status.stalled = true);
    client.wait_notice("stalled").await;
    fake.set(id, |e| {
        e.status.warn(
            jiff::Timestamp::now(),
            "usage_limit",
            "odd".into(),
            Value::Null,
        );
        e.status
            .permission_denials
            .push(json!({"tool_name": "Bash"}));
    });
    let notice = client.wait_notice("tool_denied").await;
    assert_eq!(notice["executionId"], id.to_string());
    client.wait_notice("usage_limit").await;
}

/// The wall clock is set back two hours after the acceptance.
#[tokio::test]
async fn the_elapsed_time_increases_although_the_clock_was_set_back() {
    let (fake, bridge) = start().await;
    let id = fake.add(State::Running, b"");
    fake.set(id, |execution| {
        execution.status.created_at += jiff::SignedDuration::from_hours(2);
    });
    let mut client = bridge.connect().await;
    client.attach(id, None).await.unwrap();
    let first = client.wait_status(id, "RUNNING").await;
    let at = |update: &Value| update["elapsedMs"].as_u64().unwrap();
    // `createdAt` is in the future, so only the bridge's own clock measures the time.
    let later = client.wait_updates(id, 1, |update| at(update) > at(&first));
    let later = tokio::time::timeout(std::time::Duration::from_secs(10), later).await;
    assert!(later.is_ok(), "elapsedMs stays at {}", at(&first));
}
