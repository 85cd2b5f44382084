//! Shares: tokens that open one execution.

mod hidden_fields;
mod lifetime;

use cc_tests::harness::StackOptions;
use reqwest::Method;
use serde_json::{Value, json};

use super::api::{Api, assert_kind, cancelled, listed, share, usual_tokens};
use crate::support::{accept, ended, id, path, send, until};

/// The rights of a share that views, in full: it reads, and changes nothing.
#[tokio::test]
async fn a_share_to_view_opens_status_follow_output_and_events() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    let gate = api.begin(&alice, json!({})).await;
    let (token, _) = share(&alice, &gate.id, "view").await;
    let guest = api.http_with(&token);
    let (code, me) = guest.get("/v1/me").await.expect("an answer");
    assert_eq!(code, 200, "{me}");
    let expected = json!({"principal": null, "role": "view", "name": null, "share": gate.id,
        "expires": me["expires"], "quota": me["quota"], "shareQuota": me["shareQuota"]});
    assert_eq!(me, expected);
    let owner = alice.get("/v1/me").await.expect("an answer").1;
    assert!(
        me["quota"].is_string() && me["quota"] == owner["quota"],
        "{me}"
    );
    assert!(me["expires"].is_string(), "{me}");
    let status = guest.status(&gate.id).await.expect("a status");
    assert_eq!(status["state"], "running", "{status}");
    let follow = guest.follow_to_end(&gate.id);
    let output = guest.output(&gate.id, 0);
    let open = async { gate.open() };
    let (statuses, output, ()) = tokio::join!(follow, output, open);
    assert_eq!(
        statuses.expect("statuses").last().expect("one")["state"],
        "completed"
    );
    let output = output.expect("an output");
    output.assert_whole("completed");
    assert_eq!(output.bytes, b"begun-done");
    let events = send(&guest, Method::GET, &path(&gate.id, "/events"), "").await;
    assert_eq!(events.0, 200);
    api.service.assert_quiet();
}

/// The rights of a share that controls: also pause, resume, input and cancel.
#[tokio::test]
async fn a_share_to_control_also_pauses_resumes_sends_input_and_cancels() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    let gate = api.begin(&alice, json!({"input": "stream"})).await;
    let (token, _) = share(&alice, &gate.id, "control").await;
    let guest = api.http_with(&token);
    let control = async |rest: &str, body: &str| {
        let answer = send(&guest, Method::POST, &path(&gate.id, rest), body.to_owned()).await;
        assert_eq!(answer.0, 200, "{rest}: {}", answer.2);
        answer.2
    };
    control("/pause", "").await;
    until(&guest, &gate.id, "paused", |status| {
        status["state"] == "paused"
    })
    .await;
    control("/resume", "").await;
    until(&guest, &gate.id, "running", |status| {
        status["state"] == "running"
    })
    .await;
    let line = json!({"type": "user", "message": {"role": "user", "content": "@say more"}});
    let line = format!("{line}\n");
    let answer = control("/input?offset=0", &line).await;
    assert_eq!(answer["accepted"], line.len());
    cancelled(&guest, &gate.id).await;
    let unviewed = control("/cancel?ifUnviewedForMs=1", "").await;
    assert_eq!(unviewed["state"], "cancelled", "{unviewed}");
    api.service.assert_quiet();
}

