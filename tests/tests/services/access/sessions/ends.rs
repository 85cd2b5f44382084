//! The end of sessions with their token, and what ends none.

use std::time::{Duration, Instant};

use cc_tests::harness::StackOptions;
use cc_tests::ws::Client;
use reqwest::Method;
use serde_json::json;

use super::super::api::{Api, IN_FORCE, redeem, session, share, ticket, usual_tokens, with_secret};
use crate::support::{accept, ended, path, send};

/// The close code of a session whose token is not valid any more.
const POLICY: u16 = 1008;

/// Waits for the close of a session; returns its code.
async fn closed(client: &Client, what: &str) -> u16 {
    let closed = tokio::time::timeout(IN_FORCE, client.wait_closed()).await;
    closed.unwrap_or_else(|_| panic!("{what} is open after 15 s"))
}

/// The sessions of a removed token, of an ended share, and of tickets of the removed token end with
/// 1008 within 15 s. All others have every byte.
#[tokio::test]
async fn sessions_of_a_removed_token_end_and_all_others_have_every_byte() {
    let team_a = "principal = \"team-a\"";
    let tokens =
        usual_tokens()
            .with("removed", "control", &[team_a])
            .with("viewer", "view", &[team_a]);
    let mut api = Api::start(tokens, StackOptions::default()).await;
    let bridge = api.bridge(&[]).await;
    let alice = api.http("alice");
    let gate = api.prepare();
    let prompt = format!("@rate 100\n@volume 300 20\n{}", gate.prompt);
    accept(&alice, &gate.id, &prompt, json!({})).await;
    let (share, share_id) = share(&alice, &gate.id, "view").await;
    let ticket = ticket(&api.http("removed"), None).await;
    let (_, redeemed) = redeem(&api.anonymous(), &ticket, None).await;
    let of_ticket = redeemed["token"].as_str().expect("a token");
    let mut cut = Vec::new();
    for (what, secret) in [
        ("removed", api.tokens.secret("removed")),
        ("the ended share", &share),
        ("the ticket of removed", of_ticket),
    ] {
        let mut client = session(&bridge, secret).await;
        client.attach(&gate.id, None).await.expect("a view");
        cut.push((what, client));
    }
    let mut kept = Vec::new();
    for name in ["alice", "viewer", "admin"] {
        let mut client = session(&bridge, api.tokens.secret(name)).await;
        client.attach(&gate.id, None).await.expect("a view");
        kept.push((name, client));
    }
    let left = api.tokens.without("removed");
    api.replace_tokens(left);
    let end = path(&gate.id, &format!("/share/{share_id}"));
    let deleted = send(&alice, Method::DELETE, &end, "").await;
    assert_eq!(deleted.0, 204);
    let begun = Instant::now();
    for (what, client) in &cut {
        assert_eq!(closed(client, what).await, POLICY, "{what}");
    }
    assert!(begun.elapsed() < IN_FORCE, "{:?}", begun.elapsed());
    gate.open();
    for (name, client) in kept {
        let (output, end) = client.wait_terminal(&gate.id).await;
        assert_eq!(end["state"], "completed", "{name}: {end}");
        assert_eq!(output.len(), 300 * 20 + 10, "{name}");
        client.finish().await;
    }
    assert_eq!(ended(&alice, &gate.id).await["state"], "completed");
    bridge.assert_quiet();
    api.service.assert_quiet();
}

/// Only a refusal of the token ends a session. A claude-api that does not answer ends none.
#[tokio::test]
async fn a_claude_api_that_is_down_ends_no_session() {
    let mut api = Api::start(usual_tokens(), StackOptions::default()).await;
    let bridge = api.bridge(&[]).await;
    let mut client = session(&bridge, api.tokens.secret("alice")).await;
    api.service.kill();
    // Longer than two questions about the token.
    tokio::time::sleep(Duration::from_secs(12)).await;
    api.service.start_again().await;
    let id = client.start("@say x").await;
    assert_eq!(client.wait_terminal(&id).await.1["state"], "completed");
    client.finish().await;
    api.service.assert_quiet();
}

/// A new session needs the judge. Without its answer the client may try again later.
#[tokio::test]
async fn while_claude_api_is_down_a_new_session_is_refused_with_1013() {
    let mut api = Api::start(usual_tokens(), StackOptions::default()).await;
    let bridge = api.bridge(&[]).await;
    // The bridge knows from here on that tokens are needed.
    session(&bridge, api.tokens.secret("alice"))
        .await
        .finish()
        .await;
    api.service.kill();
    let options = with_secret(api.tokens.secret("bob"));
    let client = Client::try_connect(bridge.addr(), options).await;
    let client = client.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(closed(&client, "the refused session").await, 1013);
    let none = Client::try_connect(bridge.addr(), cc_tests::ws::Options::default()).await;
    assert!(none.is_err(), "a session without a token");
    api.service.start_again().await;
    session(&bridge, api.tokens.secret("bob"))
        .await
        .finish()
        .await;
    api.service.assert_quiet();
}

/// A token that now belongs to another principal opens other sessions, and ends the old ones.
#[tokio::test]
async fn a_session_of_a_moved_token_ends() {
    let mut api = Api::start(usual_tokens(), StackOptions::default()).await;
    let bridge = api.bridge(&[]).await;
    let client = session(&bridge, api.tokens.secret("alice")).await;
    let fields = ["principal = \"team-b\""];
    let moved = api.tokens.changed("alice", "control", &fields);
    api.replace_tokens(moved);
    assert_eq!(closed(&client, "the moved session").await, POLICY);
    let mut again = session(&bridge, api.tokens.secret("alice")).await;
    let (_, end) = again.run("@say x").await;
    assert_eq!(end["principal"], "team-b", "{end}");
    again.finish().await;
    bridge.assert_quiet();
    api.service.assert_quiet();
}
