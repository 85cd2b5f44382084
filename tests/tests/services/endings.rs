//! How executions end: the truth table, cancel and pause of a whole tree, a crash of claude-api.

use std::time::Duration;

use cc_tests::harness::{Stack, StackOptions, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn f5_each_ending_is_told_as_it_is() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    for (prompt, status, reason, code) in [
        ("@say x", "COMPLETED", json!(null), json!(0)),
        ("@say x\n@exit 3", "FAILED", json!("nonzero_exit"), json!(3)),
        (
            "@say x\n@result error",
            "FAILED",
            json!("cli_error"),
            json!(1),
        ),
        (
            "@say x\n@result error\n@exit 0",
            "FAILED",
            json!("cli_error"),
            json!(0),
        ),
        (
            "@say x\n@result none",
            "FAILED",
            json!("no_result"),
            json!(0),
        ),
        (
            "@say x\n@result none\n@exit 7",
            "FAILED",
            json!("nonzero_exit"),
            json!(7),
        ),
        (
            "@say x\n@signal 9",
            "FAILED",
            json!("killed_by_signal"),
            json!(null),
        ),
        (
            "@say x\n@result 401",
            "FAILED",
            json!("auth_failed"),
            json!(1),
        ),
        (
            "@say x\n@result 429",
            "FAILED",
            json!("usage_limit"),
            json!(1),
        ),
        (
            "@say x\n@result too-long",
            "FAILED",
            json!("prompt_too_long"),
            json!(1),
        ),
    ] {
        let (output, end) = client.run(prompt).await;
        assert_eq!(
            (&end["status"], &end["reason"], &end["exitCode"]),
            (&json!(status), &reason, &code),
            "{prompt}"
        );
        assert_eq!(output, b"x", "{prompt}");
    }
    client.finish().await;
    stack.assert_quiet();
}

/// What the counter file says.
async fn counted(path: &std::path::Path) -> u64 {
    let read = || std::fs::read_to_string(path).ok()?.parse().ok();
    eventually("the counter", PATIENCE, read).await
}

#[tokio::test]
async fn s7_pause_resume_and_cancel_reach_a_daemon() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let file = stack.path("tmp").join("counter");
    let id = client
        .start(&format!("@daemon {}\n@tree 5\n@tool 60", file.display()))
        .await;
    let before = counted(&file).await;
    eventually("the counter to rise", PATIENCE, || {
        std::fs::read_to_string(&file)
            .ok()?
            .parse::<u64>()
            .ok()
            .filter(|now| *now > before)
    })
    .await;
    client.control("PAUSE", Some(&id)).await.expect("accepted");
    client.wait_status(&id, "PAUSED").await;
    let stopped = counted(&file).await;
    // A rising counter would have risen thirty times.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(counted(&file).await, stopped);
    client.control("RESUME", Some(&id)).await.expect("accepted");
    client.wait_status(&id, "RESUMED").await;
    eventually("the counter to rise again", PATIENCE, || {
        std::fs::read_to_string(&file)
            .ok()?
            .parse::<u64>()
            .ok()
            .filter(|now| *now > stopped)
    })
    .await;
    client.control("CANCEL", Some(&id)).await.expect("accepted");
    stack.assert_nothing_left(&id).await;
    assert_eq!(client.wait_terminal(&id).await.1["status"], "CANCELLED");
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn f2_nothing_is_left_when_claude_api_is_killed() {
    let mut stack = Stack::start().await;
    let mut client = stack.client().await;
    let file = stack.path("tmp").join("counter");
    let id = client
        .start(&format!(
            "@daemon {}\n@tree 5\n@say so far\n@tool 60",
            file.display()
        ))
        .await;
    counted(&file).await;
    client.wait_output(&id, 6).await;
    stack.crash_api().await;
    stack.assert_nothing_left(&id).await;
    let (output, end) = client.wait_terminal(&id).await;
    assert_eq!(
        (&end["status"], &end["exitCode"]),
        (&json!("INTERRUPTED"), &Value::Null)
    );
    assert_eq!(output, b"so far");
    assert_eq!(stack.spawns(&id), 1);
    client.finish().await;
}

#[tokio::test]
async fn f8_the_end_comes_though_a_grandchild_holds_stdout_or_the_cli_lingers() {
    let options = StackOptions::default()
        .api("--drain-ms=500")
        .api("--linger-ms=500");
    let stack = Stack::with(options).await;
    let mut client = stack.client().await;
    let (output, end) = client.run("@hold-stdout 60\n@say held").await;
    assert_eq!(
        (&end["status"], output.as_slice()),
        (&json!("COMPLETED"), &b"held"[..])
    );
    let (_, end) = client.run("@linger 60\n@say done").await;
    assert_eq!(
        (&end["status"], &end["reason"]),
        (&json!("COMPLETED"), &json!("lingered"))
    );
    assert_eq!(end["exitCode"], Value::Null);
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn f12_much_stderr_is_drained_and_its_tail_kept() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let (_, end) = client.run("@stderr 10000000\n@say ok").await;
    assert_eq!(end["status"], "COMPLETED");
    assert!(
        end["stderrTail"]
            .as_str()
            .is_some_and(|tail| tail.len() > 10_000),
        "{}",
        end["stderrTail"]
    );
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn f11_odd_lines_lose_nothing() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    for (prompt, expected) in [
        ("@garbage 12\n@say x", "x"),
        ("@unknown 5\n@say x", "x"),
        ("@crlf\n@say a b", "a b"),
        ("@no-final-newline\n@say a b", "a b"),
        ("@split\n@say \u{1F600} \u{e9}", "\u{1F600} \u{e9}"),
        ("@surrogates", "one \u{1F600} two lone \u{fffd} end"),
        ("@subagent hidden\n@say shown", "shown"),
        ("@think 0.1\n@say shown", "shown"),
        ("@restart same", "alpha beta gamma delta"),
        ("@restart late", "alpha beta gamma delta"),
        ("@restart other", "alpha beta \n\nquite other words"),
    ] {
        let (output, end) = client.run(prompt).await;
        assert_eq!(end["status"], "COMPLETED", "{prompt}: {end}");
        assert_eq!(String::from_utf8_lossy(&output), expected, "{prompt}");
    }
    client.finish().await;
    stack.assert_quiet();
}
