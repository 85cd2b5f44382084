//! Tickets, with which a bridge opens the session of a web page. The bridge makes these calls.

use std::time::{Duration, Instant};

use cc_tests::harness::stack::api_options;
use cc_tests::harness::{Service, StackOptions};
use cc_tests::http::Http;
use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::api::{Api, IN_FORCE, assert_kind, redeem, share, ticket, until_code, usual_tokens};
use crate::support::{accept, ended, id, path, send};

const ORIGIN: Option<&str> = Some("https://app.example");
/// For how long a ticket can be redeemed.
const LIFETIME: Duration = Duration::from_secs(30);

#[tokio::test]
async fn of_many_that_redeem_a_ticket_at_once_exactly_one_gets_a_token() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    for _ in 0..5 {
        let ticket = ticket(&alice, ORIGIN).await;
        let clients: Vec<_> = (0..20).map(|_| api.anonymous()).collect();
        let calls = clients.iter().map(|client| redeem(client, &ticket, ORIGIN));
        let answers = join_all(calls).await;
        let (good, refused): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|(code, _)| *code == 200);
        assert_eq!(good.len(), 1, "{good:?}");
        for (code, answer) in refused {
            assert_eq!(
                (code, &answer["type"]),
                (401, &json!("unauthorized")),
                "{answer}"
            );
        }
        let me = &good[0].1["me"];
        assert_eq!(
            (&me["principal"], &me["name"]),
            (&json!("team-a"), &json!("alice")),
            "{me}"
        );
    }
    api.service.assert_quiet();
}

#[tokio::test]
async fn answers_with_a_ticket_or_its_token_are_stored_by_no_cache() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    let made = send(&alice, Method::POST, "/v1/tickets", "").await;
    assert_eq!(
        (made.0, &made.2["expiresSeconds"]),
        (201, &json!(30)),
        "{}",
        made.2
    );
    assert_eq!(made.1["cache-control"], "no-store");
    let body = json!({"ticket": made.2["ticket"]}).to_string();
    let redeemed = send(&api.anonymous(), Method::POST, "/v1/tickets/redeem", body).await;
    assert_eq!(redeemed.0, 200, "{}", redeemed.2);
    assert_eq!(redeemed.1["cache-control"], "no-store");
    for bad in [
        "{",
        r#"{"origin":7}"#,
        r#"{"principal":"team-b"}"#,
        r#"{"role":"admin"}"#,
    ] {
        let answer = send(&alice, Method::POST, "/v1/tickets", bad).await;
        assert_kind(&answer, 400, "invalid-body");
    }
    api.service.assert_quiet();
}

/// The token of a redeemed ticket has the rights of the token behind it, now and later.
#[tokio::test]
async fn a_session_token_ends_with_its_token_and_with_the_service() {
    let mut api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    let (used, lost, late) = (ticket(&alice, None).await, ticket(&alice, None).await, id());
    let (code, redeemed) = redeem(&api.anonymous(), &used, None).await;
    assert_eq!(code, 200, "{redeemed}");
    let session = api.http_with(redeemed["token"].as_str().expect("a token"));
    accept(&session, &late, "@say x", json!({})).await;
    assert_eq!(ended(&session, &late).await["principal"], "team-a");
    api.crash().await;
    // Tickets and session tokens are in memory alone.
    assert_eq!(redeem(&api.anonymous(), &lost, None).await.0, 401);
    until_code(&session, 401, IN_FORCE).await;
    let again = ticket(&alice, None).await;
    let (code, redeemed) = redeem(&api.anonymous(), &again, None).await;
    assert_eq!(code, 200, "{redeemed}");
    let session = api.http_with(redeemed["token"].as_str().expect("a token"));
    let kept = ticket(&alice, None).await;
    let viewer = api
        .tokens
        .changed("alice", "view", &["principal = \"team-a\""]);
    api.replace_tokens(viewer);
    // The pause of an ended execution changes nothing, but needs the right to control it.
    cc_tests::harness::until("the smaller role", IN_FORCE, async || {
        let (code, ..) = send(&session, Method::POST, &path(&late, "/pause"), "").await;
        (code == 403).then_some(())
    })
    .await;
    let left = api.tokens.without("alice");
    api.replace_tokens(left);
    until_code(&session, 401, IN_FORCE).await;
    assert_eq!(redeem(&api.anonymous(), &kept, None).await.0, 401);
    api.service.assert_quiet();
}

