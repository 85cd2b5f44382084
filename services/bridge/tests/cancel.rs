//! Tests of a cancel before, during and after the acceptance of its execute.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod common;

use common::fake::Fault;
use common::{Bridge, Client, Fake, id_of};
use protocol::{ExecutionId, ProblemType, State};
use serde_json::{Value, json};
use tokio::net::TcpListener;

async fn start(args: &[&str]) -> (Fake, Bridge) {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, args).await;
    (fake, bridge)
}

async fn execute(client: &mut Client, id: ExecutionId) -> u64 {
    let params = json!({"prompt": "x", "executionId": id});
    client.request("execute", params).await
}

async fn cancel(client: &mut Client, id: ExecutionId) -> u64 {
    let params = json!({"type": "CANCEL", "executionId": id});
    client.request("control", params).await
}

/// Lets the fake refuse PUTs with `stopping`, which the bridge retries.
fn refuse_as_stopping(fake: &Fake) {
    let stopping = Fault::Problem(ProblemType::Stopping);
    fake.change(|w| w.faults.extend(vec![stopping; 1000]));
}

#[tokio::test]
async fn a_cancel_ends_an_id_that_is_executed_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let bridge = Bridge::start(addr, &[]).await;
    let mut client = bridge.connect().await;
    let id = ExecutionId::random();
    let executes = [
        execute(&mut client, id).await,
        execute(&mut client, id).await,
    ];
    let cancelled = cancel(&mut client, id).await;
    // The bridge has read all three requests.
    client.call("ping", json!({})).await.unwrap();
    let fake = Fake::at(TcpListener::bind(addr).await.unwrap()).await;
    // Each execute may be accepted, or cancelled before that; only the final state matters.
    for request in executes.into_iter().chain([cancelled]) {
        let _ = client.answer(request).await;
    }
    let world = fake.world();
    let live = world.executions.get(&id).map(|e| e.status.state);
    assert!(live.is_none_or(State::is_terminal), "{live:?}");
    assert!(world.cancels.contains(&id));
}

#[tokio::test]
async fn a_cancel_ends_an_execution_that_another_session_started() {
    let (fake, bridge) = start(&[]).await;
    let id = fake.add(State::Running, b"");
    refuse_as_stopping(&fake);
    let mut client = bridge.connect().await;
    let executed = execute(&mut client, id).await;
    fake.until(|w| !w.puts.is_empty()).await;
    let cancelled = cancel(&mut client, id).await;
    // Only a PUT can find out whether the id was accepted with this body, and PUTs are refused.
    let error = client.answer(executed).await.unwrap_err()["data"].take();
    assert_eq!(
        (&error["reason"], &error["accepted"]),
        (&json!("cancelled"), &json!("unknown"))
    );
    assert_eq!(
        client.answer(cancelled).await.unwrap()["state"],
        "cancelled"
    );
}

#[tokio::test]
async fn an_execute_with_another_body_is_refused_even_after_a_cancel() {
    for (prompt, right) in [("x", true), ("another", false)] {
        let (fake, bridge) = start(&[]).await;
        let id = fake.add(State::Running, b"");
        refuse_as_stopping(&fake);
        let mut client = bridge.connect().await;
        let params = json!({"prompt": prompt, "executionId": id});
        let executed = client.request("execute", params).await;
        fake.until(|w| !w.puts.is_empty()).await;
        // From now on claude-api accepts PUTs; the retry waits for its delay, or for the cancel.
        fake.change(|w| w.faults.clear());
        let cancelled = cancel(&mut client, id).await;
        let answer = client.answer(executed).await;
        if right {
            assert!(answer.unwrap()["state"].is_string());
        } else {
            assert_eq!(answer.unwrap_err()["code"], -32009);
        }
        assert_eq!(
            client.answer(cancelled).await.unwrap()["state"],
            "cancelled"
        );
    }
}

#[tokio::test]
async fn a_refused_execute_is_unaccepted_for_certain_only_with_an_id_of_the_bridge() {
    // A delay beyond the time limit is cut once, so that the last attempt has a quarter of the
    // time. It must end within that time; otherwise it may have been carried out.
    let (fake, bridge) = start(&["--accept-ms", "3000"]).await;
    let later = Fault::ProblemRetryAfter(ProblemType::Stopping, 60);
    fake.change(|w| w.faults.extend(vec![later; 1000]));
    let mut client = bridge.connect().await;
    let executed = execute(&mut client, ExecutionId::random()).await;
    let error = client.answer(executed).await.unwrap_err();
    assert_eq!(error["data"]["accepted"], "unknown", "{error}");
    let without_id = client
        .call("execute", json!({"prompt": "x"}))
        .await
        .unwrap_err();
    assert_eq!(without_id["data"]["accepted"], false);
}

