//! The fields of a status that a share does not show, because they tell about other executions.

use cc_tests::harness::StackOptions;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::api::{Api, cancelled, session, share, usual_tokens};
use crate::support::{accept, ended, id, path, send, until};

/// The fields that tell about other executions of the principal.
const HIDDEN: [&str; 3] = ["queuePosition", "continues", "continuedBy"];

#[track_caller]
fn assert_hidden(status: &Value, what: &str) {
    assert!(status["state"].is_string(), "{what}: {status}");
    for field in HIDDEN {
        assert_eq!(status.get(field), Some(&Value::Null), "{what}: {status}");
    }
}

/// Each way by which a share gets a status while the execution waits and when it is cancelled.
#[tokio::test]
async fn a_share_sees_no_position_in_the_queue() {
    let options = StackOptions::default().api("--running-executions=1");
    let api = Api::start(usual_tokens(), options).await;
    let bridge = api.bridge(&[]).await;
    let alice = api.http("alice");
    let gate = api.begin(&alice, json!({})).await;
    let [first, second] = [id(), id()];
    for id in [&first, &second] {
        accept(&alice, id, "@say x", json!({})).await;
    }
    let own = alice.status(&second).await.expect("a status");
    assert_eq!(own["queuePosition"], 1, "{own}");
    let (token, _) = share(&alice, &second, "control").await;
    let guest = api.http_with(&token);
    assert_hidden(&guest.status(&second).await.expect("a status"), "HTTP");
    let mut lines = guest.follow(&second).await.expect("a stream");
    let line = lines.next().await.expect("a line").expect("a status");
    assert_eq!(line["state"], "queued", "{line}");
    assert_hidden(&line, "follow");
    let mut viewer = session(&bridge, &token).await;
    assert_hidden(
        &viewer.attach(&second, None).await.expect("a view"),
        "attach",
    );
    let status = json!({"executionId": second});
    let status = viewer.call("status", status).await.expect("a status");
    assert_hidden(&status, "WebSocket");
    let unviewed = path(&second, "/cancel?ifUnviewedForMs=600000");
    let (code, _, status) = send(&guest, Method::POST, &unviewed, "").await;
    assert_eq!(code, 200, "{status}");
    assert_hidden(&status, "a scheduled cancel");
    let burn = path(&second, "/cancel?ifUnknown=burn");
    let (code, _, status) = send(&guest, Method::POST, &burn, "").await;
    assert_eq!(
        (code, &status["state"]),
        (200, &json!("cancelled")),
        "{status}"
    );
    assert_hidden(&status, "cancel");
    let (_, end) = viewer.wait_terminal(&second).await;
    assert_eq!(end["state"], "cancelled", "{end}");
    viewer.finish().await;
    cancelled(&alice, &gate.id).await;
    ended(&alice, &first).await;
    bridge.assert_quiet();
    api.service.assert_quiet();
}

/// The record on disk has the continuation. A share does not show it, live or ended.
#[tokio::test]
async fn a_share_sees_no_continuation() {
    let mut api = Api::start(usual_tokens(), StackOptions::default()).await;
    let [old, new] = [id(), id()];
    let alice = api.http("alice");
    accept(&alice, &old, "@say so far\n@tool 60", json!({})).await;
    until(&alice, &old, "in its tool", |status| {
        status["outputBytes"] == 6
    })
    .await;
    // Only an interrupted execution can be continued.
    api.crash().await;
    let alice = api.http("alice");
    let bridge = api.bridge(&[]).await;
    accept(&alice, &new, "@say y", json!({"continues": old})).await;
    ended(&alice, &new).await;
    let continued = alice.status(&old).await.expect("a status");
    assert_eq!(continued["continuedBy"], new, "{continued}");
    let continuation = alice.status(&new).await.expect("a status");
    assert_eq!(continuation["continues"], old, "{continuation}");
    for id in [&old, &new] {
        let (token, _) = share(&alice, id, "view").await;
        let guest = api.http_with(&token);
        assert_hidden(&guest.status(id).await.expect("a status"), "HTTP");
        for line in guest.follow_to_end(id).await.expect("statuses") {
            assert_hidden(&line, "follow");
        }
        let mut viewer = session(&bridge, &token).await;
        assert_hidden(&viewer.attach(id, None).await.expect("a view"), "attach");
        let (_, end) = viewer.wait_terminal(id).await;
        assert_ne!(end["continues"], old, "{end}");
        assert_ne!(end["continuedBy"], new, "{end}");
        viewer.finish().await;
    }
    bridge.assert_quiet();
    api.service.assert_quiet();
}

/// The keys by which bridges count are the same after a restart, and name nobody.
#[tokio::test]
async fn the_keys_of_a_principal_and_of_its_shares_survive_a_restart() {
    let mut api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    let id = id();
    accept(&alice, &id, "@say x", json!({})).await;
    ended(&alice, &id).await;
    let [one, other] = [
        share(&alice, &id, "view").await,
        share(&alice, &id, "view").await,
    ];
    let clients = |api: &Api| {
        let shares = [&one.0, &other.0].map(|token| api.http_with(token));
        let [first, second] = shares;
        [api.http("alice"), api.http("bob"), first, second]
    };
    let keys = async |api: &Api| {
        let mut keys = Vec::new();
        for client in clients(api) {
            let (_, me) = client.get("/v1/me").await.expect("an answer");
            keys.push((me["quota"].clone(), me["shareQuota"].clone()));
        }
        keys
    };
    let before = keys(&api).await;
    let [of_alice, of_bob, first, second] = &before[..] else {
        panic!("four clients");
    };
    assert!(
        of_alice.0.is_string() && of_alice.1.is_null(),
        "{of_alice:?}"
    );
    assert_ne!(of_alice.0, of_bob.0);
    assert_eq!([&first.0, &second.0], [&of_alice.0; 2]);
    assert!(first.1.is_string() && first.1 != second.1, "{first:?}");
    api.crash().await;
    assert_eq!(keys(&api).await, before);
    api.service.assert_quiet();
}
