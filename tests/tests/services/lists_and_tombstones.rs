//! Lists of executions, and tombstones of deleted ones.

use cc_tests::harness::Stack;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{accept, assert_problem, ended, id, path, run, send};

#[tokio::test]
async fn a_list_is_newest_first_and_paged() {
    let stack = Stack::start().await;
    let http = stack.http();
    let mut remaining = Vec::new();
    for number in 0..7 {
        let (_, status) = run(
            &stack,
            &format!("@say {number}"),
            json!({"metadata": {"n": number.to_string()}}),
        )
        .await;
        remaining.insert(0, status["executionId"].clone());
    }
    let (mut before, mut pages) = (String::new(), Vec::new());
    loop {
        let (code, page) = http
            .get(&format!("/v1/executions?limit=3{before}"))
            .await
            .expect("a list");
        assert_eq!(code.as_u16(), 200);
        let listed: Vec<Value> = page["executions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["executionId"].clone())
            .collect();
        pages.push(listed.len());
        assert!(
            remaining.starts_with(&listed),
            "{listed:?} of {remaining:?}"
        );
        remaining.drain(..listed.len());
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert!(
        remaining.is_empty() && pages.iter().all(|length| *length <= 3),
        "{pages:?}"
    );
    let mut client = stack.client().await;
    let page = client
        .call("list", json!({"limit": 2}))
        .await
        .expect("a list");
    assert_eq!(page["executions"][0]["metadata"]["n"], "6");
    let rest = client
        .call("list", json!({"before": page["next"]}))
        .await
        .expect("a list");
    assert_eq!(
        (rest["executions"].as_array().map(Vec::len), &rest["next"]),
        (Some(5), &Value::Null)
    );
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn i4_a_deleted_execution_leaves_a_tombstone_and_never_runs_again() {
    let mut stack = Stack::start().await;
    let (id, unknown) = (id(), id());
    let http = stack.http();
    accept(&http, &id, "@say once", json!({})).await;
    ended(&http, &id).await;
    let answer = send(&http, Method::DELETE, &path(&unknown, ""), "").await;
    assert_problem(&answer, 404, "not-found", "an unknown execution");
    assert_eq!(send(&http, Method::DELETE, &path(&id, ""), "").await.0, 204);
    for restarted in [false, true] {
        if restarted {
            stack.crash_api().await;
        }
        let http = stack.http();
        for (method, rest) in [
            (Method::GET, ""),
            (Method::GET, "?follow=true"),
            (Method::GET, "/output"),
            (Method::GET, "/events"),
            (Method::POST, "/cancel"),
        ] {
            let answer = send(&http, method, &path(&id, rest), "").await;
            assert_problem(&answer, 410, "deleted", rest);
        }
        for prompt in ["@say once", "@say another"] {
            let answer = send(
                &http,
                Method::PUT,
                &path(&id, ""),
                json!({"prompt": prompt}).to_string(),
            )
            .await;
            assert_problem(&answer, 410, "deleted", prompt);
        }
        let mut client = stack.client().await;
        let error = client
            .call("execute", json!({"prompt": "@say once", "executionId": id}))
            .await
            .expect_err("deleted");
        assert_eq!(
            (&error["code"], &error["data"]["reason"]),
            (&json!(-32009), &json!("deleted")),
            "{error}"
        );
        let (_, list) = http.get("/v1/executions").await.expect("a list");
        assert_eq!(list["executions"], json!([]));
        client.finish().await;
    }
    assert_eq!(stack.spawns(&id), 1);
}