/// `ifUnknown=burn` (docs/protocol.md, "Calls").
#[tokio::test]
async fn an_execute_that_is_handled_after_its_cancel_is_never_accepted() {
    let (fake, bridge) = start(&[]).await;
    fake.change(|w| w.faults.push_back(Fault::Delayed));
    let mut client = bridge.connect().await;
    let id = ExecutionId::random();
    let executed = execute(&mut client, id).await;
    let cancelled = cancel(&mut client, id).await;
    // claude-api handles the cancel first, and the execute later.
    let error = client.answer(executed).await.unwrap_err();
    assert_eq!(error["data"]["reason"], "cancelled", "{error}");
    assert_eq!(error["data"]["accepted"], false, "{error}");
    assert_eq!(client.answer(cancelled).await.unwrap_err()["code"], -32003);
    assert_eq!(fake.world().burned, [id]);
    fake.change(|w| w.handle_delayed = true);
    let again = execute(&mut client, id).await;
    let error = client.answer(again).await.unwrap_err();
    assert_eq!(
        (&error["code"], &error["data"]["reason"]),
        (&json!(-32009), &json!("cancelled_before_accepted")),
        "{error}"
    );
    assert!(fake.world().executions.is_empty());
}

/// A full queue has no room for a burned id (docs/protocol.md, "Limits").
#[tokio::test]
async fn a_burn_that_a_full_queue_refuses_is_repeated() {
    let (fake, bridge) = start(&[]).await;
    fake.change(|w| w.faults.push_back(Fault::Delayed));
    fake.change(|w| w.full = true);
    let mut client = bridge.connect().await;
    let id = ExecutionId::random();
    let executed = execute(&mut client, id).await;
    cancel(&mut client, id).await;
    let error = client.answer(executed).await.unwrap_err();
    assert_eq!(error["data"]["accepted"], "unknown", "{error}");
    assert_eq!(fake.world().burned, []);
    fake.change(|w| w.full = false);
    fake.until(|w| w.burned.contains(&id)).await;
}

#[tokio::test]
async fn a_cancel_fails_after_the_call_timeout_while_claude_api_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    // An execute is retried for 60 s; the cancel and its execute must not wait for that.
    let bridge = Bridge::start(addr, &["--call-ms", "300"]).await;
    let mut client = bridge.connect().await;
    let id = ExecutionId::random();
    let executed = execute(&mut client, id).await;
    let cancelled = cancel(&mut client, id).await;
    for request in [executed, cancelled] {
        let error = client.answer(request).await.unwrap_err();
        assert_eq!(error["code"], -32005, "{error}");
        if request == executed {
            // Another session may have started the execution earlier.
            assert_eq!(error["data"]["accepted"], "unknown", "{error}");
            assert_eq!(error["data"]["executionId"], json!(id), "{error}");
        }
    }
}

#[tokio::test]
async fn a_possibly_accepted_execute_is_cancelled_when_claude_api_is_reachable_again() {
    let (fake, bridge) = start(&["--call-ms", "300"]).await;
    fake.change(|w| w.faults.push_back(Fault::Reset { accepted: true }));
    refuse_as_stopping(&fake);
    let mut client = bridge.connect().await;
    let id = ExecutionId::random();
    let executed = execute(&mut client, id).await;
    fake.until(|w| w.executions.contains_key(&id)).await;
    fake.change(|w| w.down = true);
    let cancelled = cancel(&mut client, id).await;
    let error = client.answer(executed).await.unwrap_err();
    assert_eq!(error["data"]["accepted"], "unknown", "{error}");
    assert_eq!(client.answer(cancelled).await.unwrap_err()["code"], -32005);
    assert_eq!(fake.world().cancels, []);
    fake.change(|w| w.down = false);
    fake.until(|w| w.executions[&id].status.state == State::Cancelled)
        .await;
}

