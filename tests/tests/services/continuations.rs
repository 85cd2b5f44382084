//! Continuations: by request, after an interruption, after a usage limit. N5, N8.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cc_tests::{
    harness::{Stack, StackOptions, binary, processes},
    http::Http,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{accept, assert_problem, ended, exists, id, path, send, until};

/// Answer of the stand-in to the prompt with which a policy continues a conversation.
pub(crate) const CONTINUED: &str = "A stand-in's answer to a prompt of 28 bytes.";

/// Writes a CLI that runs this shell code before it becomes the stand-in. `--version` skips the
/// code.
pub(crate) fn wrapped_cli(folder: &tempfile::TempDir, code: &str) -> PathBuf {
    let path = folder.path().join("claude");
    let stand_in = binary("stand-in-claude");
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" != --version ]; then\n{code}\nfi\nexec {} \"$@\"\n",
        stand_in.display()
    );
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    path
}

async fn put(http: &Http, id: &str, body: Value) -> (u16, reqwest::header::HeaderMap, Value) {
    send(http, Method::PUT, &path(id, ""), body.to_string()).await
}

pub(crate) async fn output_text(http: &Http, id: &str) -> String {
    let output = http.output(id, 0).await.expect("an output");
    assert!(output.clean);
    String::from_utf8(output.bytes).expect("UTF-8")
}

/// Converts a time of a status to milliseconds, for comparisons. A month counts 31 days, so two
/// times in different months are compared whole days wrong.
fn ms(time: &str) -> u64 {
    let (date, clock) = time.split_once('T').expect("RFC 3339");
    let number = |text: &str| text.parse::<f64>().expect("a number");
    let days = date
        .split('-')
        .fold(0.0, |sum, part| sum * 31.0 + number(part));
    let seconds = clock
        .trim_end_matches('Z')
        .split(':')
        .fold(0.0, |sum, part| sum * 60.0 + number(part));
    Duration::from_secs_f64(days * 86_400.0 + seconds)
        .as_millis()
        .try_into()
        .expect("a time")
}

#[track_caller]
pub(crate) fn text_field<'a>(status: &'a Value, field: &str) -> &'a str {
    status[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field}: {status}"))
}

/// Accepts an execution that writes `so far` and then waits in a tool.
async fn accept_busy(http: &Http, id: &str, extra: Value) {
    accept(http, id, "@say so far\n@tool 60", extra).await;
    until(http, id, "in its tool", |s| s["outputBytes"] == 6).await;
}

#[tokio::test]
async fn n8_an_interrupted_execution_is_continued_by_one_request_only() {
    let mut stack = Stack::start().await;
    let http = stack.http();
    let (old, new) = (id(), id());
    accept_busy(&http, &old, json!({"workspace": "w"})).await;
    let body = json!({"prompt": "@recall", "continues": old});
    let answer = put(&http, &new, body.clone()).await;
    assert_problem(&answer, 409, "wrong-state", "a running execution");
    stack.crash_api().await;
    let http = stack.http();
    let answer = put(
        &http,
        &new,
        json!({"prompt": "x", "continues": old, "workspace": "other"}),
    )
    .await;
    assert_problem(&answer, 409, "other-workspace", "another workspace");
    let answer = put(&http, &new, json!({"prompt": "x", "continues": id()})).await;
    assert_problem(&answer, 404, "not-found", "unknown");
    let (code, _, status) = put(&http, &new, body.clone()).await;
    assert_eq!(code, 201, "{status}");
    assert_eq!(output_text(&http, &new).await, "turns=1 first=@say so far");
    let (old_status, new_status) = (
        http.status(&old).await.expect("a status"),
        http.status(&new).await.expect("a status"),
    );
    assert_eq!(old_status["state"], "interrupted");
    assert_eq!(text_field(&old_status, "continuedBy"), new);
    assert_eq!(text_field(&new_status, "continues"), old);
    assert_eq!(
        (
            text_field(&new_status, "workspace"),
            text_field(&new_status, "conversation")
        ),
        ("w", text_field(&old_status, "conversation"))
    );
    // The repeated request gets the same execution; a request with another id is refused.
    assert_eq!(put(&http, &new, body.clone()).await.0, 200);
    let answer = put(&http, &id(), body).await;
    assert_problem(&answer, 409, "wrong-state", "continued before");
    assert_eq!(answer.2["continuedBy"], new);
    let answer = put(&http, &id(), json!({"prompt": "x", "continues": new})).await;
    assert_problem(&answer, 409, "wrong-state", "completed");
    stack.assert_quiet();
}

#[tokio::test]
async fn of_simultaneous_requests_to_continue_an_execution_one_is_accepted() {
    let mut stack = Stack::start().await;
    let old = id();
    accept_busy(&stack.http(), &old, json!({})).await;
    stack.crash_api().await;
    let http = stack.http();
    let body = json!({"prompt": "@say again", "continues": old});
    let ids = [id(), id(), id()];
    let (a, b, c) = tokio::join!(
        put(&http, &ids[0], body.clone()),
        put(&http, &ids[1], body.clone()),
        put(&http, &ids[2], body.clone())
    );
    let mut codes = [a.0, b.0, c.0];
    codes.sort_unstable();
    assert_eq!(codes, [201, 409, 409]);
    stack.assert_quiet();
}