#[tokio::test]
async fn requests_for_shares_are_checked_and_their_number_is_bounded() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let (alice, bob, admin) = (api.http("alice"), api.http("bob"), api.http("admin"));
    let id = id();
    accept(&alice, &id, "@say x", json!({})).await;
    ended(&alice, &id).await;
    let target = path(&id, "/share");
    for bad in [
        r#"{"expiresSeconds":0}"#,
        r#"{"expiresSeconds":2592001}"#,
        r#"{"expiresSeconds":-1}"#,
        r#"{"expiresSeconds":1.5}"#,
        r#"{"expiresSeconds":"1"}"#,
        r#"{"role":"admin"}"#,
        r#"{"role":"metrics"}"#,
        r#"{"role":null}"#,
        r#"{"principal":"team-b"}"#,
        "{",
    ] {
        let answer = send(&alice, Method::POST, &target, bad).await;
        assert_kind(&answer, 400, "invalid-body");
    }
    // Without a body: one day, to view.
    let (code, headers, first) = send(&alice, Method::POST, &target, "").await;
    assert_eq!((code, &first["role"]), (201, &json!("view")), "{first}");
    assert_eq!(headers["cache-control"], "no-store");
    let expires = first["expires"].as_str().expect("a time");
    let expires: jiff::Timestamp = expires.parse().expect("a time");
    let left = expires.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((86_300..=86_400).contains(&left), "{left} s");
    for _ in 1..64 {
        share(&alice, &id, "view").await;
    }
    let answer = send(&alice, Method::POST, &target, "{}").await;
    assert_kind(&answer, 409, "wrong-state");
    // The admin makes room: it ends a share of anybody's execution.
    let end = path(
        &id,
        &format!("/share/{}", first["shareId"].as_str().expect("an id")),
    );
    let answer = send(&bob, Method::DELETE, &end, "").await;
    assert_kind(&answer, 404, "not-found");
    assert_eq!(send(&admin, Method::DELETE, &end, "").await.0, 204);
    let answer = send(&admin, Method::DELETE, &end, "").await;
    assert_kind(&answer, 404, "not-found");
    let answer = send(&admin, Method::DELETE, &path(&id, "/share/x"), "").await;
    assert_kind(&answer, 400, "invalid-id");
    let (token, _) = share(&admin, &id, "view").await;
    assert_eq!(
        api.http_with(&token).status(&id).await.expect("a status")["state"],
        "completed"
    );
    api.service.assert_quiet();
}

/// A list has no names for its fields, so it is no body.
#[tokio::test]
async fn a_list_is_no_body_of_a_share_or_a_ticket() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    let id = id();
    accept(&alice, &id, "@say x", json!({})).await;
    ended(&alice, &id).await;
    for (target, body) in [
        (path(&id, "/share"), "[]"),
        (path(&id, "/share"), r#"["control",60]"#),
        ("/v1/tickets".to_owned(), "[]"),
        ("/v1/tickets".to_owned(), r#"["https://evil.example"]"#),
        ("/v1/tickets/redeem".to_owned(), r#"["x",null]"#),
    ] {
        let answer = send(&alice, Method::POST, &target, body).await;
        assert_kind(&answer, 400, "invalid-body");
    }
    api.service.assert_quiet();
}

/// A share hides the rest of its principal from its holder.
#[tokio::test]
async fn the_holder_of_a_share_learns_nothing_but_its_execution() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    let gate = api.begin(&alice, json!({})).await;
    let hidden = id();
    accept(&alice, &hidden, "@say hidden", json!({"lane": "hidden"})).await;
    ended(&alice, &hidden).await;
    for role in ["view", "control"] {
        let (token, _) = share(&alice, &gate.id, role).await;
        let guest = api.http_with(&token);
        let mut text = String::new();
        for target in [
            "/v1/executions".to_owned(),
            "/v1/executions?limit=1".to_owned(),
            "/v1/limits".to_owned(),
            "/v1/me".to_owned(),
            "/metrics".to_owned(),
            path(&gate.id, ""),
            path(&hidden, ""),
            path(&hidden, "/output"),
        ] {
            let response = guest.request(Method::GET, &target).send().await;
            text += &response.expect("an answer").text().await.expect("a text");
        }
        for word in ["hidden\"", "\"executions\"", "claude_api_"] {
            assert!(!text.contains(word), "{role} is told {word}: {text}");
        }
    }
    assert_eq!(listed(&alice).await.len(), 2);
    cancelled(&alice, &gate.id).await;
    let status = alice.status(&hidden).await.expect("a status");
    assert_ne!(status["sha256"], Value::Null);
    api.service.assert_quiet();
}
