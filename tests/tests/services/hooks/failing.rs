//! Hooks that fail, in each way, at each moment, advisory and required.

use std::fs;

use serde_json::{Value, json};

use super::Hooked;
use crate::support::{ended, path};

/// Time limit of the hooks; it ends the endless ones.
const LIMIT: &str = "--hook-timeout-ms=6000";
/// Bytes of memory that claude-api may use for the output of huge hooks.
const MEMORY: u64 = 64 << 20;

/// The kinds that fail, with the cause and a part of the message.
const KINDS: [(&str, &str, &str); 4] = [
    ("fail", "exit_code", "ended with code 3: no room for this"),
    ("killed", "signal", "signal 9"),
    ("huge", "exit_code", "last words"),
    ("endless", "timed_out", "6000 ms"),
];

/// Kind, cause and message of a missing hook.
const MISSING: (&str, &str, &str) = ("missing", "not_started", "could not be started");

#[track_caller]
fn assert_warned(status: &Value, moment: &str, mode: &str, cause: &str, part: &str) {
    let warning = &status["warnings"][0];
    let data = json!({"hook": moment, "mode": mode, "cause": cause});
    assert_eq!(
        (&warning["code"], &warning["data"]),
        (&json!("hook_failed"), &data),
        "{status}"
    );
    let message = warning["message"].as_str().expect("a message");
    assert!(message.contains(part), "{message}");
    assert!(message.len() < 8192, "{} bytes", message.len());
}

/// Runs an execution with every kind of hook at the same time, then one whose hook is gone. Returns
/// the ids, each with its cause and a part of its message.
async fn run_all(hooked: &Hooked) -> Vec<(String, &'static str, &'static str)> {
    let before = hooked.stack.api.resident_bytes();
    let mut ran = Vec::new();
    for (kind, cause, part) in KINDS {
        ran.push((hooked.accept(kind, json!({})).await, cause, part));
    }
    for (id, ..) in &ran {
        ended(&hooked.http(), id).await;
    }
    // The hooks after these executions have begun, or wait in memory.
    for (id, ..) in &ran {
        let done = |status: &Value| {
            status["warnings"][0]["code"] == "hook_failed" || status["reason"] == "hook_refused"
        };
        crate::support::until(&hooked.http(), id, "reported", done).await;
    }
    for (id, ..) in &ran {
        hooked.assert_nothing_left(id).await;
    }
    let grown = hooked.stack.api.peak_bytes().saturating_sub(before);
    assert!(grown < MEMORY, "{grown} bytes for the output of hooks");
    fs::remove_file(hooked.file("hook")).expect("removed");
    let (kind, cause, part) = MISSING;
    ran.push((hooked.accept(kind, json!({})).await, cause, part));
    ran
}

#[tokio::test]
async fn a_failed_advisory_before_hook_adds_a_warning_and_the_cli_runs() {
    let hooked = Hooked::start("before", "advisory", &[LIMIT]).await;
    for (id, cause, part) in run_all(&hooked).await {
        let end = ended(&hooked.http(), &id).await;
        assert_eq!(end["state"], "completed", "{end}");
        assert_warned(&end, "before", "advisory", cause, part);
        assert_eq!(hooked.stack.spawns(&id), 1);
    }
    hooked.stack.assert_quiet();
}

#[tokio::test]
async fn the_warning_of_a_before_hook_reaches_a_viewer_as_a_notice() {
    let hooked = Hooked::start("before", "advisory", &[]).await;
    let mut client = hooked.stack.client().await;
    let status = client
        .execute("@say done", json!({"metadata": {"kind": "fail"}}))
        .await;
    let notice = client.wait_notice("hook_failed").await;
    assert_eq!(notice["data"]["hook"], "before", "{notice}");
    let id = status["executionId"].as_str().expect("an id");
    client.wait_terminal(id).await;
    client.finish().await;
}

#[tokio::test]
async fn a_failed_required_before_hook_refuses_the_execution_and_no_cli_starts() {
    let hooked = Hooked::start("before", "required", &[LIMIT]).await;
    for (id, cause, part) in run_all(&hooked).await {
        let end = ended(&hooked.http(), &id).await;
        assert_eq!(
            (&end["state"], &end["reason"], &end["exitCode"]),
            (&json!("failed"), &json!("hook_refused"), &Value::Null),
            "{cause}: {end}"
        );
        let error = &end["error"];
        assert_eq!(error["code"], "hook_refused", "{end}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(part), "{message}");
        assert_eq!(hooked.stack.spawns(&id), 0, "{cause}: the CLI was started");
        let output = hooked.http().output(&id, 0).await.expect("an output");
        output.assert_whole("failed");
        assert_eq!(output.bytes, b"");
    }
    let page = crate::startup::health(&hooked.http(), "/health/ready", 503).await;
    crate::startup::reason(&page, "hook-missing");
    hooked.stack.assert_quiet();
}

#[tokio::test]
async fn a_failed_after_hook_adds_a_warning_to_the_terminal_status() {
    for (mode, level) in [("advisory", "WARN"), ("required", "ERROR")] {
        let hooked = Hooked::start("after", mode, &[LIMIT]).await;
        for (id, cause, part) in run_all(&hooked).await {
            let end = hooked.warned(&id).await;
            // A terminal state never changes.
            assert_eq!(
                (&end["state"], &end["reason"]),
                (&json!("completed"), &Value::Null),
                "{end}"
            );
            assert_warned(&end, "after", mode, cause, part);
            let logged = hooked.stack.api.lines().iter().any(|line| {
                let message = line["message"].as_str().unwrap_or_default();
                line["execution"] == id.as_str() && line["level"] == level && message.contains(part)
            });
            assert!(logged, "{cause}: {}", hooked.stack.api.log());
        }
        hooked.stack.assert_no_zombies();
    }
}

#[tokio::test]
async fn an_after_hook_of_a_deleted_execution_ends_without_an_error() {
    let flags = ["--shutdown-ms=2000", "--kill-ms=200"];
    let hooked = Hooked::start("after", "advisory", &flags).await;
    let (http, slow) = (hooked.http(), hooked.accept("endless", json!({})).await);
    ended(&http, &slow).await;
    crate::support::exists(&hooked.file("began")).await;
    let (code, _) = http
        .call(reqwest::Method::DELETE, &path(&slow, ""), None)
        .await
        .expect("an answer");
    assert!(code.is_success(), "{code}");
    let mut hooked = hooked;
    assert!(hooked.stack.api.stop().await.success());
    hooked.assert_nothing_left(&slow).await;
    hooked.stack.assert_quiet();
}

/// A hook that an installer holds open for writing cannot be started (ETXTBSY), but perhaps later.
#[tokio::test]
async fn the_start_of_a_hook_that_is_open_for_writing_is_retried_until_its_time_limit() {
    let hooked = Hooked::start("before", "advisory", &["--hook-timeout-ms=1500"]).await;
    let open = fs::OpenOptions::new()
        .append(true)
        .open(hooked.file("hook"))
        .expect("opened");
    let id = hooked.accept("record", json!({})).await;
    let end = ended(&hooked.http(), &id).await;
    assert_warned(&end, "before", "advisory", "timed_out", "1500 ms");
    drop(open);
    let id = hooked.accept("record", json!({})).await;
    let end = ended(&hooked.http(), &id).await;
    assert_eq!(end["warnings"], json!([]), "{end}");
    assert!(hooked.file("status").exists(), "the hook did not run");
    hooked.stack.assert_quiet();
}
