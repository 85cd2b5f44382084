//! Faults between the bridge and claude-api.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

mod common;

use common::fake::Fault;
use common::{Bridge, Fake};
use protocol::{ExecutionId, ProblemType, State};
use serde_json::{Value, json};
use tokio::net::TcpListener;

fn is_unreachable(update: &Value) -> bool {
    update["upstream"] == "unreachable"
}

#[tokio::test]
async fn the_same_put_until_accepted() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    let mut client = bridge.connect().await;
    fake.change(|w| {
        w.faults.extend([
            Fault::Problem(ProblemType::Stopping),
            Fault::Foreign(502),
            Fault::Reset { accepted: false },
            Fault::Reset { accepted: true },
        ]);
    });
    let id: ExecutionId = client.start("once").await.parse().unwrap();
    let page = bridge.get("/metrics").await.1;
    let retries = "\nbridge_retries_total{request=\"execute\"} 4\n";
    assert!(page.as_str().unwrap().contains(retries), "{page}");
    let world = fake.world();
    assert_eq!(world.puts.len(), 5);
    assert!(
        world
            .puts
            .iter()
            .all(|(put, body)| *put == id && body.prompt == "once")
    );
    assert_eq!(world.executions.len(), 1);
}

#[tokio::test]
async fn what_is_told_at_once() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    let mut client = bridge.connect().await;
    for (kind, code) in [
        (ProblemType::QueueFull, -32004),
        (ProblemType::SpoolUnwritable, -32005),
        (ProblemType::NotAllowed, -32002),
        (ProblemType::InvalidBody, -32602),
        (ProblemType::Deleted, -32009),
        (ProblemType::Internal, -32603),
    ] {
        fake.change(|w| w.faults.push_back(Fault::Problem(kind)));
        let answer = client
            .call("execute", json!({"prompt": "x"}))
            .await
            .unwrap_err();
        assert_eq!(answer["code"], code);
        assert!(answer["data"]["executionId"].is_string());
    }
    assert_eq!(fake.world().puts.len(), 6, "none was repeated");
}

#[tokio::test]
async fn nobody_there() {
    // A port that nobody listens on, and that nobody else is given meanwhile.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    let bridge = Bridge::start(addr, &["--accept-ms", "600", "--call-ms", "200"]).await;
    let mut client = bridge.connect().await;
    let execute = client.request("execute", json!({"prompt": "x"})).await;
    // Meanwhile the session answers.
    assert_eq!(client.call("ping", json!({})).await.unwrap(), json!({}));
    let id = ExecutionId::random();
    let status = client
        .call("status", json!({"executionId": id}))
        .await
        .unwrap_err();
    assert_eq!(status["code"], -32005);
    let error = client.answer(execute).await.unwrap_err();
    assert_eq!(error["code"], -32005);
    assert_eq!(error["data"]["accepted"], false);
    assert!(
        error["data"]["attempts"].as_u64().unwrap() >= 2 && error["data"]["seconds"].is_number()
    );
    let (status, page) = bridge.get("/health/ready").await;
    assert_eq!(status, 503);
    assert_eq!(page["detail"], "claude-api cannot be reached");
    assert_eq!(bridge.get("/health/live").await.0, 200);
}

#[tokio::test]
async fn an_attempt_without_an_answer_leaves_it_unknown() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &["--accept-ms", "400"]).await;
    let mut client = bridge.connect().await;
    fake.change(|w| w.faults.extend(vec![Fault::Reset { accepted: true }; 20]));
    let answer = client
        .call("execute", json!({"prompt": "x"}))
        .await
        .unwrap_err();
    assert_eq!(answer["code"], -32005);
    assert_eq!(answer["data"]["accepted"], "unknown");
}

