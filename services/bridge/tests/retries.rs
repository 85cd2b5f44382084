//! Tests of faults between the bridge and claude-api.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

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
async fn the_same_put_is_retried_until_it_is_accepted() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    let mut client = bridge.connect().await;
    fake.change(|w| {
        w.faults.extend([
            Fault::Problem(ProblemType::Stopping),
            Fault::Code(502),
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
async fn a_permanent_problem_is_answered_without_a_retry() {
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
    assert_eq!(fake.world().puts.len(), 6, "a PUT was retried");
}

#[tokio::test]
async fn an_unreachable_claude_api_is_an_error_after_the_time_limit() {
    // The bound socket reserves a port without listening.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    let bridge = Bridge::start(addr, &["--accept-ms", "600", "--call-ms", "200"]).await;
    let mut client = bridge.connect().await;
    let execute = client.request("execute", json!({"prompt": "x"})).await;
    // The session answers other requests meanwhile.
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
async fn after_an_attempt_without_an_answer_the_acceptance_is_unknown() {
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
async fn a_cancel_ends_the_retries_of_its_execute() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    let mut client = bridge.connect().await;
    // The execute was certainly not accepted, so no cancel is sent.
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
    // The execute was accepted without an answer, so a cancel of the id is sent.
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
    // PUTs are refused, so the bridge cannot find out which body was accepted.
    let answer = client.answer(execute).await.unwrap_err();
    assert_eq!(answer["data"]["accepted"], "unknown");
    assert!(fake.world().cancels.contains(&id));
}

#[tokio::test]
async fn puts_of_a_session_are_sent_one_at_a_time_in_order() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    let mut client = bridge.connect().await;
    fake.change(|w| w.faults.extend([Fault::Code(503), Fault::Code(503)]));
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
async fn output_is_complete_although_its_streams_break_at_random_bytes() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    let text: String = (0..200_000)
        .map(|n| ['a', 'é', '😀', '\n', '\u{1}'][n * 7 % 5])
        .collect();
    fake.change(|w| w.cut = Some(60_000));
    let mut client = bridge.connect().await;
    let id: ExecutionId = client.start("x").await.parse().unwrap();
    fake.state(id, State::Running);
    // The pieces split characters.
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
async fn a_stream_resumes_after_an_outage_of_claude_api() {
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
async fn an_execution_that_claude_api_no_longer_knows_ends_as_lost() {
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
async fn the_readiness_is_that_of_claude_api() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    assert_eq!(bridge.get("/health/ready").await.0, 200);
    fake.world().ready = false;
    let (status, page) = bridge.get("/health").await;
    assert_eq!(status, 503);
    assert_eq!(page["reasons"][0]["code"], "no_credential");
}

#[tokio::test]
async fn heartbeats_continue_before_an_outage_is_detected() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    let mut client = bridge.connect().await;
    let id: ExecutionId = client.start("x").await.parse().unwrap();
    client.wait_status(id, "QUEUED").await;
    fake.change(|w| {
        w.no_heartbeats = true;
        let status = &mut w.executions.get_mut(&id).unwrap().status;
        status.state = State::Running;
    });
    // The first update comes from claude-api, the second is the bridge's own heartbeat.
    let is_running = |update: &Value| update["status"] == "RUNNING";
    for beat in client.wait_updates(id, 2, is_running).await {
        assert_eq!(beat.get("upstream"), None, "{beat}");
    }
    client.wait_notice("upstream_unreachable").await;
}

#[tokio::test]
async fn an_outage_before_the_last_bytes_is_reported() {
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

/// A proxy requests a longer delay than the remaining time.
#[tokio::test]
async fn a_retry_after_beyond_the_time_left_is_cut_to_one_more_attempt() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &["--accept-ms", "1500"]).await;
    let mut client = bridge.connect().await;
    fake.change(|w| w.faults.push_back(Fault::CodeRetryAfter(503, 120)));
    client.start("x").await;
    assert_eq!(fake.world().puts.len(), 2);
    fake.change(|w| {
        w.faults.extend([
            Fault::CodeRetryAfter(503, 120),
            Fault::CodeRetryAfter(503, 120),
        ])
    });
    let answer = client
        .call("execute", json!({"prompt": "x"}))
        .await
        .unwrap_err();
    assert_eq!(answer["code"], -32005, "{answer}");
    assert_eq!(answer["data"]["attempts"], 2, "{answer}");
}

/// The heartbeat of claude-api may be longer than that of the bridge.
#[tokio::test]
async fn a_claude_api_with_a_longer_heartbeat_is_not_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fake = Fake::with_heartbeat(listener, std::time::Duration::from_secs(3600)).await;
    let bridge = Bridge::start(fake.addr, &[]).await;
    // Wait until the bridge knows the limits.
    while !bridge.connect().await.connected()["limits"].is_object() {}
    let mut client = bridge.connect().await;
    let id = fake.add(State::Running, b"");
    client.attach(id, None).await.unwrap();
    let is_running = |update: &Value| update["status"] == "RUNNING";
    for update in client.wait_updates(id, 10, is_running).await {
        assert_eq!(update.get("upstream"), None, "{update}");
    }
}