#[tokio::test]
async fn a_cancel_of_an_execute_that_was_not_sent_is_answered_immediately() {
    let (fake, bridge) = start(&[]).await;
    refuse_as_stopping(&fake);
    let mut client = bridge.connect().await;
    let [first, second] = [ExecutionId::random(), ExecutionId::random()];
    let waits = execute(&mut client, first).await;
    let executed = execute(&mut client, second).await;
    let cancelled = cancel(&mut client, second).await;
    let error = client.answer(executed).await.unwrap_err();
    assert_eq!(error["data"]["accepted"], false, "{error}");
    assert_eq!(client.answer(cancelled).await.unwrap_err()["code"], -32003);
    assert!(fake.world().cancels.contains(&second));
    // The order stays: the third execute follows the first.
    let third = client.request("execute", json!({"prompt": "third"})).await;
    fake.change(|w| w.faults.clear());
    assert!(client.answer(waits).await.unwrap().is_object());
    assert!(client.answer(third).await.unwrap().is_object());
    assert_eq!(fake.world().order[0], first);
    assert!(!fake.world().executions.contains_key(&second));
}

#[tokio::test]
async fn a_cancel_after_an_execute_follows_its_acceptance() {
    let (_fake, bridge) = start(&[]).await;
    let mut client = bridge.connect().await;
    for _ in 0..30 {
        let executed = client.request("execute", json!({"prompt": "x"})).await;
        let cancelled = client.request("control", json!({"type": "CANCEL"})).await;
        let answer = client.answer(executed).await.unwrap();
        let id = answer["executionId"].clone();
        assert!(id.is_string(), "{answer}");
        let cancelled = client.answer(cancelled).await.unwrap();
        assert_eq!(cancelled["executionId"], id, "{cancelled}");
        client.wait_terminal(id.as_str().unwrap()).await;
    }
}

#[tokio::test]
async fn a_cancel_without_an_id_ends_the_live_execution_of_the_session() {
    let (fake, bridge) = start(&[]).await;
    let mut client = bridge.connect().await;
    let detached: ExecutionId = client.start("one").await.parse().unwrap();
    let params = json!({"executionId": detached});
    client.call("detach", params).await.unwrap();
    fake.end(detached, State::Completed);
    let none = client
        .call("control", json!({"type": "CANCEL"}))
        .await
        .unwrap_err();
    assert_eq!(none["code"], -32003, "{none}");
    let unread: ExecutionId = client.start("two").await.parse().unwrap();
    let live: ExecutionId = client.start("three").await.parse().unwrap();
    client.read(false);
    fake.state(unread, State::Running);
    fake.write(unread, &[b'x'; 10 << 20]);
    fake.end(unread, State::Completed);
    let cancelled = client.request("control", json!({"type": "CANCEL"})).await;
    client.read(true);
    let cancelled = client.answer(cancelled).await.unwrap();
    assert_eq!(cancelled["executionId"], json!(live), "{cancelled}");
    assert_eq!(fake.world().cancels, [live]);
}

#[tokio::test]
async fn a_session_that_ends_before_the_acceptance_is_known_still_cancels() {
    let (fake, bridge) = start(&["--accept-ms", "400", "--disconnect-grace-ms", "50"]).await;
    fake.change(|w| w.faults.extend(vec![Fault::Reset { accepted: true }; 20]));
    let mut client = bridge.connect().await;
    let params = json!({"prompt": "x", "onDisconnect": "cancel"});
    client.request("execute", params).await;
    fake.until(|w| !w.puts.is_empty()).await;
    drop(client);
    fake.until(|w| w.cancels.len() == 1).await;
    // A cancel is sent even if its client disconnects immediately.
    fake.change(|w| w.faults.clear());
    fake.change(|w| w.faults.push_back(Fault::Delayed));
    let mut client = bridge.connect().await;
    let id = ExecutionId::random();
    execute(&mut client, id).await;
    cancel(&mut client, id).await;
    fake.until(|w| w.puts.iter().any(|(put, _)| *put == id))
        .await;
    drop(client);
    fake.change(|w| w.handle_delayed = true);
    // claude-api may handle either of the two first.
    let cancelled =
        |e: Option<&common::fake::Execution>| e.is_some_and(|e| e.status.state == State::Cancelled);
    fake.until(|w| w.burned.contains(&id) || cancelled(w.executions.get(&id)))
        .await;
}

