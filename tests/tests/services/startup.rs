//! Starts with a mistake: the reason is reported at once, and where the mistake can be mended, the
//! service is up but not ready.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use cc_tests::{
    harness::{Service, Stack, StackOptions, stack::api_options},
    http::Http,
};
use serde_json::{Value, json};

use crate::support::{PATIENCE, accept, ended, id};

/// Waits until a health page has this status code; returns the page.
pub(crate) async fn health(http: &Http, path: &str, wanted: u16) -> Value {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let answer = http.get(path).await;
        match &answer {
            Ok((code, page)) if code.as_u16() == wanted => return page.clone(),
            _ => assert!(
                std::time::Instant::now() < end,
                "{path} is never {wanted}: {answer:?}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until claude-api is ready.
pub(crate) async fn ready(stack: &Stack) {
    health(&stack.http(), "/health/ready", 200).await;
}

/// Returns the reason with this code, which must have a message and a remedy.
#[track_caller]
pub(crate) fn reason(page: &Value, code: &str) -> Value {
    let reasons = page["reasons"]
        .as_array()
        .unwrap_or_else(|| panic!("no reasons: {page}"));
    let matching = reasons.iter().find(|reason| reason["code"] == code);
    let matching = matching
        .unwrap_or_else(|| panic!("no {code}: {page}"))
        .clone();
    assert!(
        matching["message"].is_string() && matching["remedy"].is_string(),
        "{matching}"
    );
    matching
}

/// Waits until the startup page has the reason with this code; returns the page.
pub(crate) async fn startup_page_with(http: &Http, code: &str) -> Value {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let (_, page) = http.get("/health/startup").await.expect("an answer");
        if page.to_string().contains(code) {
            return page;
        }
        assert!(std::time::Instant::now() < end, "never {code}: {page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes a shell script that takes the CLI's place.
fn script(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("claude");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    path
}

#[tokio::test]
async fn an_unwritable_folder_at_startup_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "no folder").expect("written");
    for flag in ["--spool-dir", "--workspace-root"] {
        let options = StackOptions::default().api(format!("{flag}={}/below", file.display()));
        let mut service = api_options(folder.path(), &options);
        service
            .arguments
            .retain(|argument| !argument.starts_with(flag) || argument.contains("/below"));
        service.log = folder.path().join(format!("log{flag}"));
        if flag == "--spool-dir" {
            let (status, log) = Service::run_to_end(service, PATIENCE).await;
            assert!(!status.success(), "{status}");
            assert!(log.contains("/below") && !log.contains("panicked"), "{log}");
        } else {
            let service = Service::start(service).await;
            let page = startup_page_with(&Http::new(service.addr()), "folder-unwritable").await;
            let reason = reason(&page, "folder-unwritable");
            assert!(
                reason["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("/below")),
                "{reason}"
            );
        }
    }
}

/// Asserts that both services are live, and that neither is ready for this reason.
async fn assert_up_but_not_ready(stack: &Stack, code: &str, words: &[&str]) {
    let http = stack.http();
    assert_eq!(
        http.get("/health/live")
            .await
            .expect("an answer")
            .0
            .as_u16(),
        200
    );
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let (status, page) = http.get("/health/startup").await.expect("an answer");
        assert_eq!(status.as_u16(), 503, "{page}");
        if page.to_string().contains(code) {
            let text = reason(&page, code).to_string();
            assert!(
                words.iter().all(|word| text.contains(word)),
                "{words:?} in {text}"
            );
            break;
        }
        assert!(std::time::Instant::now() < end, "never {code}: {page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let page = health(&http, "/health/ready", 503).await;
    reason(&page, code);
    let bridge = Http::new(stack.bridge.addr());
    reason(&health(&bridge, "/health/ready", 503).await, code);
    assert_eq!(
        bridge
            .get("/health/live")
            .await
            .expect("an answer")
            .0
            .as_u16(),
        200
    );
}

#[tokio::test]
async fn a10_without_a_cli_the_service_is_up_but_not_ready_and_recovers_when_there_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let bin = folder.path().join("claude");
    let options = StackOptions {
        claude_bin: Some(bin.clone()),
        ..StackOptions::default()
    };
    let stack = Stack::with(options).await;
    assert_up_but_not_ready(&stack, "cli-missing", &["--claude-bin", "2.1.329"]).await;
    let mut client = stack.client().await;
    let (output, end) = client.run("@say x").await;
    assert_eq!(
        (&end["status"], &end["reason"], &end["exitCode"]),
        (&json!("FAILED"), &json!("spawn_failed"), &Value::Null)
    );
    assert!(
        output.is_empty() && end["error"]["message"].is_string(),
        "{end}"
    );
    std::os::unix::fs::symlink(cc_tests::harness::binary("stand-in-claude"), &bin).expect("a link");
    // The next start works whatever the last check said, and a failed spawn requests a check.
    assert_eq!(client.run("@say mended").await.0, b"mended");
    client.finish().await;
}

#[tokio::test]
async fn a10_with_a_broken_cli_or_another_version_the_service_is_up_but_not_ready() {
    let folder = tempfile::tempdir().expect("a folder");
    for (text, code, words) in [
        (
            "echo '1.0.17 (Claude Code)'",
            "cli-version",
            vec!["1.0.17", "2.1.329"],
        ),
        ("echo no >&2; exit 3", "cli-missing", vec!["--claude-bin"]),
    ] {
        let options = StackOptions {
            claude_bin: Some(script(folder.path(), text)),
            ..StackOptions::default()
        };
        let stack = Stack::with(options).await;
        assert_up_but_not_ready(&stack, code, &words).await;
        let (http, id) = (stack.http(), id());
        accept(&http, &id, "@say x", json!({})).await;
        assert_eq!(ended(&http, &id).await["state"], "failed");
    }
}

#[tokio::test]
async fn s1_the_bridge_is_ready_when_claude_api_is() {
    let mut stack = Stack::start().await;
    let bridge = Http::new(stack.bridge.addr());
    health(&bridge, "/health/ready", 200).await;
    health(&bridge, "/health", 200).await;
    stack.api.kill();
    let page = health(&bridge, "/health/ready", 503).await;
    reason(&page, "claude_api_unreachable");
    health(&bridge, "/health/live", 200).await;
    stack.api.start_again().await;
    health(&bridge, "/health/ready", 200).await;
    let mut client = stack.client().await;
    assert_eq!(client.run("@say back").await.0, b"back");
    client.finish().await;
}

/// Every execution failed, and `/health/ready` said 200.
#[tokio::test]
async fn a_broken_configuration_of_the_cli_is_named_by_ready_until_it_is_mended() {
    let stack = Stack::start().await;
    ready(&stack).await;
    let file = stack.path("home/.claude/.claude.json");
    for bytes in [&b"{\"projects\":{"[..], &[0; 100]] {
        fs::write(&file, bytes).expect("written");
        let page = health(&stack.http(), "/health/ready", 503).await;
        let broken = reason(&page, "cli-config-broken");
        let name = file.to_str().expect("plain");
        for part in ["message", "remedy"] {
            assert!(broken[part].to_string().contains(name), "{broken}");
        }
        health(&stack.http(), "/health/startup", 200).await;
        fs::remove_file(&file).expect("ours");
        ready(&stack).await;
    }
    stack.assert_quiet();
}

/// The message blamed the CLI's program.
#[tokio::test]
async fn a_workspace_that_may_not_be_entered_is_named_with_its_owner() {
    let folder = tempfile::tempdir().expect("a folder");
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    };
    let options = StackOptions::default();
    let mut service = api_options(folder.path(), &options);
    let closed = folder.path().join("workspaces/closed");
    fs::create_dir(&closed).expect("made");
    // Root may enter every folder, so the service runs as another user.
    if rustix::process::geteuid().is_root() {
        let given = std::process::Command::new("chown")
            .args(["-R", "54321:54321"])
            .arg(folder.path())
            .status();
        assert!(given.expect("chown is there").success());
        mode(&closed, 0o700);
        std::os::unix::fs::chown(&closed, Some(0), Some(0)).expect("root");
        let program = service.program.to_string_lossy().into_owned();
        let other = ["--reuid", "54321", "--regid", "54321", "--clear-groups"];
        let prefix = other.map(str::to_owned).into_iter().chain([program]);
        service.arguments.splice(0..0, prefix);
        service.program = "setpriv".into();
    } else {
        mode(&closed, 0o000);
    }
    let service = Service::start(service).await;
    let http = Http::new(service.addr());
    let id = id();
    accept(&http, &id, "@say x", json!({"workspace": "closed"})).await;
    let end = ended(&http, &id).await;
    assert_eq!(end["reason"], "spawn_failed", "{end}");
    let message = end["error"]["message"].as_str().expect("a text");
    let owner = rustix::process::geteuid().as_raw().to_string();
    for part in [
        closed.to_str().expect("plain"),
        "may not enter",
        &format!("user {owner}"),
        "chmod",
    ] {
        assert!(message.contains(part), "{part:?} is not in {message}");
    }
    mode(&closed, 0o700);
}
