//! SIGKILL of a runner and of claude-api.

use std::time::{Duration, Instant};

use cc_tests::harness::{Stack, StackOptions, eventually, processes};
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::continuations::wrapped_cli;
use crate::support::{PATIENCE, accept, ended, exists, id, path, run, send, until};

/// Returns the pid of an execution's runner: the child of claude-api that has the CLI below it.
pub(crate) async fn runner_pid(stack: &Stack, execution: &str) -> i32 {
    let api = stack.api.pid();
    eventually("the runner", PATIENCE, || {
        let runners = processes::all()
            .into_iter()
            .filter(|process| process.parent == api);
        runners.map(|runner| runner.pid).find(|pid| {
            let below = processes::descendants(*pid);
            below
                .iter()
                .any(|process| process.arguments.contains(execution))
        })
    })
    .await
}

#[tokio::test]
async fn f2_a_killed_runner_interrupts_its_execution_and_leaves_no_process() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    for paused in [false, true] {
        let mark = stack.path("tmp").join(format!("go-{paused}"));
        let id = client
            .start(&format!(
                "@say so far\n@tree 5\n@daemon\n@hold-stdout 60\n@ignore-term\n@touch {}\n@tool 60",
                mark.display()
            ))
            .await;
        exists(&mark).await;
        client.wait_output(&id, 6).await;
        let pid = Pid::from_raw(runner_pid(&stack, &id).await).expect("a pid");
        if paused {
            client.control("PAUSE", Some(&id)).await.expect("accepted");
            client.wait_status(&id, "PAUSED").await;
        }
        let killed = Instant::now();
        kill_process(pid, Signal::KILL).expect("a runner can be killed");
        let (output, end) = client.wait_terminal(&id).await;
        assert!(
            killed.elapsed() < Duration::from_secs(5),
            "{:?}",
            killed.elapsed()
        );
        assert_eq!(
            (
                &end["status"],
                &end["reason"],
                &end["exitCode"],
                &output[..]
            ),
            (
                &json!("INTERRUPTED"),
                &json!("runner_died"),
                &Value::Null,
                &b"so far"[..]
            ),
            "{end}"
        );
        stack.assert_nothing_left(&id).await;
        assert_eq!(stack.spawns(&id), 1);
    }
    assert_eq!(client.run("@say alive").await.0, b"alive");
    client.finish().await;
    stack.assert_no_zombies();
}

