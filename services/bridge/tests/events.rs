//! The method `events`: parts that join, limits, deadlines and refusals.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

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

/// Lines with many quotes, so that a part is far shorter than its JSON.
fn lines(count: usize) -> String {
    (0..count).map(|n| format!("{{\"{n}\":\"\"}}\n")).collect()
}

#[tokio::test]
async fn parts_are_whole_lines_that_join_to_the_events() {
    let (fake, bridge) = start(&[]).await;
    let events = lines(100_000);
    let id = fake.add(State::Completed, events.as_bytes());
    let mut client = bridge.connect().await;
    for most in [None, Some(50_000)] {
        let (mut joined, mut parts) = (String::new(), 0);
        loop {
            let mut params = json!({"executionId": id, "maxBytes": most});
            if parts > 0 {
                params["offset"] = joined.len().into();
            }
            let part = client.call("events", params).await.unwrap();
            let text = part["text"].as_str().unwrap();
            assert!(text.ends_with('\n') && text.len() <= most.unwrap_or(512 * 1024));
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
    let ask = |n: u64| json!({"jsonrpc": "2.0", "id": n, "method": "events", "params": {"executionId": id}});
    let batch: Value = (100..150).map(ask).collect();
    client.send_text(&batch.to_string()).await;
    // The client checks the length of every message.
    let answers = client.wait_loose().await;
    for answer in answers.as_array().unwrap() {
        let text = answer["result"]["text"].as_str().unwrap();
        assert!(text.ends_with('\n'), "{answer}");
        assert_eq!(answer["result"]["nextOffset"], text.len());
    }
}

#[tokio::test]
async fn an_unfinished_line_of_a_live_execution_is_left_for_later() {
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
async fn refusals_name_their_reason_and_are_counted() {
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
        let (got, why, error) = refusal(&mut client, params).await;
        assert_eq!((got, &*why), (code, reason), "{error}");
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
async fn events_that_stop_on_their_way_end_with_the_time_of_a_call() {
    let (fake, bridge) = start(&["--call-ms", "400"]).await;
    let id = fake.add(State::Running, b"{}\n{}\n");
    fake.change(|w| w.stuck_events = true);
    let mut client = bridge.connect().await;
    let begun = Instant::now();
    let asked = client.request("events", json!({"executionId": id})).await;
    // It holds up nothing else.
    assert_eq!(client.call("ping", json!({})).await.unwrap(), json!({}));
    let cancel = json!({"type": "CANCEL", "executionId": id});
    assert!(client.call("control", cancel).await.unwrap().is_object());
    let answer = tokio::time::timeout(SOON, client.answer(asked))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(answer["code"], -32005, "{answer}");
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_client_that_does_not_read_its_events_gets_one_part_at_a_time() {
    let (fake, bridge) = start(&[]).await;
    let id = fake.add(State::Completed, lines(100_000).as_bytes());
    let mut client = bridge.connect_deaf().await;
    let mut asked = Vec::new();
    for _ in 0..100 {
        asked.push(client.request("events", json!({"executionId": id})).await);
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
    for id in asked {
        let part = client.answer(id).await.unwrap();
        assert!(part["text"].is_string(), "{part}");
    }
}
