//! claude-api with the service `credentials`: the CLI gets a grant in place of the credential.

mod costs;
mod hostile_peers;
mod outages;
mod readiness;

use std::path::Path;

use cc_tests::credentials::{CREDENTIALS_URL, FakeCredentials, present, with_credentials};
use cc_tests::harness::{Stack, StackOptions};
use grants::{CredentialKind, CredentialState, GrantHash};
use serde_json::{Value, json};

use crate::support::{accept, ended, id, parsed};

/// The variables that can hold a credential of the model.
const CREDENTIAL_VARIABLES: [&str; 4] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "ANTHROPIC_CUSTOM_HEADERS",
];

async fn stack() -> Stack {
    Stack::with(with_credentials(StackOptions::default())).await
}

/// Runs a prompt to its end, whose grant the stand-in confirms and forgets; returns the output and
/// the hash of the grant.
async fn run(
    stack: &Stack,
    fake: &mut FakeCredentials,
    prompt: &str,
    extra: Value,
) -> (String, GrantHash) {
    let (http, id) = (stack.http(), id());
    accept(&http, &id, prompt, extra).await;
    let registration = fake.grant().await;
    assert_eq!(registration.execution_id, id);
    fake.revocation(&id).await;
    let status = ended(&http, &id).await;
    assert_eq!(status["state"], "completed", "{status}");
    let output = http.output(&id, 0).await.expect("an output");
    (
        String::from_utf8(output.bytes).expect("text"),
        registration.hash,
    )
}

#[tokio::test]
async fn the_cli_gets_the_grant_in_the_variable_of_the_kind_and_no_other_credential() {
    let options = with_credentials(StackOptions::default())
        .env("ANTHROPIC_AUTH_TOKEN", "secret-of-the-box")
        .env("ANTHROPIC_CUSTOM_HEADERS", "x-key: secret-of-the-box")
        .env("ANTHROPIC_BASE_URL", "http://other:1")
        .env("HTTP_PROXY", "http://proxy:3128")
        .api("--allowed-env=NO_PROXY,https_proxy");
    let stack = Stack::with(options).await;
    for kind in [
        CredentialKind::ApiKey,
        CredentialKind::OauthToken,
        CredentialKind::AuthToken,
    ] {
        let mut fake = FakeCredentials::connect(&stack.api, present(kind)).await;
        let extra = json!({"env": {"NO_PROXY": "x", "https_proxy": "http://other:1"}});
        let (text, hash) = run(&stack, &mut fake, "@env", extra).await;
        let seen = parsed(&text);
        let grant = seen[kind.variable()].as_str().expect("a grant");
        assert_eq!(GrantHash::of(grant), hash);
        assert_eq!(seen["ANTHROPIC_BASE_URL"], CREDENTIALS_URL);
        for name in CREDENTIAL_VARIABLES {
            assert_eq!(seen.get(name).is_some(), name == kind.variable(), "{name}");
        }
        assert!(!text.contains("secret-of-the-box"), "{text}");
        for name in ["NO_PROXY", "no_proxy"] {
            let list = seen[name].as_str().expect("a list");
            assert!(list.split(',').any(|host| host == "127.0.0.2"), "{list}");
        }
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn every_setting_for_the_repository_keeps_the_url_in_force() {
    for setting in ["none", "instructions", "full"] {
        let options = with_credentials(StackOptions::default())
            .api(format!("--repository-settings={setting}"));
        let stack = Stack::with(options).await;
        let kind = present(CredentialKind::ApiKey);
        let mut fake = FakeCredentials::connect(&stack.api, kind).await;
        let (text, _) = run(&stack, &mut fake, "@argv", json!({})).await;
        let arguments = parsed(&text);
        let arguments = arguments.as_array().expect("a list");
        let settings = arguments.iter().filter_map(Value::as_str);
        let settings: Vec<_> = settings
            .filter_map(|argument| argument.strip_prefix("--settings="))
            .collect();
        assert_eq!(settings.len(), 1, "{arguments:?}");
        let env = &parsed(settings[0])["env"];
        assert_eq!(env["ANTHROPIC_BASE_URL"], CREDENTIALS_URL, "{setting}");
        for name in ["NO_PROXY", "no_proxy"] {
            assert_eq!(env[name], "127.0.0.2", "{setting}");
        }
        assert!(!text.contains("ccg_"), "the grant is an argument: {text}");
    }
}

/// Returns the files below `folder` that contain `text`.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn no_file_and_no_log_contains_a_grant() {
    let options = with_credentials(StackOptions::default()).api("--log-level=trace");
    let stack = Stack::with(options).await;
    let kind = present(CredentialKind::ApiKey);
    let mut fake = FakeCredentials::connect(&stack.api, kind).await;
    let (_, hash) = run(&stack, &mut fake, "@say hello", json!({})).await;
    assert_eq!(files_with(&stack.path(""), "ccg_"), [""; 0]);
    let hash = serde_json::to_value(hash).expect("a hash");
    let spool = files_with(&stack.path("spool"), hash.as_str().expect("text"));
    assert_eq!(spool, [""; 0], "not even its hash");
    let log = std::fs::read_to_string(stack.api.log_path()).expect("a log");
    assert!(log.contains("execution ended"), "the log is another one");
}

#[tokio::test]
async fn without_a_credential_the_cli_uses_its_own_login() {
    let stack = stack().await;
    let _fake = FakeCredentials::connect(&stack.api, CredentialState::Missing).await;
    let login = stack.path("home/.claude/.credentials.json");
    std::fs::write(&login, r#"{"claudeAiOauth":{"accessToken":"x"}}"#).expect("written");
    crate::startup::ready(&stack).await;
    let (text, status) = crate::support::run(&stack, "@env", json!({})).await;
    assert_eq!(status["state"], "completed", "{status}");
    let seen = parsed(&text);
    for name in CREDENTIAL_VARIABLES.iter().chain(&["ANTHROPIC_BASE_URL"]) {
        assert_eq!(seen.get(name), None, "{name}");
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn without_a_url_nothing_listens_for_credentials() {
    let stack = Stack::start().await;
    let lines = stack.api.lines();
    let listening = lines.iter().find(|line| line["message"] == "listening");
    let listening = listening.expect("it listens");
    assert_eq!(listening.get("credentials_addr"), None, "{listening}");
    let page = crate::startup::health(&stack.http(), "/health/ready", 200).await;
    let credential = json!({"lastWorkedAt": null, "lastRefusedAt": null, "kind": "apiKey"});
    assert_eq!(page["credential"], credential);
    let (_, status) = crate::support::run(&stack, "@say x", json!({})).await;
    assert_eq!(status["state"], "completed");
    let page = crate::startup::health(&stack.http(), "/health/ready", 200).await;
    assert!(page["credential"]["lastWorkedAt"].is_string(), "{page}");
    stack.assert_quiet();
}
