//! The tokens of redeemed tickets, which are valid only while a bridge renews them.

use cc_tests::harness::StackOptions;
use cc_tests::http::Http;
use reqwest::Method;
use serde_json::{Value, json};

use super::api::{Api, IN_FORCE, assert_kind, cancelled, redeem, share, ticket, usual_tokens};
use crate::support::send;

const SESSION: &str = "/v1/tickets/session";

/// Redeems a ticket of this client; returns the session token and its renewal secret.
async fn redeemed(api: &Api, client: &Http) -> (String, String) {
    let ticket = ticket(client, None).await;
    let (code, redeemed) = redeem(&api.anonymous(), &ticket, None).await;
    assert_eq!(code, 200, "{redeemed}");
    let text = |name: &str| redeemed[name].as_str().expect("a secret").to_owned();
    (text("token"), text("renewal"))
}

async fn code(http: &Http, method: Method, target: &str) -> u16 {
    send(http, method, target, "").await.0
}

/// An ended session token opens nothing, and its open streams end.
#[tokio::test]
async fn a_session_token_and_its_streams_end_when_a_bridge_ends_it() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    let gate = api.begin(&alice, json!({})).await;
    let (of_share, _) = share(&alice, &gate.id, "view").await;
    for client in [&alice, &api.http_with(&of_share)] {
        let (token, renewal) = redeemed(&api, client).await;
        let (session, bridge) = (api.http_with(&token), api.http_with(&renewal));
        let mut lines = session.follow(&gate.id).await.expect("a stream");
        lines.next().await.expect("a line").expect("a status");
        assert_eq!(code(&bridge, Method::PUT, SESSION).await, 204);
        assert_eq!(code(&session, Method::GET, "/v1/me").await, 200);
        assert_eq!(code(&bridge, Method::DELETE, SESSION).await, 204);
        assert_eq!(code(&bridge, Method::DELETE, SESSION).await, 204, "again");
        assert_eq!(code(&session, Method::GET, "/v1/me").await, 401);
        assert_eq!(code(&bridge, Method::PUT, SESSION).await, 401);
        let aborted = async { while let Ok(Some(_)) = lines.next().await {} };
        let aborted = tokio::time::timeout(IN_FORCE, aborted).await;
        aborted.expect("the stream ends with the session token");
        assert_eq!(code(client, Method::GET, "/v1/me").await, 200);
    }
    cancelled(&alice, &gate.id).await;
    api.service.assert_quiet();
}

/// Whoever learns a session token can neither renew it nor replace it by another one.
#[tokio::test]
async fn a_session_token_renews_nothing_and_gets_no_ticket() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    let (token, renewal) = redeemed(&api, &alice).await;
    let (other, _) = redeemed(&api, &alice).await;
    let session = api.http_with(&token);
    for secret in [&token, &other, &api.tokens.secret("alice").to_owned()] {
        let client = api.http_with(secret);
        assert_eq!(code(&client, Method::PUT, SESSION).await, 401);
        code(&client, Method::DELETE, SESSION).await;
        assert_eq!(code(&session, Method::GET, "/v1/me").await, 200);
    }
    let anonymous = api.anonymous();
    for method in [Method::PUT, Method::DELETE] {
        let answer = send(&anonymous, method, SESSION, "").await;
        assert_kind(&answer, 401, "unauthorized");
    }
    let bridge = api.http_with(&renewal);
    assert_eq!(code(&bridge, Method::GET, "/v1/me").await, 401);
    let answer = send(&session, Method::POST, "/v1/tickets", "").await;
    assert_kind(&answer, 403, "forbidden");
    api.service.assert_quiet();
}

/// Tickets of a share come from an allotment of its own.
#[tokio::test]
async fn a_flood_of_tickets_of_shares_ends_no_ticket_of_their_principal() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    let gate = api.begin(&alice, json!({})).await;
    let own = ticket(&alice, None).await;
    let [greedy, modest] = [
        share(&alice, &gate.id, "view").await.0,
        share(&alice, &gate.id, "view").await.0,
    ];
    let modest = ticket(&api.http_with(&modest), None).await;
    let guest = api.http_with(&greedy);
    for _ in 0..300 {
        ticket(&guest, None).await;
    }
    for ticket in [own, modest] {
        let (code, answer): (u16, Value) = redeem(&api.anonymous(), &ticket, None).await;
        assert_eq!(code, 200, "{answer}");
    }
    cancelled(&alice, &gate.id).await;
    api.service.assert_quiet();
}
