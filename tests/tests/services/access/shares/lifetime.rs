//! The end of a share: by its time, by DELETE, and with its execution. Its streams end too.

use std::time::Duration;

use cc_tests::harness::StackOptions;
use cc_tests::http::read_output;
use reqwest::Method;
use serde_json::json;

use super::super::api::{Api, IN_FORCE, assert_kind, share, until_code, usual_tokens};
use crate::support::{PATIENCE, accept, ended, id, path, send};

#[tokio::test]
async fn a_share_survives_a_kill_and_ends_with_its_execution() {
    let mut api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    let id = id();
    accept(&alice, &id, "@say x", json!({})).await;
    ended(&alice, &id).await;
    let (token, _) = share(&alice, &id, "view").await;
    let guest = api.http_with(&token);
    api.crash().await;
    let output = guest.output(&id, 0).await.expect("an output");
    assert_eq!(output.bytes, b"x");
    // Without its creator: the share belongs to the execution.
    assert_eq!(
        send(&alice, Method::DELETE, &path(&id, ""), "").await.0,
        204
    );
    for rest in ["", "/output", "?follow=true"] {
        let answer = send(&guest, Method::GET, &path(&id, rest), "").await;
        assert_kind(&answer, 401, "unauthorized");
    }
    api.service.assert_quiet();
}

/// A share whose seconds are over is no share.
#[tokio::test]
async fn a_share_expires() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    let gate = api.begin(&alice, json!({})).await;
    let body = json!({"expiresSeconds": 2}).to_string();
    let (code, _, made) = send(&alice, Method::POST, &path(&gate.id, "/share"), body).await;
    assert_eq!(code, 201, "{made}");
    let guest = api.http_with(made["token"].as_str().expect("a token"));
    let stream = guest.open_output(&gate.id, 0).await.expect("a stream");
    until_code(&guest, 401, PATIENCE).await;
    let ended_stream = tokio::time::timeout(IN_FORCE, read_output(stream)).await;
    let output = ended_stream.expect("the stream of an expired share ends");
    assert!(!output.clean, "{output:?}");
    gate.open();
    assert_eq!(ended(&alice, &gate.id).await["state"], "completed");
    api.service.assert_quiet();
}

/// The streams of an ended share end within 15 s; those of another share and of the owner have
/// every byte.
#[tokio::test]
async fn streams_of_an_ended_share_end_and_all_others_have_every_byte() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    let gate = api.prepare();
    // Bytes flow before, while and after the share ends.
    let prompt = format!("@rate 100\n@volume 300 20\n{}", gate.prompt);
    accept(&alice, &gate.id, &prompt, json!({})).await;
    let (ended_token, ended_id) = share(&alice, &gate.id, "control").await;
    let (kept_token, _) = share(&alice, &gate.id, "view").await;
    let (guest, kept) = (api.http_with(&ended_token), api.http_with(&kept_token));
    let stream = guest.open_output(&gate.id, 0).await.expect("a stream");
    let mut lines = guest.follow(&gate.id).await.expect("a stream");
    let others = [
        kept.open_output(&gate.id, 0).await.expect("a stream"),
        alice.open_output(&gate.id, 0).await.expect("a stream"),
    ];
    let others = others.map(|other| tokio::spawn(read_output(other)));
    let end = path(&gate.id, &format!("/share/{ended_id}"));
    assert_eq!(send(&alice, Method::DELETE, &end, "").await.0, 204);
    let answer = send(&guest, Method::GET, &path(&gate.id, ""), "").await;
    assert_kind(&answer, 401, "unauthorized");
    let cut = tokio::time::timeout(IN_FORCE, read_output(stream)).await;
    let cut = cut.expect("the output of an ended share ends");
    assert!(!cut.clean && cut.trailers.is_empty(), "{:?}", cut.trailers);
    let follow = async { while let Ok(Some(_)) = lines.next().await {} };
    let followed = tokio::time::timeout(Duration::from_secs(5), follow).await;
    followed.expect("the follow stream of an ended share ends");
    gate.open();
    assert_eq!(ended(&alice, &gate.id).await["state"], "completed");
    for other in others {
        let output = other.await.expect("a task");
        output.assert_whole("completed");
        assert!(output.bytes.ends_with(b"begun-done"));
        assert_eq!(output.bytes.len(), 300 * 20 + 10);
    }
    api.service.assert_quiet();
}
