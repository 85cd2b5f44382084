//! Tests of the end of `ccb-claude`: exit codes, signals, and executions that do not start.

use std::process::Stdio;
use std::time::{Duration, Instant};

use protocol::rpc::{RpcError, code};
use protocol::{ExecutionId, State, Status};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use super::{OUTPUT, REQUEST, command, end_of, plan, run_with, texts};
use crate::ccb::{ID, output_of};
use crate::fake::{Fake, Plan, unused_address};

fn kill(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn the_exit_code_and_stderr_are_those_of_the_cli() {
    for (state, own, error, expected, said) in [
        (State::Completed, Some(0), None, 0, ""),
        (State::Failed, Some(3), Some("m"), 3, ""),
        (State::Failed, None, Some("m"), 1, "cc-bridge: failed: m\n"),
        (
            State::TimedOut,
            Some(143),
            Some("m"),
            143,
            "cc-bridge: timed_out: m\n",
        ),
    ] {
        let fake = Fake::start(Plan {
            end: (state, own, error),
            stderr_tail: "from the CLI\nsecond",
            ..plan()
        })
        .await;
        let (exit, out, err) = run_with(command(&fake.url(), &[]), "").await;
        assert_eq!((exit, out.as_str()), (expected, OUTPUT));
        assert_eq!(err, format!("from the CLI\nsecond\n{said}"));
    }
}

#[tokio::test]
async fn a_signal_cancels_and_a_second_one_exits_at_once() {
    for (signal, expected) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        for stubborn in [false, true] {
            let mut fake = Fake::start(Plan { stubborn, ..plan() }).await;
            let mut command = command(&fake.url(), &[]);
            let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
            // Its end would end the execution.
            let _stdin = child.stdin.take();
            let mut out = vec![0; OUTPUT.len()];
            let stdout = child.stdout.as_mut().unwrap();
            stdout.read_exact(&mut out).await.unwrap();
            let start = Instant::now();
            kill(&child, signal);
            let control = fake.wait_for("control").await;
            assert_eq!(control["params"]["type"], "CANCEL");
            if stubborn {
                kill(&child, signal);
            }
            let (exit, _, err) = end_of(child).await;
            assert_eq!((exit, err.as_str()), (expected, ""));
            assert!(start.elapsed() < Duration::from_secs(3));
        }
    }
}

#[tokio::test]
async fn after_a_signal_the_end_is_awaited_for_4_seconds() {
    let mut fake = Fake::start(Plan {
        stubborn: true,
        ..plan()
    })
    .await;
    let mut command = command(&fake.url(), &[]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // Its end would end the execution.
    let _stdin = child.stdin.take();
    fake.wait_for("execute").await;
    let start = Instant::now();
    kill(&child, Signal::TERM);
    let (exit, _, _) = end_of(child).await;
    assert_eq!(exit, 143);
    let waited = start.elapsed();
    let is_right = waited > Duration::from_secs(3) && waited < Duration::from_millis(4900);
    assert!(is_right, "{waited:?}");
}

/// Runs an execution that does not start within 0.5 s, and asserts that it is cancelled. Returns
/// stderr.
async fn unstarted(fake: &Fake, args: &[&str]) -> String {
    let mut command = command(&fake.url(), args);
    command.env("CCB_START_SECONDS", "0.5");
    let (exit, out, err) = run_with(command, REQUEST).await;
    assert_eq!((exit, out.as_str()), (1, ""));
    assert_eq!(fake.params("control")[0]["type"], "CANCEL");
    err
}

#[tokio::test]
async fn an_execution_that_does_not_start_in_time_is_cancelled() {
    let status = |state| {
        let created = "2026-01-02T03:04:05Z".parse().unwrap();
        let mut status = Status::queued(ExecutionId::random(), created, "default".into());
        status.state = state;
        status
    };
    let listed = [
        State::Running,
        State::Paused,
        State::Completed,
        State::Queued,
    ];
    let fake = Fake::start(Plan {
        queue_position: Some(4),
        listed: Some(listed.map(status).to_vec()),
        ..plan()
    })
    .await;
    let err = unstarted(&fake, &[]).await;
    let expected = "cc-bridge: server full (2 running, 5 queued); the execution did not start";
    assert!(err.starts_with(expected), "{err}");
    // Input for a queued execution would be refused.
    assert_eq!(fake.params("input").len(), 0);
}

#[tokio::test]
async fn a_conversation_in_use_is_named_with_its_execution() {
    let conversation = "22222222-2222-4222-8222-222222222222";
    let created = "2026-01-02T03:04:05Z".parse().unwrap();
    let mut holder = Status::queued(ID.parse().unwrap(), created, "default".into());
    holder.state = State::Running;
    holder.conversation = Some(conversation.to_owned());
    let fake = Fake::start(Plan {
        queue_position: Some(0),
        conversation: Some(conversation),
        listed: Some(vec![holder]),
        ..plan()
    })
    .await;
    let err = unstarted(&fake, &["--resume", conversation]).await;
    let expected =
        format!("the conversation {conversation} is still in use by the execution {ID};");
    assert!(err.contains(&expected), "{err}");
    assert!(err.contains(&format!("ccb cancel {ID}")), "{err}");
}

#[tokio::test]
async fn with_keep_a_signal_leaves_the_execution_and_names_it() {
    let mut fake = Fake::start(plan()).await;
    let mut command = command(&fake.url(), &["--session-id", ID]);
    command.env("CCB_KEEP", "1");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let _stdin = child.stdin.take();
    fake.wait_for("execute").await;
    let mut out = vec![0; OUTPUT.len()];
    let stdout = child.stdout.as_mut().unwrap();
    stdout.read_exact(&mut out).await.unwrap();
    kill(&child, Signal::TERM);
    let (exit, _, err) = end_of(child).await;
    assert_eq!(exit, 143);
    let expected = format!("cc-bridge: the execution {ID} continues; see it with: ccb attach {ID}");
    assert_eq!(err.trim_end(), expected);
    assert!(fake.params("control").is_empty());
}

#[tokio::test]
async fn an_early_refusal_waits_for_the_first_write_of_the_caller() {
    let url = unused_address().await;
    for args in [&["--plugin-dir", "x"][..], &[]] {
        let mut command = command(&url, args);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stderr = tokio::io::BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("cc-bridge: "), "{line}");
        stdin
            .write_all(REQUEST.as_bytes())
            .await
            .expect("it is read");
        assert_eq!(end_of(child).await.0, 1);
    }
}

