//! The order of messages, views, offsets, batches and ids.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

mod common;

use common::{Bridge, Fake};
use protocol::{ExecutionId, State};
use serde_json::{Value, json};

async fn start() -> (Fake, Bridge) {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    (fake, bridge)
}

#[tokio::test]
async fn an_execution_from_answer_to_end() {
    let (fake, bridge) = start().await;
    let mut client = bridge.connect().await;
    let id = client.request("execute", json!({"command": "do it"})).await;
    let answer = client.recv().await;
    assert_eq!(answer["id"], id);
    assert_eq!(answer["result"]["state"], "queued");
    let execution: ExecutionId = answer["result"]["executionId"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let first = client.recv().await;
    assert_eq!(first["params"]["status"], "QUEUED");
    assert!(first.get("id").is_none() && first["params"]["elapsedMs"].is_u64());
    fake.state(execution, State::Running);
    fake.write(execution, "héllo ".as_bytes());
    client.until(|m| m["method"] == "output").await;
    fake.write(execution, "wörld".as_bytes());
    fake.end(execution, State::Completed);
    let heard = client.all_of(execution).await;
    assert_eq!(heard.output, "héllo wörld".as_bytes());
    let end = heard.end.as_ref().unwrap();
    assert_eq!(end["status"], "COMPLETED");
    assert_eq!(end["exitCode"], 0);
    assert_eq!(end["outputBytes"], 13);
    assert_eq!(
        end["crc32"],
        format!("{:08x}", crc32fast::hash("héllo wörld".as_bytes()))
    );
    // Nothing more: the answer to a ping is the next message.
    let ping = client.call("ping", json!({})).await;
    assert_eq!(ping["result"], json!({}));
    let (_, body) = fake.world().puts[0].clone();
    assert_eq!(body.prompt, "do it");
    assert!(body.lane.is_some());
}

#[tokio::test]
async fn states_as_words_and_heartbeats() {
    let (fake, bridge) = start().await;
    let mut client = bridge.connect().await;
    let id = client.execute("x").await;
    fake.state(id, State::Running);
    client.status("RUNNING").await;
    client.status("RUNNING").await;
    let paused = client.call("control", json!({"type": "PAUSE"})).await;
    assert_eq!(paused["result"]["state"], "paused");
    client.status("PAUSED").await;
    client
        .call("control", json!({"type": "RESUME", "executionId": id}))
        .await;
    client.status("RESUMED").await;
    client.status("RUNNING").await;
    client.call("control", json!({"type": "CANCEL"})).await;
    let heard = client.all_of(id).await;
    assert_eq!(heard.words.iter().filter(|w| *w == "RESUMED").count(), 1);
    assert_eq!(heard.words.last().unwrap(), "CANCELLED");
    let none = client.call("control", json!({"type": "CANCEL"})).await;
    assert_eq!(none["error"]["code"], -32003);
    let again = client
        .call("control", json!({"type": "CANCEL", "executionId": id}))
        .await;
    assert_eq!(again["result"]["state"], "cancelled");
}

#[tokio::test]
async fn attaching_at_offsets() {
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
            .await;
        assert_eq!(answer["result"]["state"], "completed");
        let heard = client.all_of(id).await;
        assert_eq!(String::from_utf8_lossy(&heard.output), expected, "{offset}");
        assert_eq!(
            heard.words,
            ["COMPLETED"],
            "a terminal answer has no first status"
        );
        if !expected.is_empty() {
            assert_eq!(heard.next - expected.len() as u64, from);
        }
    }
    let mut client = bridge.connect().await;
    let error = client
        .call("attach", json!({"executionId": id, "offset": 9}))
        .await;
    assert_eq!(error["error"]["code"], -32602);
    assert_eq!(error["error"]["data"]["reason"], "offset_beyond_end");
    let unknown = client
        .call("attach", json!({"executionId": ExecutionId::random()}))
        .await;
    assert_eq!(unknown["error"]["code"], -32003);
}

