//! Executions while `credentials` is away, restarts, or has never been there.

use std::time::{Duration, Instant};

use cc_tests::credentials::{FakeCredentials, present};
use grants::{CredentialKind, CredentialState, GrantHash, Order, Report};
use reqwest::Method;
use serde_json::{Value, json};

use super::stack;
use crate::support::{accept, ended, id, parsed, path, send, until};

/// How long an execution waits for the first connection.
const FIRST_HELLO: Duration = Duration::from_secs(10);

/// Returns the warning with this code.
fn warning(status: &Value, code: &str) -> Option<Value> {
    let warnings = status["warnings"].as_array().expect("a list");
    warnings.iter().find(|w| w["code"] == code).cloned()
}

#[tokio::test]
async fn an_execution_waits_for_the_first_connection_and_a_cancel_ends_the_wait() {
    let stack = stack().await;
    let (http, waiting, cancelled) = (stack.http(), id(), id());
    accept(&http, &waiting, "@env", json!({})).await;
    accept(&http, &cancelled, "@say x", json!({})).await;
    until(&http, &cancelled, "running", |s| s["state"] == "running").await;
    let begun = Instant::now();
    let (code, _, _) = send(&http, Method::POST, &path(&cancelled, "/cancel"), "").await;
    assert_eq!(code, 200);
    let status = ended(&http, &cancelled).await;
    assert_eq!(status["state"], "cancelled", "{status}");
    assert!(begun.elapsed() < FIRST_HELLO / 2, "{:?}", begun.elapsed());
    assert_eq!(stack.spawns(&cancelled), 0);
    assert_eq!(stack.spawns(&waiting), 0, "it does not know the variable");
    let kind = present(CredentialKind::OauthToken);
    let mut fake = FakeCredentials::connect(&stack.api, kind).await;
    let hash = fake.grant().await.hash;
    fake.revocation(&waiting).await;
    let output = http.output(&waiting, 0).await.expect("an output");
    let seen = parsed(&String::from_utf8(output.bytes).expect("text"));
    let grant = seen["CLAUDE_CODE_OAUTH_TOKEN"].as_str().expect("a grant");
    assert_eq!(GrantHash::of(grant), hash);
    stack.assert_quiet();
}

#[tokio::test]
async fn without_a_connection_an_execution_starts_after_ten_seconds_with_the_variable_of_a_key() {
    let stack = stack().await;
    let (text, status) = crate::support::run(&stack, "@env", json!({})).await;
    assert_eq!(status["state"], "completed", "{status}");
    let grant = parsed(&text)["ANTHROPIC_API_KEY"].to_string();
    assert!(grant.contains("ccg_"), "{text}");
    let waited = status["durationMs"].as_u64().expect("a duration");
    assert!(waited >= 10_000, "{waited}");
    stack.assert_quiet();
}

#[tokio::test]
async fn a_lost_connection_delays_no_start_and_every_grant_is_sent_again() {
    let stack = stack().await;
    let kind = || present(CredentialKind::AuthToken);
    let mut fake = FakeCredentials::connect(&stack.api, kind()).await;
    let (http, first, second, gate) = (stack.http(), id(), id(), stack.path("gate"));
    let prompt = format!("@wait {}\n@env", gate.display());
    accept(&http, &first, &prompt, json!({})).await;
    let granted = fake.grant().await;
    drop(fake);
    until(&http, &first, "warned", |status| {
        warning(status, "credentials_restarted").is_some()
    })
    .await;
    // The kind is remembered, so that the start needs no connection.
    accept(&http, &second, &prompt, json!({})).await;
    until(&http, &second, "started", |status| {
        !status["model"].is_null()
    })
    .await;
    let (mut fake, orders) = FakeCredentials::reconnect(&stack.api, kind()).await;
    let sent = |id: &str| {
        orders.iter().find_map(|order| match order {
            Order::Grant(registration) if registration.execution_id == id => Some(registration),
            _ => None,
        })
    };
    assert_eq!(orders.len(), 2, "{orders:?}");
    assert_eq!(sent(&first), Some(&granted));
    let hash = sent(&second).expect("it runs").hash.clone();
    std::fs::write(&gate, "").expect("written");
    for _ in 0..2 {
        match fake.order().await {
            Some(Order::Revoke { execution_id }) => {
                fake.report(&Report::Revoked { execution_id }).await;
            }
            order => panic!("{order:?}"),
        }
    }
    let status = ended(&http, &first).await;
    assert_eq!(status["state"], "completed", "{status}");
    let warned = warning(&status, "credentials_restarted").expect("a warning");
    assert_eq!(warned["data"], json!({"restarts": 1}));
    let status = ended(&http, &second).await;
    assert_eq!(warning(&status, "credentials_restarted"), None);
    let output = http.output(&second, 0).await.expect("an output");
    let seen = parsed(&String::from_utf8(output.bytes).expect("text"));
    let grant = seen["ANTHROPIC_AUTH_TOKEN"].as_str().expect("a grant");
    assert_eq!(GrantHash::of(grant), hash);
    stack.assert_quiet();
}