#[tokio::test]
async fn a_cancel_ends_the_retrying() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    let mut client = bridge.connect().await;
    // Never accepted for certain: nothing follows.
    fake.change(|w| {
        w.faults
            .extend(vec![Fault::Problem(ProblemType::Stopping); 1000])
    });
    let execute = client.request("execute", json!({"prompt": "x"})).await;
    fake.until(|w| !w.puts.is_empty()).await;
    let cancel = client
        .call("control", json!({"type": "CANCEL"}))
        .await
        .unwrap_err();
    assert_eq!(cancel["code"], -32003);
    let answer = client.answer(execute).await.unwrap_err();
    assert_eq!(answer["data"]["accepted"], false);
    assert!(fake.world().cancels.is_empty());
    // Accepted, but the answer never came: a cancel follows under the same id.
    fake.change(|w| {
        w.puts.clear();
        w.faults.clear();
        w.faults.push_back(Fault::Reset { accepted: true });
        w.faults
            .extend(vec![Fault::Problem(ProblemType::Stopping); 1000]);
    });
    let id = ExecutionId::random();
    let execute = client
        .request("execute", json!({"prompt": "x", "executionId": id}))
        .await;
    fake.until(|w| w.puts.len() > 1).await;
    let cancel = client
        .call("control", json!({"type": "CANCEL", "executionId": id}))
        .await
        .unwrap();
    assert_eq!(cancel["state"], "cancelled");
    // No PUT is taken that could tell whose body it has.
    let answer = client.answer(execute).await.unwrap_err();
    assert_eq!(answer["data"]["accepted"], "unknown");
    assert!(fake.world().cancels.contains(&id));
}

#[tokio::test]
async fn puts_go_one_at_a_time_in_order() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    let mut client = bridge.connect().await;
    fake.change(|w| w.faults.extend([Fault::Foreign(503), Fault::Foreign(503)]));
    let mut requests = Vec::new();
    for n in 0..5 {
        requests.push(
            client
                .request("execute", json!({"prompt": format!("{n}")}))
                .await,
        );
    }
    for request in requests {
        client.answer(request).await.unwrap();
    }
    let prompts: Vec<_> = fake
        .world()
        .puts
        .iter()
        .map(|(_, b)| b.prompt.clone())
        .collect();
    assert_eq!(prompts, ["0", "0", "0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn cuts_at_random_bytes_join_exactly() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    let text: String = (0..200_000)
        .map(|n| ['a', 'é', '😀', '\n', '\u{1}'][n * 7 % 5])
        .collect();
    fake.change(|w| w.cut = Some(60_000));
    let mut client = bridge.connect().await;
    let id: ExecutionId = client.start("x").await.parse().unwrap();
    fake.state(id, State::Running);
    // In pieces that split characters.
    for piece in text.as_bytes().chunks(10_007) {
        fake.write(id, piece);
    }
    fake.end(id, State::Completed);
    let mut late = bridge.connect().await;
    late.attach(id, None).await.unwrap();
    for client in [&client, &late] {
        let (output, end) = client.wait_terminal(id).await;
        assert_eq!(output.len(), text.len());
        assert!(output == text.as_bytes() && client.gaps(id).is_empty());
        let crc = format!("{:08x}", crc32fast::hash(&output));
        assert_eq!(end["crc32"], crc);
    }
    assert!(fake.world().cuts > 10);
}

#[tokio::test]
async fn an_outage_in_mid_stream() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    let mut client = bridge.connect().await;
    let id: ExecutionId = client.start("x").await.parse().unwrap();
    fake.state(id, State::Running);
    fake.write(id, b"before ");
    client.wait_output(id, 1).await;
    fake.change(|w| w.down = true);
    client.wait_notice("upstream_unreachable").await;
    for beat in client.wait_updates(id, 3, is_unreachable).await {
        assert_eq!(beat["status"], "RUNNING");
    }
    fake.write(id, b"after");
    fake.end(id, State::Completed);
    fake.change(|w| w.down = false);
    let (output, end) = client.wait_terminal(id).await;
    assert_eq!(output, b"before after");
    assert!(end.get("upstream").is_none());
}

