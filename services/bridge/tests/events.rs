//! Tests of the method `events`: parts, limits, deadlines and refusals.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod common;

use std::time::{Duration, Instant};

use common::{Bridge, Fake, SOON};
use protocol::{ExecutionId, State};
use serde_json::{Value, json};

async fn start(args: &[&str]) -> (Fake, Bridge) {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, args).await;
    (fake, bridge)
}

/// Returns lines with many quotes, so that a part is far shorter than its JSON.
fn lines(count: usize) -> String {
    (0..count).map(|n| format!("{{\"{n}\":\"\"}}\n")).collect()
}

#[tokio::test]
async fn parts_have_whole_lines_and_join_to_the_events() {
    let (fake, bridge) = start(&[]).await;
    let events = lines(100_000);
    let id = fake.add(State::Completed, events.as_bytes());
    let mut client = bridge.connect().await;
    for max_bytes in [None, Some(50_000)] {
        let (mut joined, mut parts) = (String::new(), 0);
        loop {
            let mut params = json!({"executionId": id, "maxBytes": max_bytes});
            if parts > 0 {
                params["offset"] = joined.len().into();
            }
            let part = client.call("events", params).await.unwrap();
            let text = part["text"].as_str().unwrap();
            assert!(text.ends_with('\n') && text.len() <= max_bytes.unwrap_or(512 * 1024));
            assert_eq!(part["executionId"], json!(id));
            assert_eq!(part["offset"], joined.len());
            joined += text;
            parts += 1;
            assert_eq!(part["nextOffset"], joined.len());
            if part["ended"] == true {
                break;
            }
        }
        assert!(joined == events && parts > 2, "{parts} parts");
    }
}

#[tokio::test]
async fn events_in_a_batch_share_one_message() {
    let (fake, bridge) = start(&[]).await;
    let id = fake.add(State::Completed, lines(100_000).as_bytes());
    let mut client = bridge.connect().await;
    let params = json!({"executionId": id});
    let request = |n: u64| json!({"jsonrpc": "2.0", "id": n, "method": "events", "params": params});
    let batch: Value = (100..150).map(request).collect();
    client.send_text(&batch.to_string()).await;
    // The client checks the length of every message.
    let answers = client.wait_without_id().await;
    for answer in answers.as_array().unwrap() {
        let text = answer["result"]["text"].as_str().unwrap();
        assert!(text.ends_with('\n'), "{answer}");
        assert_eq!(answer["result"]["nextOffset"], text.len());
    }
}

#[tokio::test]
async fn an_unfinished_line_of_a_live_execution_is_not_sent() {
    let (fake, bridge) = start(&[]).await;
    let id = fake.add(State::Running, b"{}\n{\"a");
    let mut client = bridge.connect().await;
    let mut part = async |offset: u64| {
        let params = json!({"executionId": id, "offset": offset});
        let part = client.call("events", params).await.unwrap();
        let text = part["text"].as_str().unwrap().to_owned();
        (text, part["nextOffset"].clone(), part["ended"].clone())
    };
    let of = |text: &str, next: u64, ended: bool| (text.to_owned(), json!(next), json!(ended));
    assert_eq!(part(0).await, of("{}\n", 3, false));
    assert_eq!(part(3).await, of("", 3, false));
    fake.write(id, b"\":1}\n{");
    assert_eq!(part(3).await, of("{\"a\":1}\n", 11, false));
    fake.end(id, State::Cancelled);
    assert_eq!(part(11).await, of("{", 12, true));
}

async fn refusal(client: &mut common::Client, params: Value) -> (i64, String, Value) {
    let error = client.call("events", params).await.unwrap_err();
    let reason = error["data"]["reason"].as_str().unwrap().to_owned();
    (error["code"].as_i64().unwrap(), reason, error)
}

#[tokio::test]
async fn refusals_have_their_reason_and_are_counted() {
    let (fake, bridge) = start(&[]).await;
    let id = fake.add(State::Completed, b"0123456789");
    fake.set(id, |e| e.status.kept_from = 4);
    let mut client = bridge.connect().await;
    for (params, code, reason) in [
        (
            json!({"executionId": ExecutionId::random()}),
            -32003,
            "not_found",
        ),
        (
            json!({"executionId": id, "offset": 3}),
            -32007,
            "offset_not_kept",
        ),
        (
            json!({"executionId": id, "offset": 11}),
            -32602,
            "offset_beyond_end",
        ),
        (
            json!({"executionId": id, "maxBytes": 3}),
            -32602,
            "invalid_params",
        ),
    ] {
        let (actual_code, actual_reason, error) = refusal(&mut client, params).await;
        assert_eq!((actual_code, &*actual_reason), (code, reason), "{error}");
    }
    let kept = client
        .call("events", json!({"executionId": id}))
        .await
        .unwrap();
    assert_eq!(kept["offset"], 4);
    let page = bridge.get("/metrics").await.1;
    for reason in [
        "not_found",
        "offset_not_kept",
        "offset_beyond_end",
        "invalid_params",
    ] {
        let line = format!("bridge_requests_refused_total{{reason=\"{reason}\"}} 1\n");
        assert!(page.as_str().unwrap().contains(&line), "{line}");
    }
}

#[tokio::test]
async fn an_events_request_that_stalls_ends_with_the_call_timeout() {
    let (fake, bridge) = start(&["--call-ms", "400"]).await;
    let id = fake.add(State::Running, b"{}\n{}\n");
    fake.change(|w| w.stuck_events = true);
    let mut client = bridge.connect().await;
    let started = Instant::now();
    let request = client.request("events", json!({"executionId": id})).await;
    // Other requests are not delayed.
    assert_eq!(client.call("ping", json!({})).await.unwrap(), json!({}));
    let cancel = json!({"type": "CANCEL", "executionId": id});
    assert!(client.call("control", cancel).await.unwrap().is_object());
    let answer = tokio::time::timeout(SOON, client.answer(request))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(answer["code"], -32005, "{answer}");
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_client_that_does_not_read_its_events_gets_one_part_at_a_time() {
    let (fake, bridge) = start(&[]).await;
    let id = fake.add(State::Completed, lines(100_000).as_bytes());
    let mut client = bridge.connect_deaf().await;
    let mut requests = Vec::new();
    for _ in 0..100 {
        requests.push(client.request("events", json!({"executionId": id})).await);
    }
    fake.until(|w| w.events > 0).await;
    let mut other = bridge.connect().await;
    for _ in 0..3 {
        let part = other
            .call("events", json!({"executionId": id}))
            .await
            .unwrap();
        assert!(part["text"].is_string(), "{part}");
    }
    // Parts in the kernel's socket buffer do not count as held by the bridge.
    assert!(fake.world().events < 50, "{} parts", fake.world().events);
    client.read(true);
    for id in requests {
        let part = client.answer(id).await.unwrap();
        assert!(part["text"].is_string(), "{part}");
    }
}