#[tokio::test]
async fn a_ticket_of_a_share_opens_the_shared_execution_alone() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let alice = api.http("alice");
    let (shared, hidden) = (id(), id());
    for id in [&shared, &hidden] {
        accept(&alice, id, "@say x", json!({})).await;
        ended(&alice, id).await;
    }
    let (token, share_id) = share(&alice, &shared, "view").await;
    let ticket = ticket(&api.http_with(&token), ORIGIN).await;
    let (code, redeemed) = redeem(&api.anonymous(), &ticket, ORIGIN).await;
    assert_eq!(
        (code, &redeemed["me"]["share"]),
        (200, &json!(shared)),
        "{redeemed}"
    );
    let session = api.http_with(redeemed["token"].as_str().expect("a token"));
    assert_eq!(
        session.status(&shared).await.expect("a status")["state"],
        "completed"
    );
    let answer = send(&session, Method::GET, &path(&hidden, ""), "").await;
    assert_kind(&answer, 404, "not-found");
    for (method, target) in [
        (Method::GET, "/v1/executions"),
        (Method::POST, "/v1/executions"),
    ] {
        let answer = send(&session, method, target, r#"{"prompt":"x"}"#).await;
        assert_kind(&answer, 403, "forbidden");
    }
    let end = path(&shared, &format!("/share/{share_id}"));
    assert_eq!(send(&alice, Method::DELETE, &end, "").await.0, 204);
    let answer = send(&session, Method::GET, &path(&shared, ""), "").await;
    assert_kind(&answer, 401, "unauthorized");
    api.service.assert_quiet();
}

/// One test waits as long as a ticket lives.
#[tokio::test]
async fn a_late_ticket_is_refused_and_a_flood_of_one_token_ends_no_ticket_of_another() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let (alice, bob) = (api.http("alice"), api.http("bob"));
    let late = ticket(&alice, ORIGIN).await;
    let made = Instant::now();
    let of_bob = ticket(&bob, ORIGIN).await;
    let first = ticket(&alice, ORIGIN).await;
    for _ in 0..256 {
        ticket(&alice, ORIGIN).await;
    }
    assert_eq!(redeem(&api.anonymous(), &of_bob, ORIGIN).await.0, 200);
    // Of one token, the oldest ticket gives way.
    assert_eq!(redeem(&api.anonymous(), &first, ORIGIN).await.0, 401);
    let again = ticket(&alice, ORIGIN).await;
    tokio::time::sleep((LIFETIME + Duration::from_secs(1)).saturating_sub(made.elapsed())).await;
    assert_eq!(redeem(&api.anonymous(), &late, ORIGIN).await.0, 401);
    tokio::time::sleep(LIFETIME).await;
    assert_eq!(redeem(&api.anonymous(), &again, ORIGIN).await.0, 401);
    api.service.assert_quiet();
}

#[tokio::test]
async fn without_a_token_file_there_are_no_tickets_and_no_shares() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::start(api_options(folder.path(), &StackOptions::default())).await;
    let http = Http::new(service.addr());
    let id = id();
    accept(&http, &id, "@say x", json!({})).await;
    ended(&http, &id).await;
    for target in ["/v1/tickets", &path(&id, "/share")] {
        let answer = send(&http, Method::POST, target, "{}").await;
        assert_kind(&answer, 409, "wrong-state");
    }
    let (_, me) = http.get("/v1/me").await.expect("an answer");
    assert_eq!(
        (&me["role"], &me["principal"]),
        (&json!("admin"), &json!(null)),
        "{me}"
    );
    let (_, limits) = http.get("/v1/limits").await.expect("an answer");
    assert_eq!(limits["tokens"], false, "{limits}");
    service.assert_quiet();
}
