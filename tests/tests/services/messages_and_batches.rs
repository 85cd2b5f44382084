//! Message sizes, and batches.

use cc_tests::{
    harness::{Stack, StackOptions},
    ws::Message,
};
use serde_json::{Value, json};

use crate::{
    bad_ws::error_without_id,
    support::{id, time},
};

#[tokio::test]
async fn the_largest_prompt_passes_and_a_message_over_the_limit_closes_with_1009() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let head = "@echo-digest\n";
    let (output, _) = client
        .run(&format!("{head}{}", "x".repeat((4 << 20) - head.len())))
        .await;
    assert!(output.starts_with(b"bytes=4194304 "));
    // 8 MiB are within messageBytes, whatever they hold.
    assert_eq!(
        error_without_id(&mut client, &"x".repeat(8 << 20)).await["code"],
        -32700
    );
    let mut huge = stack.client().await;
    let running = huge.start("@say before\n@silence 0.3\n@say after").await;
    huge.send_text(&"x".repeat((13 << 20) + 1)).await;
    assert_eq!(huge.wait_closed().await, 1009);
    let (_, end) = {
        client.attach(&running, None).await.expect("attached");
        client.wait_terminal(&running).await
    };
    assert_eq!(end["status"], "COMPLETED", "a disconnect is not a cancel");
    assert_eq!(client.call("ping", json!({})).await, Ok(json!({})));
    client.finish().await;
    drop(huge);
    stack.assert_quiet();
}

#[tokio::test]
async fn a_batch_gets_one_array_of_answers_before_its_views() {
    let stack = Stack::with(StackOptions::default().bridge("--batch=4")).await;
    let mut client = stack.client().await;
    let ping = |id: u64| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
    let long: Vec<Value> = (0..5).map(ping).collect();
    client
        .send_frame(Message::text(Value::Array(long).to_string()))
        .await;
    let answer = client.wait_without_id().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&Value::Null, &json!(-32600))
    );
    let (one, two) = (id(), id());
    let execute = |number: u64, id: &str, text: &str| {
        let params = json!({"prompt": format!("@say {text}"), "executionId": id});
        json!({"jsonrpc": "2.0", "id": number, "method": "execute", "params": params})
    };
    let batch = json!([
        execute(101, &one, "first"),
        7,
        execute(102, &two, "second"),
        ping(103)
    ]);
    // The strict client fails the test if an output or status arrives before its answer.
    client.send_text(&batch.to_string()).await;
    let answers = client.wait_without_id().await;
    let all = answers.as_array().expect("a batch");
    let ids: Vec<Value> = all.iter().map(|answer| answer["id"].clone()).collect();
    let without_id = all.iter().find(|answer| answer["id"].is_null());
    assert_eq!(without_id.expect("an error")["error"]["code"], -32600);
    assert_eq!(ids.len(), 4, "{answers}");
    for id in [json!(101), json!(102), json!(103), Value::Null] {
        assert!(ids.contains(&id), "{answers}");
    }
    assert_eq!(client.wait_terminal(&one).await.0, b"first");
    let (output, end) = client.wait_terminal(&two).await;
    assert_eq!(output, b"second");
    let first = client
        .call("status", json!({"executionId": one}))
        .await
        .expect("a status");
    assert!(
        time(&end, "startedAt") >= time(&first, "endedAt"),
        "one lane, in the order of the batch"
    );
    // Notifications alone are not answered.
    let silent =
        json!([{"jsonrpc": "2.0", "method": "ping"}, {"jsonrpc": "2.0", "method": "ping"}]);
    client.send_text(&silent.to_string()).await;
    assert_eq!(client.call("ping", json!({})).await, Ok(json!({})));
    client.finish().await;
    stack.assert_quiet();
}