#[tokio::test]
async fn n8_the_policy_continues_an_execution_after_a_crash() {
    let mut stack = Stack::start().await;
    let mut client = stack.client().await;
    let body = json!({
            "prompt": "@say so far\n@tool 60",
        "onInterrupt": "continue",
        "metadata": {"k": "v"},
    });
    let status = client.call("execute", body).await.expect("accepted");
    let old = text_field(&status, "executionId").to_owned();
    client.wait_output(&old, 6).await;
    stack.crash_api().await;
    let (_, end) = client.wait_terminal(&old).await;
    assert_eq!(end["status"], "INTERRUPTED", "{end}");
    let new = text_field(&end, "continuedBy").to_owned();
    let http = stack.http();
    let status = ended(&http, &new).await;
    assert_eq!(status["state"], "completed", "{status}");
    assert_eq!(text_field(&status, "continues"), old);
    assert_eq!(status["metadata"], json!({"k": "v"}));
    assert_eq!(status["conversation"], end["conversation"]);
    assert_eq!(output_text(&http, &new).await, CONTINUED);
    assert_eq!(stack.spawns(&old), 2, "one start each, in one conversation");
    client.finish().await;
}

#[tokio::test]
async fn n8_the_policy_continues_a_stopped_execution_at_the_next_start() {
    let options = StackOptions::default()
        .api("--shutdown-ms=2500")
        .api("--kill-ms=500");
    let mut stack = Stack::with(options).await;
    let old = id();
    accept_busy(&stack.http(), &old, json!({"onInterrupt": "continue"})).await;
    stack.api.stop().await;
    assert_eq!(stack.spawns(&old), 1, "nothing starts while it stops");
    stack.api.start_again().await;
    let http = stack.http();
    let old_status = http.status(&old).await.expect("a status");
    assert_eq!(
        (&old_status["state"], &old_status["reason"]),
        (&json!("interrupted"), &json!("service_stopped"))
    );
    let new = text_field(&old_status, "continuedBy").to_owned();
    assert_eq!(ended(&http, &new).await["state"], "completed");
    assert_eq!(stack.spawns(&old), 2);
    stack.api.assert_quiet();
}

#[tokio::test]
async fn n8_the_policy_continues_an_execution_whose_runner_died() {
    let stack = Stack::start().await;
    let (http, old) = (stack.http(), id());
    accept_busy(&http, &old, json!({"onInterrupt": "continue"})).await;
    let runner = processes::all()
        .into_iter()
        .find(|process| process.parent == stack.api.pid() && process.arguments.contains("runner"));
    let pid = rustix::process::Pid::from_raw(runner.expect("a runner").pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    let old_status = ended(&http, &old).await;
    assert_eq!(old_status["reason"], "runner_died", "{old_status}");
    let new = text_field(&old_status, "continuedBy").to_owned();
    let new_status = ended(&http, &new).await;
    assert_eq!(new_status["state"], "completed");
    assert!(
        ms(text_field(&new_status, "startedAt")) >= ms(text_field(&old_status, "endedAt")),
        "one conversation never runs twice at the same time"
    );
    stack.assert_quiet();
}

#[tokio::test]
async fn a_prompt_that_never_reached_the_cli_is_sent_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (hold, mark) = (folder.path().join("hold"), folder.path().join("mark"));
    let code = format!(
        "if [ -e {0} ]; then mv {0} {1}; exec sleep 60; fi",
        hold.display(),
        mark.display()
    );
    let options = StackOptions {
        claude_bin: Some(wrapped_cli(&folder, &code)),
        ..StackOptions::default()
    };
    let mut stack = Stack::with(options).await;
    // A new conversation, then one that has a turn.
    let first = id();
    for (extra, prompt, expected) in [
        (json!({"onInterrupt": "continue"}), "@say hello", "hello"),
        (
            json!({"onInterrupt": "continue", "conversation": first}),
            "@recall",
            "turns=1 first=@say hello",
        ),
    ] {
        let http = stack.http();
        let old = if prompt == "@recall" {
            id()
        } else {
            first.clone()
        };
        fs::write(&hold, "").expect("written");
        accept(&http, &old, prompt, extra).await;
        exists(&mark).await;
        fs::remove_file(&mark).expect("removed");
        stack.crash_api().await;
        let http = stack.http();
        let old_status = ended(&http, &old).await;
        let new = text_field(&old_status, "continuedBy").to_owned();
        assert_eq!(ended(&http, &new).await["state"], "completed");
        assert_eq!(output_text(&http, &new).await, expected);
    }
    stack.api.assert_quiet();
}