#[tokio::test]
async fn f15_after_a_kill_of_claude_api_states_are_true_within_5_s_and_the_queue_runs() {
    let mut stack = Stack::with(StackOptions::default().api("--running-executions=2")).await;
    for round in 0..3_u64 {
        let http = stack.http();
        let mark = stack.path("tmp").join(format!("go-{round}"));
        let (running, paused, done) = (id(), id(), id());
        accept(&http, &done, "@say done", json!({})).await;
        ended(&http, &done).await;
        accept(
            &http,
            &running,
            &format!("@say x\n@daemon\n@touch {}\n@tool 60", mark.display()),
            json!({}),
        )
        .await;
        accept(&http, &paused, "@say y\n@tree 3\n@tool 60", json!({})).await;
        exists(&mark).await;
        until(&http, &paused, "running", |status| {
            status["outputBytes"] == 1
        })
        .await;
        send(&http, Method::POST, &path(&paused, "/pause"), "").await;
        until(&http, &paused, "paused", |status| {
            status["state"] == "paused"
        })
        .await;
        let mut queued = Vec::new();
        for _ in 0..3 {
            let id = id();
            accept(&http, &id, "@say z", json!({"lane": "q"})).await;
            queued.push(id);
        }
        stack.crash_api().await;
        let (http, started) = (stack.http(), Instant::now());
        for id in [&running, &paused] {
            let end = ended(&http, id).await;
            assert_eq!(
                (&end["state"], &end["exitCode"]),
                (&json!("interrupted"), &Value::Null),
                "{end}"
            );
            let output = http.output(id, 0).await.expect("an output");
            output.assert_whole("interrupted");
            assert_eq!(output.bytes.len(), 1);
            stack.assert_nothing_left(id).await;
        }
        assert!(
            started.elapsed() < Duration::from_secs(6),
            "{:?}",
            started.elapsed()
        );
        assert_eq!(
            http.status(&done).await.expect("a status")["state"],
            "completed"
        );
        for id in &queued {
            assert_eq!(ended(&http, id).await["state"], "completed");
        }
        for id in queued.iter().chain([&running, &paused, &done]) {
            assert_eq!(stack.spawns(id), 1, "I4");
        }
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn a_conversation_whose_note_was_lost_in_a_power_cut_is_still_known() {
    let mut stack = Stack::start().await;
    let (_, gone) = run(&stack, "@say one", json!({"workspace": "w"})).await;
    let (_, empty) = run(&stack, "@say two", json!({"workspace": "w"})).await;
    let note = |status: &Value| {
        let name = status["conversation"].as_str().expect("a conversation");
        stack.path("spool/conversations").join(name)
    };
    let (no_file, no_bytes) = (note(&gone), note(&empty));
    stack.api.kill();
    std::fs::remove_file(no_file).expect("there was a note");
    std::fs::write(no_bytes, "").expect("a note can be written");
    stack.api.start_again().await;
    for before in [&gone, &empty] {
        let body = json!({"workspace": "w", "conversation": before["conversation"]});
        let (text, after) = run(&stack, "@recall", body).await;
        assert!(text.starts_with("turns=1 "), "{text}");
        assert_eq!(after["conversation"], before["conversation"]);
    }
    stack.assert_quiet();
}

/// Asserts that an answered cancel ended the execution, whatever `onInterrupt` says.
async fn assert_cancelled(stack: &Stack, execution: &str) {
    let http = stack.http();
    let end = ended(&http, execution).await;
    assert_eq!(
        (&end["state"], &end["reason"], &end["exitCode"]),
        (&json!("cancelled"), &Value::Null, &Value::Null),
        "{end}"
    );
    assert_eq!(end["continuedBy"], Value::Null, "{end}");
    let (_, list) = http.get("/v1/executions").await.expect("a list");
    let list = list["executions"].as_array().expect("a list").clone();
    let next = list.iter().find(|one| one["continues"] == execution);
    assert!(next.is_none(), "continued: {next:?}");
    stack.assert_nothing_left(execution).await;
    assert_eq!(stack.spawns(execution), 1);
}

#[tokio::test]
async fn f15_an_answered_cancel_outlives_a_kill_of_claude_api() {
    let mut stack = Stack::start().await;
    let continues = json!({"onInterrupt": "continue"});
    for paused in [false, true] {
        let (http, id) = (stack.http(), id());
        let mark = stack.path("tmp").join(format!("cancelled-{paused}"));
        // The CLI takes the whole kill grace to end; claude-api is killed earlier.
        let prompt = format!("@say x\n@ignore-term\n@touch {}\n@tool 60", mark.display());
        accept(&http, &id, &prompt, continues.clone()).await;
        exists(&mark).await;
        if paused {
            send(&http, Method::POST, &path(&id, "/pause"), "").await;
            until(&http, &id, "paused", |status| status["state"] == "paused").await;
        }
        let (code, _, status) = send(&http, Method::POST, &path(&id, "/cancel"), "").await;
        assert_eq!(code, 200);
        assert!(status["endedAt"].is_null(), "it has ended: {status}");
        stack.crash_api().await;
        assert_cancelled(&stack, &id).await;
    }
    stack.assert_quiet();
}

/// The status once said only `runner_died`, and the log nothing.
#[tokio::test]
async fn a_runner_that_fails_has_its_reason_in_the_status_and_in_the_log() {
    let stack = Stack::start().await;
    let (http, id) = (stack.http(), id());
    let mark = stack.path("tmp").join("failing");
    let prompt = format!("@daemon\n@touch {}\n@tool 60", mark.display());
    accept(&http, &id, &prompt, json!({})).await;
    exists(&mark).await;
    let pid = runner_pid(&stack, &id).await;
    // poll(2) refuses more descriptors than a process may have.
    let limited = std::process::Command::new("prlimit")
        .args(["--pid", &pid.to_string(), "--nofile=1:1"])
        .status()
        .expect("prlimit is there");
    assert!(limited.success());
    send(&http, Method::POST, &path(&id, "/resume"), "").await;
    let end = ended(&http, &id).await;
    assert_eq!(
        (&end["state"], &end["reason"]),
        (&json!("interrupted"), &json!("runner_died")),
        "{end}"
    );
    let message = end["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("Invalid argument"), "{end}");
    let log = stack.api.log();
    assert!(log.contains("the runner of an execution died") && log.contains("Invalid argument"));
    stack.assert_nothing_left(&id).await;
    stack.assert_quiet();
}

/// The CLI once lived on as a child of claude-api and became a zombie, and startup reported
/// `cli-missing` for 5 minutes.
#[tokio::test]
async fn a_runner_that_dies_at_the_check_of_the_cli_leaves_no_process_and_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let (bin, started) = (folder.path().join("claude"), folder.path().join("started"));
    let release = folder.path().join("release");
    let text = format!(
        "#!/bin/sh\necho $$ > {0}.new; mv {0}.new {0}\n\
         until [ -e {1} ]; do sleep 0.1; done\necho '2.1.329 (Claude Code)'\n",
        started.display(),
        release.display()
    );
    std::fs::write(&bin, text).expect("written");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&bin, executable).expect("executable");
    let options = StackOptions {
        claude_bin: Some(bin),
        ..StackOptions::default()
    };
    let stack = Stack::with(options).await;
    exists(&started).await;
    let cli: i32 = std::fs::read_to_string(&started)
        .expect("a pid")
        .trim()
        .parse()
        .expect("a pid");
    let parent = processes::all()
        .into_iter()
        .find(|process| process.pid == cli)
        .expect("it runs")
        .parent;
    kill_process(Pid::from_raw(parent).expect("a pid"), Signal::KILL).expect("killed");
    let http = stack.http();
    let page = crate::startup::startup_page_with(&http, "runner-died").await;
    let reason = crate::startup::reason(&page, "runner-died");
    assert!(
        reason["message"].to_string().contains("SIGKILL"),
        "{reason}"
    );
    eventually("the CLI to be gone", PATIENCE, || {
        (!processes::all().iter().any(|process| process.pid == cli)).then_some(())
    })
    .await;
    stack.assert_no_zombies();
    // The CLI is checked again within seconds, not after 5 minutes.
    std::fs::write(&release, "").expect("written");
    crate::startup::health(&http, "/health/startup", 200).await;
    stack.assert_quiet();
}

/// Stdout that never pauses must not delay giving up a stopped runner.
#[tokio::test]
async fn a_stopped_runner_of_a_cli_that_floods_is_given_up_within_5_s_of_the_cancel() {
    let folder = tempfile::tempdir().expect("a folder");
    // Eight writers of short lines are faster than one renderer: the pipe is never empty.
    let delta = json!({"type": "content_block_delta", "index": 0,
        "delta": {"type": "text_delta", "text": "x"}});
    let line = json!({"type": "stream_event", "event": delta, "parent_tool_use_id": null});
    let options = StackOptions {
        claude_bin: Some(wrapped_cli(
            &folder,
            &format!("for i in 1 2 3 4 5 6 7; do yes '{line}' & done; exec yes '{line}'"),
        )),
        ..StackOptions::default().api("--kill-ms=500")
    };
    let stack = Stack::with(options).await;
    let http = stack.http();
    let id = id();
    accept(&http, &id, "x", json!({})).await;
    let pid = {
        let api = stack.api.pid();
        eventually("the runner", PATIENCE, || {
            let all = processes::descendants(api);
            let mut floods = all.iter().filter(|one| one.arguments.starts_with("yes "));
            let runs = |pid| all.iter().any(|one| one.parent == api && one.pid == pid);
            floods.find_map(|one| Pid::from_raw(one.parent).filter(|_| runs(one.parent)))
        })
        .await
    };
    let events = stack.path("spool/executions").join(&id).join("events");
    eventually("the flood", PATIENCE, || {
        let file = std::fs::metadata(&events).ok()?;
        (file.len() > 1_000_000).then_some(())
    })
    .await;
    kill_process(pid, Signal::STOP).expect("a runner can be stopped");
    let (code, _, status) = send(&http, Method::POST, &path(&id, "/cancel"), "").await;
    assert_eq!(code, 200, "{status}");
    let answered = Instant::now();
    assert_eq!(ended(&http, &id).await["state"], "cancelled");
    let took = answered.elapsed();
    assert!(
        took < Duration::from_secs(5),
        "{took:?} from the answer to the end"
    );
    stack.assert_no_zombies();
}
