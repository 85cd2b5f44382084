//! Tests of the limits on concurrent requests of one session, and of their memory.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::fake::Fault;
use common::{Bridge, Fake, SOON};
use protocol::{ExecutionId, ProblemType, State};
use serde_json::{Value, json};

async fn start(args: &[&str]) -> (Fake, Bridge) {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, args).await;
    (fake, bridge)
}

#[tokio::test]
async fn a_client_that_does_not_read_its_lists_gets_one_at_a_time() {
    let (fake, bridge) = start(&[]).await;
    for _ in 0..200 {
        let id = fake.add(State::Completed, b"");
        fake.set(id, |e| e.status.stderr_tail = "x".repeat(10_000));
    }
    let mut client = bridge.connect_deaf().await;
    let mut lists = Vec::new();
    for _ in 0..12 {
        lists.push(client.request("list", json!({"limit": 1000})).await);
    }
    fake.until(|w| w.lists > 0).await;
    // Another client is served meanwhile.
    let mut other = bridge.connect().await;
    for _ in 0..3 {
        let page = other.call("list", json!({"limit": 10})).await.unwrap();
        assert_eq!(page["executions"].as_array().unwrap().len(), 10);
    }
    // Pages in the kernel's socket buffer do not count as held by the bridge.
    assert!(fake.world().first_lists < 12 + 3);
    client.read(true);
    for list in lists {
        let page = client.answer(list).await.unwrap();
        assert!(page["next"].is_string(), "{page}");
    }
}

/// Waits until the number is above 0 and has not changed for 500 ms.
async fn settled(number: impl Fn() -> usize) -> usize {
    let mut last = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = number();
        if std::mem::replace(&mut last, now) == now && now > 0 {
            return now;
        }
    }
}

#[tokio::test]
async fn a_page_of_a_list_is_shorter_than_512_kib_and_next_continues_the_list() {
    let (fake, bridge) = start(&[]).await;
    let mut ids = Vec::new();
    for _ in 0..120 {
        let id = fake.add(State::Failed, b"");
        fake.set(id, |e| e.status.stderr_tail = "x".repeat(12_000));
        ids.push(json!(id));
    }
    ids.reverse();
    let mut client = bridge.connect().await;
    let (mut listed, mut before) = (Vec::new(), json!(null));
    loop {
        let params = json!({"limit": 1000, "before": before});
        let page = client.call("list", params).await.unwrap();
        let executions = page["executions"].as_array().unwrap();
        assert!(!executions.is_empty());
        listed.extend(executions.iter().map(|e| e["executionId"].clone()));
        before = page["next"].clone();
        if before.is_null() {
            break;
        }
        assert_eq!(Some(&before), listed.last());
    }
    assert_eq!(listed, ids);
    // The answers to a batch share one message.
    let list = |id: u64| json!({"jsonrpc": "2.0", "id": id, "method": "list", "params": {}});
    let batch: Value = (100..150).map(list).collect();
    client.send_text(&batch.to_string()).await;
    let answers = client.wait_without_id().await;
    for answer in answers.as_array().unwrap() {
        let executions = answer["result"]["executions"].as_array().unwrap();
        assert!(!executions.is_empty());
        let last = &executions.last().unwrap()["executionId"];
        assert_eq!(answer["result"]["next"], *last);
    }
}

/// Pipelined queries wait; they are not refused with -32004.
#[tokio::test]
async fn statuses_of_a_client_that_does_not_read_are_bounded_and_answered_later() {
    let (fake, bridge) = start(&[]).await;
    let id = fake.add(State::Completed, b"");
    fake.set(id, |e| e.status.stderr_tail = "\u{1}".repeat(10_000));
    let answer_bytes = 60_000;
    // All requests are sent before the first answer.
    fake.change(|w| w.no_status = true);
    let mut client = bridge.connect_deaf().await;
    let mut requests = Vec::new();
    for _ in 0..1200 {
        requests.push(client.request("status", json!({"executionId": id})).await);
    }
    settled(|| fake.served.load(Ordering::Relaxed) as usize).await;
    fake.change(|w| w.no_status = false);
    let last = settled(|| fake.world().statuses).await;
    // The session's limit, plus the kernel's socket buffers.
    let max_bytes = (4 << 20) + (6 << 20);
    assert!(last * answer_bytes < max_bytes, "{last} answers were made");
    let mut other = bridge.connect().await;
    assert_eq!(other.call("ping", json!({})).await.unwrap(), json!({}));
    client.read(true);
    for id in requests {
        let answer = client.answer(id).await.unwrap();
        assert!(answer.is_object(), "{answer}");
    }
}

