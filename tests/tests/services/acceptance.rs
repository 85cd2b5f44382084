//! Acceptance: one id is one execution, however many requests name it, at the same time or later
//! (N2, I4). Conversations.

use cc_tests::harness::Stack;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{accept, assert_problem, ended, id, path, run, send, time, until};

#[tokio::test]
async fn n2_twenty_equal_puts_at_the_same_time_are_one_execution() {
    let stack = Stack::start().await;
    let http = stack.http();
    for round in 0..5 {
        let id = id();
        let body = json!({"prompt": format!("@say round {round}")});
        let answers = futures::future::join_all((0..20).map(|_| http.put(&id, &body))).await;
        let codes: Vec<u16> = answers
            .into_iter()
            .map(|answer| answer.expect("an answer").0.as_u16())
            .collect();
        assert_eq!(
            codes.iter().filter(|code| **code == 201).count(),
            1,
            "{codes:?}"
        );
        assert_eq!(
            codes.iter().filter(|code| **code == 200).count(),
            19,
            "{codes:?}"
        );
        assert_eq!(ended(&http, &id).await["state"], "completed");
        assert_eq!(stack.spawns(&id), 1);
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn n2_of_different_bodies_for_one_id_exactly_one_is_accepted() {
    let stack = Stack::start().await;
    let (http, id) = (stack.http(), id());
    let bodies: Vec<Value> = (0..20)
        .map(|number| json!({"prompt": format!("@say {number}")}))
        .collect();
    let answers = futures::future::join_all(bodies.iter().map(|body| http.put(&id, body))).await;
    let accepted: Vec<usize> = (0..20)
        .filter(|index| {
            answers[*index]
                .as_ref()
                .is_ok_and(|(code, _)| code.as_u16() == 201)
        })
        .collect();
    assert_eq!(accepted.len(), 1, "{answers:?}");
    for (index, answer) in answers.iter().enumerate() {
        let (code, problem) = answer.as_ref().expect("an answer");
        if index != accepted[0] {
            assert_eq!(
                (code.as_u16(), &problem["type"]),
                (409, &json!("id-in-use")),
                "{problem}"
            );
        }
    }
    let output = http.output(&id, 0).await.expect("an output");
    assert_eq!(output.bytes, accepted[0].to_string().into_bytes());
    assert_eq!(stack.spawns(&id), 1);
    stack.assert_quiet();
}

#[tokio::test]
async fn n2_a_repeated_put_is_compared_by_the_clients_fields_with_defaults_and_without_the_lane() {
    let mut stack = Stack::start().await;
    let (http, id) = (stack.http(), id());
    accept(&http, &id, "@say x", json!({})).await;
    ended(&http, &id).await;
    let body = |extra: Value| {
        let mut body = json!({"prompt": "@say x"});
        body.as_object_mut()
            .expect("an object")
            .extend(extra.as_object().expect("an object").clone());
        body.to_string()
    };
    for restarted in [false, true] {
        if restarted {
            stack.crash_api().await;
        }
        let http = stack.http();
        for same in [
            json!({}),
            json!({"lane": "another"}),
            json!({"model": null, "lane": null, "conversation": null, "allowedTools": null}),
            json!({"format": "text", "promptMode": "verbatim", "workspace": "default"}),
            json!({"env": {}, "metadata": {}}),
        ] {
            let answer = send(
                &http,
                Method::PUT,
                &path(&id.to_uppercase(), ""),
                body(same.clone()),
            )
            .await;
            assert_eq!(
                (answer.0, &answer.2["state"]),
                (200, &json!("completed")),
                "{same}: {}",
                answer.2
            );
        }
        for other in [
            json!({"prompt": "@say x "}),
            json!({"format": "events"}),
            json!({"workspace": "other"}),
            json!({"model": "m"}),
            json!({"metadata": {"a": "b"}}),
            json!({"maxTurns": 1}),
        ] {
            let answer = send(&http, Method::PUT, &path(&id, ""), body(other.clone())).await;
            assert_problem(&answer, 409, "id-in-use", &other.to_string());
        }
    }
    assert_eq!(stack.spawns(&id), 1);
}

#[tokio::test]
async fn a_conversation_continues_after_restarts_and_deletions() {
    let mut stack = Stack::start().await;
    let (text, first) = run(&stack, "remember me\n@recall", json!({"workspace": "w"})).await;
    assert_eq!(text, "turns=0 first=");
    assert_eq!(
        first["conversation"], first["executionId"],
        "a new conversation has the id of its first execution"
    );
    let conversation = first["conversation"].clone();
    let (text, second) = run(
        &stack,
        "@recall",
        json!({"workspace": "w", "conversation": conversation}),
    )
    .await;
    assert_eq!(text, "turns=1 first=remember me");
    assert_eq!(second["conversation"], conversation);
    stack.crash_api().await;
    let (text, _) = run(
        &stack,
        "@recall",
        json!({"workspace": "w", "conversation": second["conversation"]}),
    )
    .await;
    assert_eq!(text, "turns=2 first=remember me");
    let http = stack.http();
    for extra in [json!({}), json!({"workspace": "other"})] {
        let mut body = extra.clone();
        body["prompt"] = "@recall".into();
        body["conversation"] = conversation.clone();
        let answer = send(&http, Method::PUT, &path(&id(), ""), body.to_string()).await;
        assert_problem(&answer, 409, "other-workspace", &extra.to_string());
    }
    let body = json!({"prompt": "@recall", "conversation": id()});
    let answer = send(&http, Method::PUT, &path(&id(), ""), body.to_string()).await;
    assert_problem(
        &answer,
        404,
        "unknown-conversation",
        "an unknown conversation",
    );
    // The conversation continues after the execution that began it was deleted.
    let begun = first["executionId"].as_str().expect("an id");
    assert_eq!(
        send(&http, Method::DELETE, &path(begun, ""), "").await.0,
        204
    );
    let (text, _) = run(
        &stack,
        "@recall",
        json!({"workspace": "w", "conversation": conversation}),
    )
    .await;
    assert_eq!(text, "turns=3 first=remember me");
}

#[tokio::test]
async fn a_conversation_never_runs_two_executions_at_the_same_time() {
    let stack = Stack::start().await;
    let http = stack.http();
    let (_, first) = run(&stack, "one", json!({})).await;
    let mut ids = Vec::new();
    for number in 0..4 {
        let id = id();
        let extra =
            json!({"conversation": first["conversation"], "lane": format!("lane {number}")});
        accept(&http, &id, "@recall\n@silence 0.2", extra).await;
        ids.push(id);
    }
    let mut previous_end = String::new();
    for (number, id) in ids.iter().enumerate() {
        let end = ended(&http, id).await;
        let output = http.output(id, 0).await.expect("an output");
        assert_eq!(
            String::from_utf8_lossy(&output.bytes),
            format!("turns={} first=one", number + 1)
        );
        assert!(time(&end, "startedAt") >= previous_end, "{end}");
        previous_end = time(&end, "endedAt");
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn an_execution_that_may_start_is_accepted_as_running_and_the_next_of_its_lane_as_queued() {
    let stack = Stack::start().await;
    let (http, first, second) = (stack.http(), id(), id());
    let accepted = accept(&http, &first, "@say x\n@tool 60", json!({"lane": "one"})).await;
    assert_eq!(accepted["state"], "running", "{accepted}");
    assert!(
        accepted["startedAt"].is_string() && accepted["queuePosition"].is_null(),
        "{accepted}"
    );
    let waits = accept(&http, &second, "@say y", json!({"lane": "one"})).await;
    assert_eq!(waits["state"], "queued", "{waits}");
    until(&http, &first, "so far", |status| status["outputBytes"] == 1).await;
    send(&http, Method::POST, &path(&first, "/cancel"), "").await;
    assert_eq!(ended(&http, &first).await["state"], "cancelled");
    assert_eq!(ended(&http, &second).await["state"], "completed");
    assert_eq!((stack.spawns(&first), stack.spawns(&second)), (1, 1));
    stack.assert_quiet();
}