#[tokio::test]
async fn what_is_not_kept_is_a_gap_or_an_error() {
    let (fake, bridge) = start().await;
    let id = fake.add(State::Running, b"0123456789");
    fake.set(id, |e| e.status.kept_from = 4);
    let mut client = bridge.connect().await;
    let error = client
        .call("attach", json!({"executionId": id, "offset": 3}))
        .await;
    assert_eq!(error["error"]["code"], -32007);
    assert_eq!(error["error"]["data"]["keptFrom"], 4);
    client.call("attach", json!({"executionId": id})).await;
    let gap = client.until(|m| m["method"] == "gap").await;
    assert_eq!(
        gap["params"],
        json!({"executionId": id, "from": 0, "to": 4})
    );
    client.until(|m| m["method"] == "output").await;
    // Overtaken by freeing: the stream breaks, the retry learns where to go on.
    fake.write(id, b"abcdef");
    client
        .until(|m| {
            m["params"]["content"]
                .as_str()
                .is_some_and(|c| c.ends_with('f'))
        })
        .await;
    fake.set(id, |e| {
        e.output.extend_from_slice(b"lost!KEPT");
        e.status.output_bytes = e.output.len() as u64;
        e.status.kept_from = e.status.output_bytes - 4;
    });
    fake.end(id, State::Completed);
    let heard = client.all_of(id).await;
    assert_eq!(heard.gaps, [(0, 4), (16, 21)]);
    assert!(heard.output.ends_with(b"KEPT"));
}

#[tokio::test]
async fn a_batch_is_one_array_and_its_views_begin_after_it() {
    let (fake, bridge) = start().await;
    let done = fake.add(State::Completed, b"done");
    let mut client = bridge.connect().await;
    client
        .send(&json!([
            {"jsonrpc": "2.0", "id": "a", "method": "attach", "params": {"executionId": done}},
            {"jsonrpc": "2.0", "id": "b", "method": "execute", "params": {"prompt": "x"}},
            {"jsonrpc": "2.0", "method": "ping"},
            {"jsonrpc": "2.0", "id": "c", "method": "nothing"},
            1,
        ]))
        .await;
    let array = client.recv().await;
    let answers = array.as_array().unwrap();
    assert_eq!(answers.len(), 4);
    let of = |id: Value| answers.iter().find(|a| a["id"] == id).unwrap();
    assert_eq!(of(json!("a"))["result"]["state"], "completed");
    assert_eq!(of(json!("b"))["result"]["state"], "queued");
    assert_eq!(of(json!("c"))["error"]["code"], -32601);
    assert_eq!(of(Value::Null)["error"]["code"], -32600);
    client.all_of(done).await;
    for (batch, reason) in [
        (json!([]), "empty_batch"),
        (Value::Array(vec![json!(1); 51]), "batch_too_long"),
    ] {
        client.send(&batch).await;
        let error = client.until(|m| m.get("error").is_some()).await;
        assert_eq!(error["error"]["code"], -32600);
        assert_eq!(error["id"], Value::Null);
        assert_eq!(error["error"]["data"]["reason"], reason);
    }
}

#[tokio::test]
async fn executes_without_an_id() {
    let (fake, bridge) = start().await;
    let mut client = bridge.connect().await;
    client
        .send(&json!({"jsonrpc": "2.0", "method": "execute", "params": {"prompt": "x"}}))
        .await;
    let first = client.recv().await;
    assert_eq!(first["params"]["status"], "QUEUED");
    let wanted = ExecutionId::random();
    for params in [
        json!({"executionId": wanted}),
        json!({"executionId": wanted, "prompt": "x", "env": {"PATH": "/"}}),
    ] {
        client
            .send(&json!({"jsonrpc": "2.0", "method": "execute", "params": params}))
            .await;
        let refused = client.status("FAILED").await;
        assert_eq!(refused["params"]["reason"], "rejected");
        assert_eq!(refused["params"].get("executionId"), None);
        assert_eq!(
            refused["params"]["error"]["data"]["executionId"],
            wanted.to_string()
        );
    }
    // Refused by claude-api.
    fake.change(|w| {
        w.faults.push_back(common::fake::Fault::Problem(
            protocol::ProblemType::QueueFull,
        ))
    });
    client
        .send(&json!({"jsonrpc": "2.0", "method": "execute", "params": {"prompt": "x"}}))
        .await;
    assert_eq!(
        client.status("FAILED").await["params"]["error"]["code"],
        -32004
    );
}