#[tokio::test]
async fn a_newer_connection_replaces_the_older_one() {
    let stack = stack().await;
    let kind = || present(CredentialKind::ApiKey);
    let mut older = FakeCredentials::connect(&stack.api, kind()).await;
    let mut newer = FakeCredentials::connect(&stack.api, kind()).await;
    assert_eq!(older.order().await, None, "it is closed");
    let (http, id) = (stack.http(), id());
    accept(&http, &id, "@say x", json!({})).await;
    assert_eq!(newer.grant().await.execution_id, id);
    newer.revocation(&id).await;
    assert_eq!(ended(&http, &id).await["state"], "completed");
    crate::startup::ready(&stack).await;
    stack.assert_quiet();
}

#[tokio::test]
async fn a_connection_that_confirms_nothing_delays_a_start_by_one_second() {
    let stack = stack().await;
    let kind = present(CredentialKind::ApiKey);
    let _silent = FakeCredentials::connect(&stack.api, kind).await;
    let (_, status) = crate::support::run(&stack, "@say x", json!({})).await;
    assert_eq!(status["state"], "completed", "{status}");
    let duration = status["durationMs"].as_u64().expect("a duration");
    assert!(duration >= 1000, "it did not wait: {duration} ms");
    stack.assert_quiet();
}

#[tokio::test]
async fn after_a_crash_of_claude_api_its_old_grants_are_not_sent() {
    let mut stack = stack().await;
    let kind = || present(CredentialKind::ApiKey);
    let mut fake = FakeCredentials::connect(&stack.api, kind()).await;
    let (http, id) = (stack.http(), id());
    accept(&http, &id, "@silence 60", json!({})).await;
    fake.grant().await;
    stack.crash_api().await;
    assert_eq!(fake.order().await, None, "the connection ended");
    let (_, orders) = FakeCredentials::reconnect(&stack.api, kind()).await;
    assert_eq!(orders, []);
    assert_eq!(ended(&http, &id).await["state"], "interrupted");
    stack.assert_nothing_left(&id).await;
}

#[tokio::test]
async fn a_stop_of_claude_api_keeps_the_grants_of_executions_that_still_run() {
    let mut stack = stack().await;
    let kind = present(CredentialKind::ApiKey);
    let mut fake = FakeCredentials::connect(&stack.api, kind).await;
    let (http, id, gate) = (stack.http(), id(), stack.path("gate"));
    accept(
        &http,
        &id,
        &format!("@wait {}\n@say x", gate.display()),
        json!({}),
    )
    .await;
    fake.grant().await;
    stack.api.signal(rustix::process::Signal::TERM);
    crate::startup::health(&http, "/health/ready", 503).await;
    fake.report(&Report::Credential(CredentialState::Missing))
        .await;
    std::fs::write(&gate, "").expect("written");
    // The grant ends with the execution, not with the begin of the stop.
    fake.revocation(&id).await;
    stack.api.wait_exit(Duration::from_secs(20)).await;
    stack.api.assert_quiet();
}
