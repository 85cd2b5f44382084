//! `/health/ready` with the service `credentials`.

use cc_tests::credentials::{FakeCredentials, answer, present, with_credentials};
use cc_tests::harness::{Stack, StackOptions};
use grants::{Answer, CredentialKind, CredentialState, Endpoint, Report};
use serde_json::{Value, json};

use super::stack;
use crate::startup::{health, ready, reason};
use crate::support::{PATIENCE, run};

/// Waits until the page has this reason; returns the page.
async fn unready(stack: &Stack, code: &str) -> Value {
    cc_tests::harness::until(code, PATIENCE, async || {
        let (_, page) = stack.http().get("/health/ready").await.ok()?;
        let reasons = page["reasons"].as_array()?;
        let has_it = reasons.iter().any(|reason| reason["code"] == code);
        has_it.then_some(page.clone())
    })
    .await
}

#[tokio::test]
async fn a_service_that_is_away_is_a_reason_until_it_connects() {
    let stack = stack().await;
    health(&stack.http(), "/health/startup", 200).await;
    let page = unready(&stack, "credentials-away").await;
    assert_eq!(page["reasons"].as_array().map(Vec::len), Some(1), "{page}");
    let nothing = json!({"lastWorkedAt": null, "lastRefusedAt": null, "kind": null});
    assert_eq!(page["credential"], nothing);
    let kind = present(CredentialKind::OauthToken);
    let fake = FakeCredentials::connect(&stack.api, kind).await;
    ready(&stack).await;
    let page = health(&stack.http(), "/health/ready", 200).await;
    assert_eq!(page["credential"]["kind"], "oauthToken", "{page}");
    drop(fake);
    let page = unready(&stack, "credentials-away").await;
    let message = reason(&page, "credentials-away")["message"].to_string();
    assert!(message.contains("closed the connection"), "{message}");
    stack.assert_quiet();
}

#[tokio::test]
async fn a_check_that_the_api_refuses_is_a_reason_until_a_success_or_another_credential() {
    let stack = stack().await;
    let kind = present(CredentialKind::ApiKey);
    let mut fake = FakeCredentials::connect(&stack.api, kind).await;
    let denied = |id: &str| Answer {
        error_type: Some("permission_error".to_owned()),
        ..answer(id, 403)
    };
    let check = |status| Answer {
        execution_id: None,
        endpoint: Endpoint::Models,
        ..answer("", status)
    };
    // Odd requests of executions prove nothing.
    for id in ["one", "one", "two"] {
        fake.report(&Report::Answer(denied(id))).await;
        fake.report(&Report::Answer(answer(id, 401))).await;
    }
    fake.report(&Report::Answer(answer("one", 200))).await;
    let page = cc_tests::harness::until("the success", PATIENCE, async || {
        let (_, page) = stack.http().get("/health/ready").await.ok()?;
        page["credential"]["lastWorkedAt"]
            .is_string()
            .then_some(page)
    })
    .await;
    assert_eq!(page["credential"]["lastRefusedAt"], Value::Null, "{page}");

    fake.report(&Report::Answer(check(401))).await;
    let page = unready(&stack, "credential-refused").await;
    assert!(page["credential"]["lastRefusedAt"].is_string(), "{page}");
    fake.report(&Report::Answer(answer("one", 200))).await;
    ready(&stack).await;
    fake.report(&Report::Answer(check(401))).await;
    unready(&stack, "credential-refused").await;
    // A lost connection is no success.
    drop(fake);
    unready(&stack, "credentials-away").await;
    let kind = present(CredentialKind::ApiKey);
    let mut fake = FakeCredentials::connect(&stack.api, kind).await;
    unready(&stack, "credential-refused").await;
    let other = CredentialState::Present {
        kind: CredentialKind::ApiKey,
        fingerprint: "another".to_owned(),
    };
    fake.report(&Report::Credential(other)).await;
    ready(&stack).await;
    stack.assert_quiet();
}

/// A 401 may come from `credentials` itself, which does not know a grant.
#[tokio::test]
async fn a_401_that_only_the_cli_saw_does_not_count_as_a_refusal() {
    let stack = stack().await;
    let kind = present(CredentialKind::ApiKey);
    let _fake = FakeCredentials::connect(&stack.api, kind).await;
    ready(&stack).await;
    let (_, status) = run(&stack, "@result 401", json!({})).await;
    assert_eq!(status["reason"], "auth_failed", "{status}");
    let page = health(&stack.http(), "/health/ready", 200).await;
    assert_eq!(page["credential"]["lastRefusedAt"], Value::Null, "{page}");
    stack.assert_quiet();
}

#[tokio::test]
async fn the_state_of_the_credential_is_a_reason_with_its_text() {
    let stack = stack().await;
    let unusable = |reason: &str| reason.to_owned();
    let state = CredentialState::Unreadable {
        reason: unusable("ANTHROPIC_API_KEY_FILE, /run/key: denied"),
    };
    let mut fake = FakeCredentials::connect(&stack.api, state).await;
    let page = unready(&stack, "credential-unreadable").await;
    assert!(page.to_string().contains("/run/key: denied"), "{page}");
    let state = CredentialState::Malformed {
        reason: unusable("/run/key: it is UTF-16"),
    };
    fake.report(&Report::Credential(state)).await;
    let page = unready(&stack, "credential-malformed").await;
    assert!(page.to_string().contains("UTF-16"), "{page}");
    fake.report(&Report::Credential(CredentialState::Missing))
        .await;
    let page = unready(&stack, "credential-missing").await;
    let remedy = reason(&page, "credential-missing")["remedy"].to_string();
    assert!(remedy.contains("environment of credentials"), "{remedy}");
    let login = stack.path("home/.claude/.credentials.json");
    std::fs::write(&login, r#"{"claudeAiOauth":{"accessToken":"x"}}"#).expect("written");
    ready(&stack).await;
    stack.assert_quiet();
}

#[tokio::test]
async fn a_credential_in_the_box_is_a_warning_that_names_its_variable() {
    let options = with_credentials(StackOptions::default())
        .env("ANTHROPIC_AUTH_TOKEN", "secret-value")
        .env("HTTPS_PROXY", "http://user:secret-value@proxy:3128")
        .env("GITHUB_TOKEN", "secret-value")
        .api("--pass-env=GITHUB_TOKEN");
    let stack = Stack::with(options).await;
    let kind = present(CredentialKind::ApiKey);
    let _fake = FakeCredentials::connect(&stack.api, kind).await;
    let page = health(&stack.http(), "/health/ready", 200).await;
    let warnings = page["warnings"].as_array().expect("a list");
    let warning = warnings.iter().find(|w| w["code"] == "credential-in-box");
    let message = warning.expect("a warning")["message"].to_string();
    for name in ["ANTHROPIC_AUTH_TOKEN", "HTTPS_PROXY", "GITHUB_TOKEN"] {
        assert!(message.contains(name), "{message}");
    }
    let log = stack.api.log();
    assert!(log.contains("the environment of claude-api has credentials"));
    for text in [&page.to_string(), &log] {
        assert!(!text.contains("secret-value"), "{text}");
    }
    stack.assert_quiet();
}
