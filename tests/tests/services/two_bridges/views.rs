//! One execution, viewed and executed through both bridges at the same time.

use cc_tests::{
    harness::{Stack, StackOptions},
    ws,
};
use serde_json::{Value, json};

use super::client;
use crate::support::id;

async fn start() -> (Stack, [ws::Client; 2]) {
    let stack = Stack::with(StackOptions::default().two_bridges()).await;
    let clients = [
        client(&stack.bridge).await,
        client(stack.second_bridge()).await,
    ];
    (stack, clients)
}

/// Waits until both clients have the terminal status; returns their outputs.
async fn ends(clients: &[ws::Client; 2], id: &str, status: &str) -> [Vec<u8>; 2] {
    let mut outputs = [Vec::new(), Vec::new()];
    for (client, output) in clients.iter().zip(&mut outputs) {
        let (bytes, end) = client.wait_terminal(id).await;
        assert_eq!(end["status"], status, "{end}");
        assert_eq!(end["outputBytes"], json!(bytes.len()));
        *output = bytes;
    }
    outputs
}

#[tokio::test]
async fn viewers_through_both_bridges_get_the_same_bytes_and_one_end() {
    let (stack, mut clients) = start().await;
    let id = clients[0].start("@rate 1000\n@volume 1400 700").await;
    clients[0].wait_output(&id, 1).await;
    clients[1].attach(&id, None).await.expect("attached");
    let [first, second] = ends(&clients, &id, "COMPLETED").await;
    let whole = stack.http().output(&id, 0).await.expect("an output");
    whole.assert_whole("completed");
    assert_eq!(whole.bytes.len(), 1400 * 700);
    assert!(first == whole.bytes && second == whole.bytes);
    for client in clients {
        // The client checks that nothing follows the end.
        client.finish().await;
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn a_control_through_either_bridge_is_seen_through_both() {
    let (stack, mut clients) = start().await;
    let id = clients[0].start("@say x\n@tool 60").await;
    clients[1].attach(&id, None).await.expect("attached");
    for client in &clients {
        client.wait_output(&id, 1).await;
    }
    for (bridge, control, status) in [
        (0, "PAUSE", "PAUSED"),
        (1, "RESUME", "RESUMED"),
        (1, "PAUSE", "PAUSED"),
        (0, "RESUME", "RESUMED"),
    ] {
        let seen = clients.each_ref().map(|client| client.updates(&id).len());
        let answer = clients[bridge].control(control, Some(&id)).await;
        assert!(answer.is_ok(), "{answer:?}");
        for (client, seen) in clients.iter().zip(seen) {
            let update = client.wait_update(&id, seen, status).await;
            assert_eq!(update["executionId"], json!(id));
        }
    }
    clients[1]
        .control("CANCEL", Some(&id))
        .await
        .expect("accepted");
    assert_eq!(ends(&clients, &id, "CANCELLED").await, [b"x", b"x"]);
    stack.assert_nothing_left(&id).await;
    for client in clients {
        client.finish().await;
    }
    stack.assert_quiet();
}

/// Sends an execute through each client at the same time; returns both answers.
async fn execute_both(
    clients: &mut [ws::Client; 2],
    params: [Value; 2],
) -> [Result<Value, Value>; 2] {
    let [first, second] = clients;
    let [ours, theirs] = params;
    let (ours, theirs) = tokio::join!(first.call("execute", ours), second.call("execute", theirs));
    [ours, theirs]
}

#[tokio::test]
async fn simultaneous_equal_executes_through_both_bridges_run_once() {
    let (stack, mut clients) = start().await;
    for _ in 0..10 {
        let id = id();
        let params = json!({"prompt": "@say once", "executionId": id});
        for answer in execute_both(&mut clients, [params.clone(), params]).await {
            assert_eq!(answer.expect("accepted")["executionId"], json!(id));
        }
        assert_eq!(ends(&clients, &id, "COMPLETED").await, [b"once", b"once"]);
        assert_eq!(stack.spawns(&id), 1);
    }
    for client in clients {
        client.finish().await;
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn of_two_executes_with_one_id_and_different_bodies_one_is_refused() {
    let (stack, mut clients) = start().await;
    for _ in 0..10 {
        let id = id();
        let prompts = ["@say first", "@say second"];
        let params = prompts.map(|prompt| json!({"prompt": prompt, "executionId": id}));
        let answers = execute_both(&mut clients, params).await;
        let winner = answers.iter().position(Result::is_ok).expect("one runs");
        let error = answers[1 - winner]
            .as_ref()
            .expect_err("the other is refused");
        assert_eq!(
            (&error["code"], &error["data"]["reason"]),
            (&json!(-32009), &json!("id_in_use")),
            "{error}"
        );
        let (output, _) = clients[winner].wait_terminal(&id).await;
        assert_eq!(output, prompts[winner].as_bytes()["@say ".len()..]);
        assert_eq!(stack.spawns(&id), 1);
    }
    for client in clients {
        client.finish().await;
    }
    stack.assert_quiet();
}