#[tokio::test]
async fn the_default_id_is_the_oldest_that_lives() {
    let (fake, bridge) = start().await;
    let mut client = bridge.connect().await;
    let first = client.execute("1").await;
    let second = client.execute("2").await;
    let third = client.execute("3").await;
    assert_eq!(
        client.call("status", json!({})).await["result"]["executionId"],
        first.to_string()
    );
    // It ends while nobody looks.
    client.call("detach", json!({"executionId": first})).await;
    fake.end(first, State::Completed);
    assert_eq!(
        client.call("status", json!({})).await["result"]["executionId"],
        second.to_string()
    );
    client.call("control", json!({"type": "CANCEL"})).await;
    client.all_of(second).await;
    assert_eq!(
        client.call("status", json!({})).await["result"]["executionId"],
        third.to_string()
    );
    let list = client.call("list", json!({"limit": 10})).await;
    assert_eq!(list["result"]["executions"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn an_id_is_an_idempotency_key_and_several_may_look() {
    let (fake, bridge) = start().await;
    let id = ExecutionId::random();
    let params = json!({"prompt": "x", "executionId": id.to_string().to_uppercase()});
    let mut one = bridge.connect().await;
    one.call("execute", params.clone()).await;
    fake.state(id, State::Running);
    fake.write(id, b"abc");
    one.until(|m| m["method"] == "output").await;
    let mut two = bridge.connect().await;
    assert_eq!(
        two.call("execute", params).await["result"]["executionId"],
        id.to_string()
    );
    let other = two
        .call("execute", json!({"prompt": "y", "executionId": id}))
        .await;
    assert_eq!(other["error"]["code"], -32009);
    assert_eq!(other["error"]["data"]["executionId"], id.to_string());
    fake.write(id, b"def");
    fake.end(id, State::Failed);
    for client in [&mut one, &mut two] {
        assert_eq!(client.all_of(id).await.output, b"abcdef");
    }
}

#[tokio::test]
async fn attaching_again_and_detaching() {
    let (fake, bridge) = start().await;
    let id = fake.add(State::Running, b"0123456789");
    let mut client = bridge.connect().await;
    client
        .call("attach", json!({"executionId": id, "offset": 2}))
        .await;
    client.until(|m| m["method"] == "output").await;
    client.forget();
    // From here on the checker sees one new view alone.
    client
        .call("attach", json!({"executionId": id, "offset": 5}))
        .await;
    client.forget();
    client
        .until(|m| {
            m["params"]["content"]
                .as_str()
                .is_some_and(|c| c.ends_with('9'))
        })
        .await;
    assert!(client.seen[&id.to_string()].output.starts_with(b"5"));
    assert_eq!(
        client.call("detach", json!({"executionId": id})).await["result"],
        json!({})
    );
    let words = client.seen[&id.to_string()].words.len();
    fake.write(id, b"more");
    fake.end(id, State::Completed);
    client.call("status", json!({"executionId": id})).await;
    client.call("ping", json!({})).await;
    assert_eq!(
        client.seen[&id.to_string()].words.len(),
        words,
        "nothing after a detach"
    );
}

#[tokio::test]
async fn news_in_the_status_are_notices() {
    let (fake, bridge) = start().await;
    let mut client = bridge.connect().await;
    let id = client.execute("x").await;
    fake.set(id, |e| {
        e.status.state = State::Running;
        e.status.activity = Some("retrying: 529".into());
    });
    assert_eq!(
        client.notice("api_retry").await["params"]["data"]["errorStatus"],
        529
    );
    fake.set(id, |e| e.status.stalled = true);
    client.notice("stalled").await;
    fake.set(id, |e| {
        e.status
            .warn(jiff::Timestamp::now(), "odd", "odd".into(), Value::Null);
        e.status
            .permission_denials
            .push(json!({"tool_name": "Bash"}));
    });
    assert_eq!(
        client.notice("tool_denied").await["params"]["executionId"],
        id.to_string()
    );
    client.notice("odd").await;
}

/// The wall clock was set back two hours after the acceptance.
#[tokio::test]
async fn the_elapsed_time_continues_when_the_clock_is_set_back() {
    let (fake, bridge) = start().await;
    let id = fake.add(State::Running, b"");
    fake.set(id, |execution| {
        execution.status.created_at += jiff::SignedDuration::from_hours(2);
    });
    let mut client = bridge.connect().await;
    client.call("attach", json!({"executionId": id})).await;
    let first = client.status("RUNNING").await;
    let at = |message: &Value| message["params"]["elapsedMs"].as_u64().unwrap();
    // The bridge learns the passing of time only from its own clock.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let later = client.status("RUNNING").await;
        if at(&later) > at(&first) {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "it stands at {}",
            at(&later)
        );
    }
}