#[tokio::test]
async fn requests_that_wait_for_an_execute_do_not_block_the_session() {
    let (fake, bridge) = start(&["--ping-ms", "100"]).await;
    fake.change(|w| w.faults.push_back(Fault::Delayed));
    let mut client = bridge.connect().await;
    let id = ExecutionId::random();
    let executed = execute(&mut client, id).await;
    let mut waiting = Vec::new();
    for _ in 0..300 {
        waiting.push(client.request("status", json!({"executionId": id})).await);
    }
    assert_eq!(client.call("ping", json!({})).await.unwrap(), json!({}));
    fake.change(|w| w.handle_delayed = true);
    for request in std::iter::once(executed).chain(waiting) {
        assert_ne!(client.answer(request).await.unwrap(), Value::Null);
    }
}

#[tokio::test]
async fn a_retried_cancel_burns_the_id_of_an_execute_that_is_handled_later() {
    let (fake, bridge) = start(&["--call-ms", "300"]).await;
    fake.change(|w| w.faults.push_back(Fault::Delayed));
    let mut client = bridge.connect().await;
    let id = ExecutionId::random();
    let executed = execute(&mut client, id).await;
    fake.until(|w| !w.puts.is_empty()).await;
    fake.change(|w| w.down = true);
    let cancelled = cancel(&mut client, id).await;
    for request in [executed, cancelled] {
        assert_eq!(client.answer(request).await.unwrap_err()["code"], -32005);
    }
    // claude-api is reachable again, and handles the cancel before the execute.
    fake.change(|w| w.down = false);
    fake.until(|w| w.burned.contains(&id)).await;
    fake.change(|w| w.handle_delayed = true);
    let again = execute(&mut client, id).await;
    let error = client.answer(again).await.unwrap_err();
    assert_eq!(error["data"]["reason"], "cancelled_before_accepted");
    assert!(!fake.world().executions.contains_key(&id));
}

#[tokio::test]
async fn a_cancel_is_retried_until_claude_api_is_reachable() {
    let (fake, bridge) = start(&["--call-ms", "300", "--accept-ms", "1000"]).await;
    let mut client = bridge.connect().await;
    fake.change(|w| w.faults.push_back(Fault::Reset { accepted: true }));
    refuse_as_stopping(&fake);
    let id = ExecutionId::random();
    let executed = execute(&mut client, id).await;
    fake.until(|w| w.executions.contains_key(&id)).await;
    fake.change(|w| w.down = true);
    let cancelled = cancel(&mut client, id).await;
    for request in [executed, cancelled] {
        assert_eq!(client.answer(request).await.unwrap_err()["code"], -32005);
    }
    fake.change(|w| w.down = false);
    let state = |w: &common::fake::World| w.executions[&id].status.state;
    fake.until(|w| state(w) == State::Cancelled).await;
}

#[tokio::test]
async fn a_reconnected_client_that_cannot_attach_yet_has_not_left() {
    let args = ["--disconnect-grace-ms", "300", "--call-ms", "100"];
    let (fake, bridge) = start(&args).await;
    let mut client = bridge.connect().await;
    let params = json!({"prompt": "x", "onDisconnect": "cancel"});
    let id = id_of(&client.call("execute", params).await.unwrap());
    fake.state(id, State::Running);
    fake.change(|w| w.down = true);
    drop(client);
    let mut client = bridge.connect().await;
    // This loop takes several grace times.
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(2);
    while tokio::time::Instant::now() < until {
        let answer = client
            .call("attach", json!({"executionId": id}))
            .await
            .unwrap_err();
        assert_eq!(answer["code"], -32005, "{answer}");
    }
    fake.change(|w| w.down = false);
    let answer = client
        .call("attach", json!({"executionId": id}))
        .await
        .unwrap();
    assert!(answer.is_object(), "{answer}");
    // No cancel follows.
    tokio::time::sleep(std::time::Duration::from_millis(900)).await;
    assert_eq!(fake.world().cancels, []);
}

#[tokio::test]
async fn a_client_that_reconnects_and_repeats_its_execute_has_not_left() {
    let args = ["--disconnect-grace-ms", "300", "--call-ms", "100"];
    let (fake, bridge) = start(&args).await;
    let mut client = bridge.connect().await;
    let id = ExecutionId::random();
    let params = json!({"prompt": "x", "executionId": id, "onDisconnect": "cancel"});
    client.call("execute", params.clone()).await.unwrap();
    fake.state(id, State::Running);
    // No call is answered until claude-api is back.
    fake.change(|w| w.down = true);
    drop(client);
    let mut client = bridge.connect().await;
    // The execute is retried for several grace times, in which a cancel could be sent.
    let executed = client.request("execute", params).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    fake.change(|w| {
        w.faults.push_back(Fault::Delayed);
        w.down = false;
    });
    fake.until(|w| w.puts.len() > 1).await;
    // claude-api handles everything but the execute for several grace times.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(fake.world().cancels, []);
    fake.change(|w| w.handle_delayed = true);
    assert!(client.answer(executed).await.unwrap().is_object());
    tokio::time::sleep(std::time::Duration::from_millis(900)).await;
    assert_eq!(fake.world().cancels, []);
}

