//! What one session may ask for at once, and what that costs.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::fake::Fault;
use common::{Bridge, Fake, SOON};
use protocol::{ExecutionId, ProblemType, State};
use serde_json::json;

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
    let mut client = bridge.connect().await;
    let mut lists = Vec::new();
    for _ in 0..12 {
        lists.push(client.request("list", json!({"limit": 1000})).await);
    }
    fake.until(|w| w.lists > 0).await;
    // Others are served meanwhile, as often as they like.
    let mut other = bridge.connect().await;
    for _ in 0..3 {
        let page = other.call("list", json!({"limit": 10})).await;
        assert_eq!(page["result"]["executions"].as_array().unwrap().len(), 10);
    }
    // Pages in the kernel's socket buffer do not count as held by the bridge.
    assert!(fake.world().first_lists < 12 + 3);
    for list in lists {
        let page = client.answer(list).await;
        assert!(page["result"]["next"].is_string(), "{page}");
    }
}

/// Waits until the number is above 0 and stands still.
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
async fn a_page_of_a_list_ends_before_512_kib_and_next_leads_through_all_of_it() {
    let (fake, bridge) = start(&[]).await;
    let mut ids = Vec::new();
    for _ in 0..120 {
        let id = fake.add(State::Failed, b"");
        fake.set(id, |e| e.status.stderr_tail = "x".repeat(12_000));
        ids.push(json!(id));
    }
    ids.reverse();
    let mut client = bridge.connect().await;
    let (mut seen, mut before) = (Vec::new(), json!(null));
    loop {
        let params = json!({"limit": 1000, "before": before});
        let page = client.call("list", params).await["result"].take();
        let executions = page["executions"].as_array().unwrap();
        assert!(!executions.is_empty());
        seen.extend(executions.iter().map(|e| e["executionId"].clone()));
        before = page["next"].clone();
        if before.is_null() {
            break;
        }
        assert_eq!(Some(&before), seen.last());
    }
    assert_eq!(seen, ids);
    // The same in a batch, whose answer is one message too.
    let list = |id: u64| json!({"jsonrpc": "2.0", "id": id, "method": "list", "params": {}});
    client.send(&(100..150).map(list).collect()).await;
    let answers = client.recv().await;
    for answer in answers.as_array().unwrap() {
        let executions = answer["result"]["executions"].as_array().unwrap();
        assert!(!executions.is_empty());
        let last = &executions.last().unwrap()["executionId"];
        assert_eq!(answer["result"]["next"], *last);
    }
}

/// 1,150 pipelined queries wait; they are not refused with -32004.
#[tokio::test]
async fn statuses_of_a_client_that_does_not_read_are_bounded_and_all_answered_later() {
    let (fake, bridge) = start(&[]).await;
    let id = fake.add(State::Completed, b"");
    fake.set(id, |e| e.status.stderr_tail = "\u{1}".repeat(10_000));
    let answer_bytes = 60_000;
    // All of them are asked for before the first is answered.
    fake.change(|w| w.no_status = true);
    let mut client = bridge.connect().await;
    let mut asked = Vec::new();
    for _ in 0..1200 {
        asked.push(client.request("status", json!({"executionId": id})).await);
    }
    settled(|| fake.served.load(Ordering::Relaxed) as usize).await;
    fake.change(|w| w.no_status = false);
    let last = settled(|| fake.world().statuses).await;
    // The session's limit, plus the kernel's socket buffers.
    let most = (4 << 20) + (6 << 20);
    assert!(last * answer_bytes < most, "{last} answers were made");
    let mut other = bridge.connect().await;
    assert_eq!(other.call("ping", json!({})).await["result"], json!({}));
    for id in asked {
        let answer = client.answer(id).await;
        assert!(answer["result"].is_object(), "{answer}");
    }
}

/// Answers of calls that act at once are bounded, too.
#[tokio::test]
async fn controls_of_a_client_that_does_not_read_are_bounded() {
    let (fake, bridge) = start(&[]).await;
    let id = fake.add(State::Completed, b"");
    fake.set(id, |e| e.status.stderr_tail = "\u{1}".repeat(10_000));
    let client = bridge.connect().await;
    let (mut write, read) = futures::StreamExt::split(client.stream);
    let asking = tokio::spawn(async move {
        let params = json!({"type": "RESUME", "executionId": id});
        for id in 0..2000 {
            let ask = json!({"jsonrpc": "2.0", "id": id, "method": "control", "params": params});
            let text = tokio_tungstenite::tungstenite::Message::text(ask.to_string());
            futures::SinkExt::send(&mut write, text).await.unwrap();
        }
    });
    let last = settled(|| fake.world().controls).await;
    assert!(last * 60_000 < 10 << 20, "{last} answers were made");
    drop(read);
    asking.abort();
}

/// A list does not keep its memory while a batch holds its answer.
#[tokio::test]
async fn a_list_in_a_batch_that_is_not_answered_yet_keeps_no_other_list_waiting() {
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
        client.send(&batch).await;
        holders.push(client);
    }
    fake.until(|w| w.first_lists >= 2 && w.puts.len() == 2)
        .await;
    let mut other = bridge.connect().await;
    for _ in 0..3 {
        let page = other.call("list", json!({"limit": 1000})).await;
        assert!(page["result"]["executions"].is_array(), "{page}");
    }
}

#[tokio::test]
async fn statuses_that_are_not_answered_hold_up_nothing_else() {
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
        let answer = answer.expect("it waits for the statuses");
        assert!(answer["result"].is_object(), "{answer}");
    }
    fake.change(|w| w.no_status = false);
    for status in statuses {
        let answer = client.answer(status).await;
        assert_eq!(answer["result"]["state"], "cancelled", "{answer}");
    }
}

/// The bytes of the inbound budget that are in use.
async fn inbound(bridge: &Bridge) -> u64 {
    let page = bridge.get("/metrics").await.1;
    let line = page.as_str().unwrap().lines();
    let mut line = line.filter_map(|line| line.strip_prefix("bridge_inbound_bytes "));
    line.next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_large_input_keeps_its_part_of_the_inbound_budget_until_it_is_answered() {
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
    client.call("ping", json!({})).await;
    let held = inbound(&bridge).await;
    assert!(held >= 800_000, "{held}");
    fake.change(|w| w.faults.clear());
    assert!(client.answer(executed).await["result"].is_object());
    client.answer(input).await;
    let free = async {
        while inbound(&bridge).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, free).await.expect("it is kept");
}