#[tokio::test]
async fn an_accepted_one_that_is_no_longer_known() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    let mut client = bridge.connect().await;
    let id: ExecutionId = client.start("x").await.parse().unwrap();
    fake.state(id, State::Running);
    fake.write(id, b"abc");
    client.wait_output(id, 1).await;
    fake.change(|w| w.executions.clear());
    let (_, end) = client.wait_terminal(id).await;
    assert_eq!(end["status"], "INTERRUPTED");
    assert_eq!(end["reason"], "lost");
    assert_eq!(end["exitCode"], Value::Null);
    assert_eq!(end["outputBytes"], 3);
    let status = client
        .call("status", json!({"executionId": id}))
        .await
        .unwrap_err();
    assert_eq!(status["code"], -32003);
}

#[tokio::test]
async fn readiness_is_claude_apis() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    assert_eq!(bridge.get("/health/ready").await.0, 200);
    fake.world().ready = false;
    let (status, page) = bridge.get("/health").await;
    assert_eq!(status, 503);
    assert_eq!(page["reasons"][0]["code"], "no_credential");
}

#[tokio::test]
async fn heartbeats_go_on_before_anybody_knows_of_an_outage() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    let mut client = bridge.connect().await;
    let id: ExecutionId = client.start("x").await.parse().unwrap();
    client.wait_status(id, "QUEUED").await;
    fake.change(|w| {
        w.no_beats = true;
        let status = &mut w.executions.get_mut(&id).unwrap().status;
        status.state = State::Running;
    });
    // The first is claude-api's, the second the bridge's own.
    let is_running = |update: &Value| update["status"] == "RUNNING";
    for beat in client.wait_updates(id, 2, is_running).await {
        assert_eq!(beat.get("upstream"), None, "{beat}");
    }
    client.wait_notice("upstream_unreachable").await;
}

#[tokio::test]
async fn an_outage_before_the_last_bytes_is_told() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    let mut client = bridge.connect().await;
    fake.change(|w| w.no_output = true);
    let id: ExecutionId = client.start("x").await.parse().unwrap();
    fake.state(id, State::Running);
    client.wait_status(id, "RUNNING").await;
    fake.write(id, b"the end");
    fake.end(id, State::Completed);
    client.wait_notice("upstream_unreachable").await;
    let beat = client.wait_updates(id, 1, is_unreachable).await;
    assert_eq!(beat[0]["status"], "RUNNING");
    fake.change(|w| w.no_output = false);
    assert_eq!(client.wait_terminal(id).await.0, b"the end");
}

/// A proxy asks for more than what is left of the time.
#[tokio::test]
async fn a_retry_after_beyond_the_time_left_is_cut_to_one_more_attempt() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &["--accept-ms", "1500"]).await;
    let mut client = bridge.connect().await;
    fake.change(|w| w.faults.push_back(Fault::Later(503, 120)));
    client.start("x").await;
    assert_eq!(fake.world().puts.len(), 2);
    fake.change(|w| {
        w.faults
            .extend([Fault::Later(503, 120), Fault::Later(503, 120)])
    });
    let answer = client
        .call("execute", json!({"prompt": "x"}))
        .await
        .unwrap_err();
    assert_eq!(answer["code"], -32005, "{answer}");
    assert_eq!(answer["data"]["attempts"], 2, "{answer}");
}

/// The heartbeat of claude-api may be the longer one.
#[tokio::test]
async fn a_claude_api_with_a_longer_heartbeat_is_not_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fake = Fake::beating(listener, std::time::Duration::from_secs(3600)).await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    // Until the limits are known.
    while !bridge.connect().await.connected()["limits"].is_object() {}
    let mut client = bridge.connect().await;
    let id = fake.add(State::Running, b"");
    client.attach(id, None).await.unwrap();
    let is_running = |update: &Value| update["status"] == "RUNNING";
    for update in client.wait_updates(id, 10, is_running).await {
        assert_eq!(update.get("upstream"), None, "{update}");
    }
}