#[tokio::test]
async fn a_service_that_accepts_nothing_is_named() {
    for (is_down, expected) in [
        (
            true,
            "the bridge cannot reach claude-api, which runs executions; try again, or tell",
        ),
        (
            false,
            "the service did not accept the execution in time (0 running, 0 queued); try",
        ),
    ] {
        let fake = Fake::start(Plan {
            is_down,
            is_silent: !is_down,
            ..plan()
        })
        .await;
        let err = unstarted(&fake, &[]).await;
        assert!(err.starts_with(&format!("cc-bridge: {expected}")), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}

#[tokio::test]
async fn a_refused_execution_is_one_line_on_stderr() {
    let refusal = |code, reason| RpcError::new(code, reason, "the bridge says no");
    for (error, expected) in [
        (
            refusal(code::NOT_ALLOWED, "not_allowed"),
            "the bridge says no",
        ),
        (
            refusal(code::QUEUE_FULL, "queue_full"),
            "server full (0 running, 0 queued)",
        ),
    ] {
        let fake = Fake::start(Plan {
            refuse: Some(error),
            ..plan()
        })
        .await;
        let output = output_of(&mut command(&fake.url(), &[])).await;
        let (exit, out, err) = texts(output);
        assert_eq!((exit, out.as_str()), (1, ""));
        assert_eq!(err, format!("cc-bridge: {expected}\n"));
    }
    let output = output_of(&mut command(&unused_address().await, &[])).await;
    let (exit, _, err) = texts(output);
    assert!(
        exit == 1 && err.contains("CCB_URL") && err.lines().count() == 1,
        "{err}"
    );
}

#[tokio::test]
async fn a_closed_stdout_cancels_the_execution() {
    let mut fake = Fake::start(plan()).await;
    let mut command = command(&fake.url(), &[]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let _stdin = child.stdin.take();
    drop(child.stdout.take());
    let control = fake.wait_for("control").await;
    assert_eq!(control["params"]["type"], "CANCEL");
    let (exit, _, err) = end_of(child).await;
    assert_eq!(exit, 1);
    assert!(err.starts_with("cc-bridge: stdout was closed"), "{err}");
}

#[tokio::test]
async fn wrong_arguments_end_before_a_connection() {
    let url = "ws://127.0.0.1:1/ws";
    for (args, word) in [
        (&["--frob"][..], "--frob"),
        (&["hello"], "ccb exec"),
        (&["--plugin-dir", "/p"], "--plugin-dir"),
    ] {
        let (exit, out, err) = texts(output_of(&mut command(url, args)).await);
        assert_eq!((exit, out.as_str()), (1, ""));
        let is_one_line = err.starts_with("cc-bridge: ") && err.lines().count() == 1;
        assert!(is_one_line && err.contains(word), "{err}");
    }
    let (exit, out, _) = texts(output_of(&mut command(url, &["--help"])).await);
    assert!(
        exit == 0 && out.contains("CCB_MAP") && out.contains("Exit codes"),
        "{out}"
    );
    let (exit, out, _) = texts(output_of(&mut command(url, &["-v"])).await);
    assert_eq!(
        (exit, out.as_str()),
        (0, concat!("ccb-claude ", env!("CARGO_PKG_VERSION"), "\n"))
    );
}