#[tokio::test]
async fn n5_a_usage_limit_is_waited_for_and_the_wait_can_be_cancelled() {
    let options = StackOptions::default().api("--usage-limit-wait-ms=600000");
    let mut stack = Stack::with(options).await;
    let (http, old) = (stack.http(), id());
    let extra = json!({"onUsageLimit": "wait", "lane": "l"});
    accept(&http, &old, "@say x\n@result 429", extra).await;
    let old_status = ended(&http, &old).await;
    assert_eq!(old_status["reason"], "usage_limit", "{old_status}");
    let new = text_field(&old_status, "continuedBy").to_owned();
    let waiting = http.status(&new).await.expect("a status");
    assert_eq!(
        (&waiting["state"], &waiting["continues"]),
        (&json!("queued"), &json!(old))
    );
    let not_before = text_field(&waiting, "notBefore").to_owned();
    assert!(ms(&not_before) > ms(text_field(&old_status, "endedAt")));
    // The lane continues without the waiting execution; the conversation does not.
    let (other, same) = (id(), id());
    accept(&http, &other, "@say y", json!({"lane": "l"})).await;
    assert_eq!(ended(&http, &other).await["state"], "completed");
    accept(&http, &same, "@recall", json!({"conversation": old})).await;
    stack.crash_api().await;
    let http = stack.http();
    let new_status = http.status(&new).await.expect("a status");
    assert_eq!(
        (&new_status["state"], text_field(&new_status, "notBefore")),
        (&json!("queued"), not_before.as_str())
    );
    let same_status = http.status(&same).await.expect("a status");
    assert_eq!(same_status["state"], "queued", "{same_status}");
    let (_, _, status) = send(&http, Method::POST, &path(&new, "/cancel"), "").await;
    assert!(["queued", "cancelled"].contains(&text_field(&status, "state")));
    let end = ended(&http, &new).await;
    assert_eq!(
        (&end["state"], &end["startedAt"], &end["notBefore"]),
        (&json!("cancelled"), &Value::Null, &Value::Null)
    );
    assert_eq!(ended(&http, &same).await["state"], "completed");
    assert_eq!(stack.spawns(&old), 2);
    stack.api.assert_quiet();
}

#[tokio::test]
async fn n5_a_continuation_waits_for_the_known_reset_of_the_limit() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let reset = now.expect("after 1970").as_secs() + 3;
    let folder = tempfile::tempdir().expect("a folder");
    let info = json!({"status": "rejected", "resetsAt": reset});
    let event = json!({"type": "rate_limit_event", "rate_limit_info": info});
    let code = format!("echo '{event}'");
    let options = StackOptions {
        claude_bin: Some(wrapped_cli(&folder, &code)),
        ..StackOptions::default()
    };
    let stack = Stack::with(options).await;
    let (http, old) = (stack.http(), id());
    let extra = json!({"onUsageLimit": "wait"});
    accept(&http, &old, "@say x\n@result 429", extra).await;
    let old_status = ended(&http, &old).await;
    let new = text_field(&old_status, "continuedBy").to_owned();
    let waiting = http.status(&new).await.expect("a status");
    let not_before = text_field(&waiting, "notBefore").to_owned();
    assert_eq!(ms(&not_before) % 86_400_000, reset % 86_400 * 1000);
    let end = ended(&http, &new).await;
    assert_eq!(
        (&end["state"], &end["notBefore"]),
        (&json!("completed"), &Value::Null)
    );
    let started = text_field(&end, "startedAt");
    assert!(
        ms(started) >= ms(&not_before),
        "{started} is before {not_before}"
    );
    assert_eq!(output_text(&http, &new).await, CONTINUED);
    stack.assert_quiet();
}

#[tokio::test]
async fn n5_the_waits_grow_with_consecutive_limits() {
    let folder = tempfile::tempdir().expect("a folder");
    let result = json!({
            "type": "result", "subtype": "success", "is_error": true, "api_error_status": 429,
        "result": "limit", "session_id": "x", "uuid": "y", "num_turns": 1,
    });
    let code = format!("echo '{result}'; exit 1");
    let options = StackOptions {
        claude_bin: Some(wrapped_cli(&folder, &code)),
        ..StackOptions::default()
    };
    let stack = Stack::with(options.api("--usage-limit-wait-ms=100")).await;
    let http = stack.http();
    let mut current = id();
    accept(&http, &current, "x", json!({"onUsageLimit": "wait"})).await;
    for expected in [100, 200, 400, 1200, 1200] {
        let end = ended(&http, &current).await;
        assert_eq!(end["reason"], "usage_limit", "{end}");
        let next = text_field(&end, "continuedBy").to_owned();
        // The continuation may run already: its wait is the time between the two.
        let started = ended(&http, &next).await;
        let waited = ms(text_field(&started, "startedAt")) - ms(text_field(&end, "endedAt"));
        assert!(
            (expected - 50..expected + 700).contains(&waited),
            "{waited} ms for {expected}"
        );
        current = next;
    }
    // The chain of continuations never ends by itself.
    let end = ended(&http, &current).await;
    let next = text_field(&end, "continuedBy");
    send(&http, Method::POST, &path(next, "/cancel"), "").await;
    stack.assert_quiet();
}
