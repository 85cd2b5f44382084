//! Stops of claude-api after the CLI's result: of an execution that lingers, and of one that has
//! begun another turn.

use cc_tests::harness::{Stack, StackOptions, binary, eventually, processes};
use serde_json::{Value, json};

use crate::{
    continuations::{CONTINUED, output_text, text_field, wrapped_cli},
    support::{PATIENCE, accept, ended, exists, id, until},
};

/// Options with which a stop of claude-api ends running executions after half a second.
fn stop_options() -> StackOptions {
    StackOptions::default()
        .api("--shutdown-ms=2500")
        .api("--kill-ms=500")
}

#[tokio::test]
async fn a_stop_in_the_linger_grace_leaves_the_execution_completed() {
    let mut stack = Stack::with(stop_options()).await;
    let (http, id) = (stack.http(), id());
    let policy = json!({"onInterrupt": "continue"});
    accept(&http, &id, "@linger 60\n@say done", policy).await;
    until(&http, &id, "answered", |s| !s["usage"].is_null()).await;
    // The same for a CLI that would have failed: no exit code is known before the exit.
    let fails = crate::support::id();
    let prompt = "@linger 60\n@say done\n@exit 3";
    accept(&http, &fails, prompt, json!({"onInterrupt": "continue"})).await;
    until(&http, &fails, "answered", |s| !s["usage"].is_null()).await;
    stack.api.stop().await;
    stack.api.start_again().await;
    let end = stack.http().status(&fails).await.expect("a status");
    assert_eq!(
        (&end["state"], &end["reason"], &end["exitCode"]),
        (&json!("completed"), &json!("lingered"), &Value::Null),
        "{end}"
    );
    let end = stack.http().status(&id).await.expect("a status");
    assert_eq!(
        (&end["state"], &end["reason"], &end["exitCode"]),
        (&json!("completed"), &json!("lingered"), &Value::Null),
        "{end}"
    );
    assert_eq!(
        end["continuedBy"],
        Value::Null,
        "the prompt would run again"
    );
    assert_eq!(stack.spawns(&id), 1);
    stack.assert_quiet();
}

/// Found by the soak (seed 904417): a known exit code counts, even if a stop precedes the record of
/// the end.
#[tokio::test]
async fn a_stop_between_the_exit_and_the_end_of_the_drain_keeps_the_exit_code() {
    let mut stack = Stack::with(stop_options().api("--drain-ms=1500")).await;
    let (http, id) = (stack.http(), id());
    let go = stack.path("tmp").join("go");
    let prompt = format!("@say x\n@wait {}\n@exit 3", go.display());
    accept(&http, &id, &prompt, json!({})).await;
    until(&http, &id, "at its first byte", |s| s["outputBytes"] == 1).await;
    let cli = || {
        let mut all = processes::marked(&id).into_iter();
        all.find(|process| process.arguments.contains("stand-in-claude"))
    };
    let pid = cli().expect("a CLI").pid;
    let stdout = std::fs::OpenOptions::new()
        .write(true)
        .open(format!("/proc/{pid}/fd/1"))
        .expect("the CLI's stdout");
    std::fs::write(&go, "").expect("written");
    eventually("the exit", PATIENCE, || cli().is_none().then_some(())).await;
    let status = http.status(&id).await.expect("a status");
    assert_eq!(
        status["state"], "running",
        "its stdout is still being drained"
    );
    stack.api.stop().await;
    drop(stdout);
    stack.api.start_again().await;
    let end = stack.http().status(&id).await.expect("a status");
    assert_eq!(
        (&end["state"], &end["reason"], &end["exitCode"]),
        (&json!("failed"), &json!("nonzero_exit"), &json!(3)),
        "{end}"
    );
    stack.assert_quiet();
}

#[tokio::test]
async fn a_stopped_execution_that_began_another_turn_is_continued_with_the_prompt_of_the_policy() {
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("mark");
    let init = json!({"type": "system", "subtype": "init", "session_id": "x", "model": "y"});
    // The answer, then the start of a turn that background work causes.
    let code = format!(
        "if [ ! -e {mark} ]; then {cli} \"$@\"; echo '{init}'; touch {mark}; exec sleep 60; fi",
        mark = mark.display(),
        cli = binary("stand-in-claude").display(),
    );
    let options = StackOptions {
        claude_bin: Some(wrapped_cli(&folder, &code)),
        ..stop_options()
    };
    let mut stack = Stack::with(options).await;
    let (http, old) = (stack.http(), id());
    accept(
        &http,
        &old,
        "@say hello",
        json!({"onInterrupt": "continue"}),
    )
    .await;
    exists(&mark).await;
    until(&http, &old, "at its second turn", |s| s["model"] == "y").await;
    stack.api.stop().await;
    stack.api.start_again().await;
    let http = stack.http();
    let old_status = http.status(&old).await.expect("a status");
    assert_eq!(old_status["state"], "interrupted", "{old_status}");
    let new = text_field(&old_status, "continuedBy");
    assert_eq!(ended(&http, new).await["state"], "completed");
    assert_eq!(output_text(&http, new).await, CONTINUED);
    stack.api.assert_quiet();
}
