//! Streams that are cut, and late viewers. Many cuts on both hops: `connection_cuts`.

use cc_tests::{
    faults::{Faults, Pipe},
    harness::{Stack, StackOptions},
};
use serde_json::json;

#[tokio::test]
async fn f1_output_whose_stream_is_cut_every_few_bytes_still_arrives() {
    let stack = Stack::with(StackOptions {
        proxy_upstream: true,
        ..StackOptions::default()
    })
    .await;
    let middle = stack.middle.as_ref().expect("a proxy");
    let mut client = stack.client().await;
    let id = client.start("@rate 500\n@volume 300 1000").await;
    middle.set(Faults {
        down: Pipe::cut_after(60_000),
        ..Faults::default()
    });
    let (_, end) = client.wait_terminal(&id).await;
    assert_eq!(end["status"], "COMPLETED");
    assert_eq!(stack.spawns(&id), 1);
    client.finish().await;
}

#[tokio::test]
async fn a_client_that_reconnects_at_its_offset_gets_the_rest() {
    let stack = Stack::with(StackOptions::default().proxies()).await;
    let mut client = stack.client().await;
    let id = client.start("@rate 1000\n@volume 2000 500").await;
    let seen = client.wait_output(&id, 100_000).await;
    let first = client.output(&id);
    client.vanish();
    let mut reconnected = stack.client().await;
    let seen = seen.min(first.len() as u64);
    reconnected.attach(&id, Some(seen)).await.expect("attached");
    let (rest, end) = reconnected.wait_terminal(&id).await;
    assert_eq!(end["outputBytes"], json!(seen + rest.len() as u64));
    let mut late = stack.client().await;
    late.attach(&id, None).await.expect("attached");
    let (whole, _) = late.wait_terminal(&id).await;
    assert_eq!(
        whole,
        [&first[..usize::try_from(seen).expect("fits")], &rest].concat()
    );
    reconnected.finish().await;
    late.finish().await;
}

#[tokio::test]
async fn queued_executions_survive_a_crash_of_the_bridge() {
    let mut stack = Stack::start().await;
    let mut client = stack.client().await;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(client.start(&format!("@silence 0.3\n@say {number}")).await);
    }
    client.vanish();
    stack.crash_bridges().await;
    let mut reconnected = stack.client().await;
    for id in &ids {
        reconnected.attach(id, None).await.expect("attached");
    }
    for (number, id) in ids.iter().enumerate() {
        let (output, end) = reconnected.wait_terminal(id).await;
        assert_eq!(
            (&end["status"], output),
            (&json!("COMPLETED"), number.to_string().into_bytes())
        );
        assert_eq!(stack.spawns(id), 1);
    }
    reconnected.finish().await;
}

#[tokio::test]
async fn n2_the_same_id_twice_is_one_execution() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let id = uuid::Uuid::new_v4().to_string();
    client
        .execute("@say once", json!({"executionId": id}))
        .await;
    client.wait_terminal(&id).await;
    client
        .execute("@say once", json!({"executionId": id.to_uppercase()}))
        .await;
    let (output, _) = client.wait_terminal(&id).await;
    assert_eq!(output, b"once");
    assert_eq!(stack.spawns(&id), 1);
    let other = client
        .call(
            "execute",
            json!({"prompt": "@say other", "executionId": id}),
        )
        .await;
    assert_eq!(other.expect_err("another body")["code"], -32009);
    client.finish().await;
    stack.assert_quiet();
}