#[tokio::test]
async fn a_cancel_of_an_accepted_execution_does_not_wait_for_its_attach() {
    let (fake, bridge) = start(&["--call-ms", "60000"]).await;
    for leaves in [false, true] {
        let mut client = bridge.connect().await;
        let id = fake.add(State::Running, b"");
        fake.change(|w| w.no_status = true);
        client.request("attach", json!({"executionId": id})).await;
        execute(&mut client, id).await;
        let puts = |w: &common::fake::World| w.puts.iter().any(|(put, _)| *put == id);
        fake.until(puts).await;
        let cancelled = cancel(&mut client, id).await;
        if leaves {
            drop(client);
        } else {
            let answer = client.answer(cancelled).await.unwrap();
            assert_eq!(answer["state"], "cancelled", "{answer}");
        }
        // The attach still hangs.
        fake.until(|w| w.cancels.contains(&id)).await;
        fake.change(|w| w.no_status = false);
    }
}

/// A deleted execution (docs/protocol.md, "Problem types").
#[tokio::test]
async fn requests_about_a_deleted_execution_fail_with_deleted() {
    let (fake, bridge) = start(&[]).await;
    let mut client = bridge.connect().await;
    let id = ExecutionId::random();
    fake.change(|w| w.deleted.push(id));
    for (method, params) in [
        ("attach", json!({"executionId": id})),
        ("attach", json!({"executionId": id, "offset": 7})),
        ("status", json!({"executionId": id})),
        ("control", json!({"executionId": id, "type": "CANCEL"})),
        ("control", json!({"executionId": id, "type": "PAUSE"})),
    ] {
        let error = client.call(method, params).await.unwrap_err();
        assert_eq!(error["code"], -32009, "{method}: {error}");
        assert_eq!(error["data"]["reason"], "deleted", "{method}: {error}");
    }
}

/// `ifUnviewedForMs` (docs/protocol.md, "Calls").
#[tokio::test]
async fn a_disconnect_is_reported_immediately_and_retried_while_claude_api_is_down() {
    let (fake, bridge) = start(&["--disconnect-grace-ms", "600", "--call-ms", "300"]).await;
    let mut ids = Vec::new();
    for down in [false, true] {
        let mut client = bridge.connect().await;
        let params = json!({"prompt": "x", "onDisconnect": "cancel"});
        let id = id_of(&client.call("execute", params).await.unwrap());
        fake.state(id, State::Running);
        client.wait_status(id, "RUNNING").await;
        fake.change(|w| w.down = down);
        drop(client);
        if !down {
            // The report is sent long before the end of the grace.
            fake.until(|w| w.unviewed.contains(&id)).await;
            assert_eq!(fake.world().cancels, []);
        }
        ids.push(id);
    }
    fake.change(|w| w.down = false);
    fake.until(|w| ids.iter().all(|id| w.cancels.contains(id)))
        .await;
}

/// A client that reconnects within the grace (docs/protocol.md, "Reconnect").
#[tokio::test]
async fn a_client_that_reconnects_within_the_grace_keeps_its_execution() {
    let (fake, bridge) = start(&["--disconnect-grace-ms", "700"]).await;
    let mut client = bridge.connect().await;
    let id = ExecutionId::random();
    let params = json!({"prompt": "x", "executionId": id, "onDisconnect": "cancel"});
    client.call("execute", params.clone()).await.unwrap();
    fake.state(id, State::Running);
    client.wait_status(id, "RUNNING").await;
    drop(client);
    fake.until(|w| w.unviewed.contains(&id)).await;
    let mut client = bridge.connect().await;
    client.call("execute", params).await.unwrap();
    client.wait_status(id, "RUNNING").await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(fake.world().cancels, []);
    assert_eq!(fake.world().executions[&id].status.state, State::Running);
}
