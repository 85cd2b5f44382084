//! Sessions: notifications, controls without an execution's id, views, and the limit of sessions.

use std::time::Instant;

use cc_tests::{
    harness::{Stack, StackOptions},
    ws,
};
use serde_json::{Value, json};

use crate::support::{PATIENCE, id};

/// Returns the id in a status.
pub(crate) fn execution_id(status: &Value) -> String {
    status["executionId"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn an_execute_notification_runs_and_its_refusal_is_a_status_update() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let id = id();
    client
        .notify(
            "execute",
            json!({"prompt": "@say heard", "executionId": id}),
        )
        .await;
    let (output, end) = client.wait_terminal(&id).await;
    assert_eq!(
        (&output[..], &end["status"]),
        (&b"heard"[..], &json!("COMPLETED"))
    );
    for (params, code) in [
        (json!({"prompt": " "}), -32602),
        (json!({"prompt": "@say x", "colour": "red"}), -32602),
        (json!({"prompt": "@say x", "env": {"A": "b"}}), -32002),
        (json!({"prompt": "@say another", "executionId": id}), -32009),
    ] {
        client.notify("execute", params.clone()).await;
        let update = client.wait_rejection().await;
        assert_eq!(
            (&update["status"], &update["reason"]),
            (&json!("FAILED"), &json!("rejected")),
            "{update}"
        );
        assert_eq!(update["error"]["code"], code, "{params}: {update}");
        assert!(
            update.get("executionId").is_none_or(Value::is_null),
            "{update}"
        );
        if let Some(requested) = params.get("executionId") {
            assert_eq!(
                &update["error"]["data"]["executionId"], requested,
                "{update}"
            );
        }
    }
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn a_control_without_an_id_is_for_the_oldest_execution_that_is_not_terminal() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let mut foreign = stack.client().await;
    let none = client
        .control("CANCEL", None)
        .await
        .expect_err("nothing there");
    assert_eq!(none["code"], -32003, "{none}");
    let others = foreign.start("@say x\n@tool 60").await;
    // An execution of another session does not count.
    assert_eq!(
        client
            .call("status", json!({}))
            .await
            .expect_err("nothing there")["code"],
        -32003
    );
    let first = execution_id(
        &client
            .execute("@say x\n@tool 60", json!({"lane": "one"}))
            .await,
    );
    let second = execution_id(
        &client
            .execute("@say x\n@tool 60", json!({"lane": "two"}))
            .await,
    );
    assert_eq!(
        execution_id(&client.call("status", json!({})).await.expect("a status")),
        first
    );
    // An attached execution counts, by its own createdAt.
    client.attach(&others, None).await.expect("attached");
    assert_eq!(
        execution_id(&client.call("status", json!({})).await.expect("a status")),
        others
    );
    for id in [&others, &first, &second] {
        let status = client.control("CANCEL", None).await.expect("accepted");
        assert_eq!(execution_id(&status), *id);
        client.wait_terminal(id).await;
    }
    assert_eq!(
        client
            .control("PAUSE", None)
            .await
            .expect_err("nothing there")["code"],
        -32003
    );
    foreign.wait_terminal(&others).await;
    foreign.finish().await;
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn views_are_replaced_detached_and_shared() {
    let stack = Stack::start().await;
    let mut one = stack.client().await;
    let mut two = stack.client().await;
    let id = one.start("@say abc\n@tool 60").await;
    one.wait_output(&id, 3).await;
    two.attach(&id, Some(1)).await.expect("attached");
    two.wait_output(&id, 2).await;
    // A second attach begins at 0; the test client forgets the earlier output.
    two.attach(&id, None).await.expect("attached");
    two.wait_output(&id, 3).await;
    assert_eq!(two.output(&id), b"abc");
    // After the answer to detach, the strict client accepts no message about the execution.
    assert_eq!(
        one.call("detach", json!({"executionId": id})).await,
        Ok(json!({}))
    );
    assert_eq!(
        one.call("detach", json!({"executionId": id})).await,
        Ok(json!({}))
    );
    one.control("CANCEL", Some(&id)).await.expect("accepted");
    assert_eq!(two.wait_terminal(&id).await.1["status"], "CANCELLED");
    one.call("ping", json!({})).await.expect("answered");
    assert!(
        one.updates(&id)
            .iter()
            .all(|update| update["endedAt"].is_null())
    );
    // An attach after the end works too.
    one.attach(&id, Some(3)).await.expect("attached");
    assert_eq!(one.wait_terminal(&id).await.0, b"");
    one.finish().await;
    two.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn a_session_beyond_the_limit_gets_an_error_and_is_closed() {
    let stack = Stack::with(StackOptions::default().bridge("--sessions=2").one_bridge()).await;
    let first = stack.client().await;
    let mut second = stack.client().await;
    let options = ws::Options::default();
    let third = ws::Client::try_connect(stack.ws_addr(), options)
        .await
        .expect("upgraded");
    let error = third.wait_without_id().await;
    assert_eq!(
        (&error["id"], &error["error"]["code"]),
        (&Value::Null, &json!(-32001)),
        "{error}"
    );
    assert_eq!(third.wait_closed().await, 1013);
    assert_eq!(second.run("@say untouched").await.0, b"untouched");
    first.finish().await;
    // A new session is accepted when another has ended.
    let end = Instant::now() + PATIENCE;
    loop {
        let client = ws::Client::try_connect(stack.ws_addr(), ws::Options::default())
            .await
            .expect("upgraded");
        let greeted = cc_tests::harness::eventually("an answer", PATIENCE, || {
            let transcript = client.transcript();
            transcript
                .contains("\"connected\"")
                .then_some(true)
                .or_else(|| transcript.contains("-32001").then_some(false))
        })
        .await;
        if greeted {
            client.finish().await;
            break;
        }
        drop(client);
        assert!(Instant::now() < end, "no new session was accepted");
    }
    second.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn a_cancel_of_an_unanswered_execute_ends_the_execution() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    for _ in 0..10 {
        let id = id();
        let execute = client
            .request(
                "execute",
                json!({"prompt": "@say x\n@tool 60", "executionId": id}),
            )
            .await;
        let cancel = client
            .request("control", json!({"type": "CANCEL", "executionId": id}))
            .await;
        // Accepted and cancelled, or never accepted: the answers say which, and they are true.
        match (client.answer(execute).await, client.answer(cancel).await) {
            (Ok(_), Ok(_)) => {
                assert_eq!(client.wait_terminal(&id).await.1["status"], "CANCELLED");
            }
            (Err(error), Err(cancel)) => {
                assert_eq!(
                    (&error["code"], &error["data"]["accepted"]),
                    (&json!(-32005), &json!(false)),
                    "{error}"
                );
                assert_eq!(cancel["code"], -32003, "{cancel}");
                assert!(
                    stack.http().status(&id).await.is_err(),
                    "it was accepted: {error}"
                );
                assert_eq!(stack.spawns(&id), 0);
            }
            other => panic!("{other:?}"),
        }
        stack.assert_nothing_left(&id).await;
    }
    client.finish().await;
    stack.assert_quiet();
}
