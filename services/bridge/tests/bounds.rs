//! What one session may ask for at once, and what that costs.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

mod common;

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
        let page = other.call("list", json!({})).await;
        assert_eq!(page["result"]["executions"].as_array().unwrap().len(), 200);
    }
    assert_eq!(fake.world().lists, 1 + 3);
    for list in lists {
        let page = client.answer(list).await;
        assert_eq!(page["result"]["executions"].as_array().unwrap().len(), 200);
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
    let mut line = line.filter_map(|line| line.strip_prefix("cc_bridge_inbound_bytes "));
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
