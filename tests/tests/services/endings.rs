//! How executions end: the truth table, cancel and pause of a whole tree, a crash of claude-api.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use cc_tests::harness::{Stack, StackOptions, eventually, processes};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);
/// The default of `drainMs`.
const DRAIN: Duration = Duration::from_secs(2);
/// Time for a process to end, be recorded and reach the client, on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

fn id(status: &Value) -> &str {
    status["executionId"].as_str().expect("an id")
}

#[tokio::test]
async fn f5_each_ending_has_its_status_reason_and_exit_code() {
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

/// Waits for the counter file; returns its number.
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
async fn f2_a_kill_of_claude_api_leaves_no_process() {
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

/// Returns how long ago the stand-in reached `@touch`.
fn since(file: &Path) -> Duration {
    let touched = std::fs::metadata(file).and_then(|file| file.modified());
    let since = SystemTime::now().duration_since(touched.expect("touched"));
    since.unwrap_or_default()
}

#[tokio::test]
async fn f8_an_execution_ends_although_a_grandchild_holds_stdout_or_the_cli_lingers() {
    let stack = Stack::with(StackOptions::default().api("--linger-ms=500")).await;
    let mut client = stack.client().await;
    let last = stack.path("tmp").join("held");
    let prompt = format!("@hold-stdout 60\n@say held\n@touch {}", last.display());
    let (output, end) = client.run(&prompt).await;
    let took = since(&last);
    assert_eq!(
        (&end["status"], output.as_slice()),
        (&json!("COMPLETED"), &b"held"[..])
    );
    // The rest of the tree is killed at the exit, without a wait.
    assert!(took < SLACK, "{took:?} from the exit to the end");
    stack.assert_nothing_left(id(&end)).await;
    let last = stack.path("tmp").join("done");
    let prompt = format!("@linger 60\n@say done\n@touch {}", last.display());
    let (output, end) = client.run(&prompt).await;
    let took = since(&last);
    assert_eq!(
        (&end["status"], &end["reason"], output.as_slice()),
        (&json!("COMPLETED"), &json!("lingered"), &b"done"[..])
    );
    assert_eq!(end["exitCode"], Value::Null);
    let grace = Duration::from_millis(500);
    assert!(
        took >= grace && took < grace + SLACK,
        "{took:?} from the result to the end"
    );
    stack.assert_nothing_left(id(&end)).await;
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn f8_a_foreign_process_that_holds_stdout_delays_the_end_by_the_drain_grace() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let (go, last) = (stack.path("tmp").join("go"), stack.path("tmp").join("last"));
    let (wait, touch) = (go.display(), last.display());
    let prompt = format!("@say held\n@wait {wait}\n@touch {touch}");
    let execution = client.start(&prompt).await;
    client.wait_output(&execution, 4).await;
    let marked = processes::marked(&execution).into_iter();
    let mut cli = marked.filter(|process| process.arguments.contains("stand-in-claude"));
    let pid = cli.next().expect("a CLI").pid;
    let stdout = std::fs::OpenOptions::new()
        .write(true)
        .open(format!("/proc/{pid}/fd/1"))
        .expect("the CLI's stdout");
    std::fs::write(&go, "").expect("written");
    let (output, end) = client.wait_terminal(&execution).await;
    let took = since(&last);
    drop(stdout);
    assert_eq!(
        (&end["status"], output.as_slice()),
        (&json!("COMPLETED"), &b"held"[..])
    );
    assert!(
        took >= DRAIN && took < DRAIN + SLACK,
        "{took:?} from the exit to the end"
    );
    assert_eq!(end["warnings"][0]["code"], "pipe_held", "{end}");
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn f12_much_stderr_is_drained_and_its_tail_kept() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let (_, end) = client
        .run("@stderr 10000000\n@complain the last words\n@say ok")
        .await;
    assert_eq!(end["status"], "COMPLETED");
    let tail = end["stderrTail"].as_str().expect("a tail");
    assert!(
        tail.ends_with("e\nthe last words\n") && (10_000..=16 * 1024).contains(&tail.len()),
        "{} bytes: {tail}",
        tail.len()
    );
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn f11_odd_lines_lose_no_output() {
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