/// The answers to controls, which do not wait for memory, are bounded too.
#[tokio::test]
async fn controls_of_a_client_that_does_not_read_are_bounded() {
    let (fake, bridge) = start(&[]).await;
    let id = fake.add(State::Completed, b"");
    fake.set(id, |e| e.status.stderr_tail = "\u{1}".repeat(10_000));
    let mut client = bridge.connect_deaf().await;
    let sending = tokio::spawn(async move {
        let params = json!({"type": "RESUME", "executionId": id});
        for _ in 0..2000 {
            client.request("control", params.clone()).await;
        }
        client
    });
    let last = settled(|| fake.world().controls).await;
    assert!(last * 60_000 < 10 << 20, "{last} answers were made");
    sending.abort();
}

/// A list does not keep its memory while a batch holds its answer.
#[tokio::test]
async fn a_list_in_an_unanswered_batch_does_not_delay_other_lists() {
    let (fake, bridge) = start(&["--call-ms", "3000"]).await;
    for _ in 0..60 {
        let id = fake.add(State::Completed, b"");
        fake.set(id, |e| e.status.stderr_tail = "x".repeat(16_000));
    }
    fake.change(|w| w.faults.extend([Fault::Hang, Fault::Hang]));
    let mut holders = Vec::new();
    for _ in 0..2 {
        let mut client = bridge.connect().await;
        let batch = json!([
            {"jsonrpc": "2.0", "id": 1, "method": "list", "params": {"limit": 1000}},
            {"jsonrpc": "2.0", "id": 2, "method": "execute", "params": {"prompt": "x"}},
        ]);
        client.send_text(&batch.to_string()).await;
        holders.push(client);
    }
    fake.until(|w| w.first_lists >= 2 && w.puts.len() == 2)
        .await;
    let mut other = bridge.connect().await;
    for _ in 0..3 {
        let page = other.call("list", json!({"limit": 1000})).await.unwrap();
        assert!(page["executions"].is_array(), "{page}");
    }
}

#[tokio::test]
async fn unanswered_statuses_do_not_delay_pings_and_controls() {
    let (fake, bridge) = start(&["--call-ms", "60000"]).await;
    let id = fake.add(State::Running, b"");
    fake.change(|w| w.no_status = true);
    let mut client = bridge.connect().await;
    let mut statuses = Vec::new();
    for _ in 0..300 {
        statuses.push(client.request("status", json!({"executionId": id})).await);
    }
    let cancel = json!({"type": "CANCEL", "executionId": id});
    for (method, params) in [("ping", json!({})), ("control", cancel)] {
        let answer = tokio::time::timeout(SOON, client.call(method, params)).await;
        let answer = answer.expect("the request waits for the statuses");
        assert!(answer.unwrap().is_object());
    }
    fake.change(|w| w.no_status = false);
    for status in statuses {
        let answer = client.answer(status).await.unwrap();
        assert_eq!(answer["state"], "cancelled", "{answer}");
    }
}

/// Returns the bytes of inbound memory in use.
async fn inbound(bridge: &Bridge) -> u64 {
    let page = bridge.get("/metrics").await.1;
    let line = page.as_str().unwrap().lines();
    let mut line = line.filter_map(|line| line.strip_prefix("bridge_inbound_bytes "));
    line.next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_large_input_holds_inbound_memory_until_its_answer() {
    let args = ["--inbound-bytes", "2000000", "--call-ms", "300"];
    let (fake, bridge) = start(&args).await;
    let stopping = Fault::Problem(ProblemType::Stopping);
    fake.change(|w| w.faults.extend(vec![stopping; 1000]));
    let mut client = bridge.connect().await;
    let id = ExecutionId::random();
    let params = json!({"prompt": "x", "executionId": id});
    let executed = client.request("execute", params).await;
    let params = json!({"executionId": id, "offset": 0, "data": "x".repeat(800_000)});
    let input = client.request("input", params).await;
    // Both were read, and the input waits for the execute.
    client.call("ping", json!({})).await.unwrap();
    let held = inbound(&bridge).await;
    assert!(held >= 800_000, "{held}");
    fake.change(|w| w.faults.clear());
    assert!(client.answer(executed).await.unwrap().is_object());
    // The execution accepts no input.
    assert!(client.answer(input).await.is_err());
    let free = async {
        while inbound(&bridge).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, free)
        .await
        .expect("the memory is not released");
}
