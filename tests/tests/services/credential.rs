//! F10: a missing, refused or changed credential never causes a crash; health names the remedy.

use cc_tests::{
    harness::{Stack, StackOptions},
    http::Http,
};
use serde_json::{Value, json};

use crate::{
    startup::{health, ready, reason},
    support::{id, run},
};

#[tokio::test]
async fn f10_without_a_credential_both_services_run_and_ready_names_the_remedy() {
    let stack = Stack::with(StackOptions::default().env("ANTHROPIC_API_KEY", "")).await;
    let bridge = Http::new(stack.bridge.addr());
    health(&stack.http(), "/health/startup", 200).await;
    health(&stack.http(), "/health/live", 200).await;
    health(&bridge, "/health/live", 200).await;
    for (http, path) in [
        (&stack.http(), "/health/ready"),
        (&stack.http(), "/health"),
        (&bridge, "/health/ready"),
        (&bridge, "/health"),
    ] {
        let page = health(http, path, 503).await;
        let remedy = reason(&page, "credential-missing")["remedy"].to_string();
        for word in [
            "ANTHROPIC_API_KEY",
            "CLAUDE_CODE_OAUTH_TOKEN",
            "claude setup-token",
        ] {
            assert!(remedy.contains(word), "{remedy}");
        }
        assert_eq!(page["reasons"].as_array().map(Vec::len), Some(1), "{page}");
    }
    // Executions are accepted whatever `ready` says; the CLI decides whether they work.
    assert_eq!(
        run(&stack, "@say x", json!({})).await.1["state"],
        "completed"
    );
    stack.assert_quiet();
}

#[tokio::test]
async fn f10_a_refused_credential_is_reported_until_an_execution_succeeds() {
    let stack = Stack::start().await;
    let bridge = Http::new(stack.bridge.addr());
    ready(&stack).await;
    let mut client = stack.client().await;
    let (_, end) = client.run("@result 401").await;
    assert_eq!(
        (&end["status"], &end["reason"], &end["exitCode"]),
        (&json!("FAILED"), &json!("auth_failed"), &json!(1))
    );
    assert!(end["error"]["message"].is_string(), "{end}");
    let refused = end["executionId"].as_str().expect("an id").to_owned();
    let page = health(&stack.http(), "/health/ready", 503).await;
    reason(&page, "credential-refused");
    reason(
        &health(&bridge, "/health/ready", 503).await,
        "credential-refused",
    );
    health(&stack.http(), "/health/startup", 200).await;
    let (_, end) = client.run("@say it works again").await;
    assert_eq!(end["status"], "COMPLETED");
    ready(&stack).await;
    health(&bridge, "/health/ready", 200).await;
    assert_eq!(stack.spawns(&refused), 1, "it was retried");
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn f10_a_changed_login_is_used_at_once() {
    let stack = Stack::with(StackOptions::default().env("ANTHROPIC_API_KEY", "")).await;
    let login = stack.path("home/.claude/.credentials.json");
    std::fs::write(&login, r#"{"claudeAiOauth":{"accessToken":"one"}}"#).expect("written");
    ready(&stack).await;
    assert_eq!(
        run(&stack, "@result 401", json!({})).await.1["reason"],
        "auth_failed"
    );
    reason(
        &health(&stack.http(), "/health/ready", 503).await,
        "credential-refused",
    );
    std::fs::write(&login, r#"{"claudeAiOauth":{"accessToken":"another"}}"#).expect("written");
    ready(&stack).await;
    stack.assert_quiet();
}

#[tokio::test]
async fn s15_no_probe_starts_a_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let (bin, log) = (folder.path().join("claude"), folder.path().join("starts"));
    let stand_in = cc_tests::harness::binary("stand-in-claude");
    let text = format!(
        "#!/bin/sh\necho \"$*\" >> {}\nexec {} \"$@\"\n",
        log.display(),
        stand_in.display()
    );
    std::fs::write(&bin, text).expect("written");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&bin, executable).expect("executable");
    let options = StackOptions {
        claude_bin: Some(bin),
        ..StackOptions::default()
    };
    let stack = Stack::with(options).await;
    ready(&stack).await;
    let bridge = Http::new(stack.bridge.addr());
    for _ in 0..50 {
        for path in ["/health", "/health/live", "/health/ready"] {
            health(&stack.http(), path, 200).await;
            health(&bridge, path, 200).await;
        }
        health(&stack.http(), "/health/startup", 200).await;
    }
    let starts = std::fs::read_to_string(&log).expect("a log");
    assert_eq!(starts, "--version\n");
    assert_eq!(
        stack
            .http()
            .get(&crate::support::path(&id(), ""))
            .await
            .expect("an answer")
            .1["type"],
        Value::from("not-found")
    );
    stack.assert_quiet();
}

/// `NAME=key` was sent as the key, and the remedy spoke of permissions.
#[tokio::test]
async fn a_key_file_without_a_credential_is_reported_as_malformed() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::create_dir(&key).expect("a folder");
    let options = StackOptions::default()
        .env("ANTHROPIC_API_KEY", "")
        .env("ANTHROPIC_API_KEY_FILE", key.display().to_string());
    let stack = Stack::with(options).await;
    let http = stack.http();
    health(&http, "/health/startup", 200).await;
    let message = |page: &Value| reason(page, "credential-malformed")["message"].to_string();
    let page = health(&http, "/health/ready", 503).await;
    assert!(message(&page).contains("folder"), "{page}");
    std::fs::remove_dir(&key).expect("ours");
    for (bytes, word) in [
        (&b"ANTHROPIC_API_KEY=sk-of-mine\n"[..], "NAME=value"),
        (b"\xff\xfes\0k\0", "UTF-16"),
    ] {
        std::fs::write(&key, bytes).expect("written");
        let page = health(&http, "/health/ready", 503).await;
        assert!(message(&page).contains(word), "{page}");
        assert!(!page.to_string().contains("sk-of-mine"), "{page}");
    }
    std::fs::write(&key, "\n# the key\nsk-of-mine\n").expect("written");
    ready(&stack).await;
    let (text, _) = run(&stack, "@env", json!({})).await;
    assert_eq!(
        crate::support::parsed(&text)["ANTHROPIC_API_KEY"],
        "sk-of-mine"
    );
    stack.assert_quiet();
}
