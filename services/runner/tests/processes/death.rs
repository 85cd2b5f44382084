//! Tests of the death of the runner or of claude-api while a tree runs.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use runner::{Event, sweep_stale};

use crate::{
    support::{
        alive, children, counter, pids, runners, runners_with_wrapper, scratch, shell, spec,
        start_with, state, wait_until,
    },
    tests,
    tree::{FAMILY, family},
};

tests![
    a_sweep_removes_the_tree_of_a_killed_runner,
    a_stopped_runner_can_be_killed_from_outside,
    a_sweep_keeps_live_executions,
    a_failed_runner_reports_the_reason_on_its_socket,
    a_runner_that_fails_before_its_spec_writes_the_reason_to_stderr,
    a_runner_killed_before_it_has_its_spec_reports_its_end,
    the_end_of_the_control_socket_ends_the_whole_tree,
    a_sweep_without_orphans_returns_immediately,
    dead_orphans_are_reaped_and_live_ones_kept,
    runners_started_during_sweeps_survive,
    a_stale_tree_of_an_earlier_run_is_killed,
    many_executions_leave_no_zombie,
];

async fn a_sweep_removes_the_tree_of_a_killed_runner() {
    let (mut run, dir) = family("stubborn").await;
    run.control.kill_runner();
    assert_eq!(run.next().await, None, "a dead runner sends no Done");
    assert!(
        pids(dir.path()).iter().any(|pid| alive(*pid)),
        "the tree is alive before the sweep"
    );
    let begun = Instant::now();
    assert_eq!(runners().sweep_orphans().await, []);
    println!("  sweep of a dead runner's tree: {:?}", begun.elapsed());
    assert!(
        pids(dir.path()).iter().all(|pid| state(*pid).is_none()),
        "the sweep killed and reaped the tree"
    );
}

async fn a_stopped_runner_can_be_killed_from_outside() {
    let (mut run, dir) = family("stubborn").await;
    let runner = run.control.runner_pid();
    Command::new("kill")
        .args(["-STOP", &runner.to_string()])
        .status()
        .expect("kill exists");
    wait_until("the runner is stopped", || state(runner) == Some('T')).await;
    run.control.terminate(Duration::ZERO);
    // No command blocks, even if the runner reads none.
    for _ in 0..20_000 {
        run.control.pause();
    }
    assert!(pids(dir.path()).iter().all(|pid| alive(*pid)));
    run.control.kill_runner();
    assert_eq!(run.next().await, None);
    assert_eq!(runners().sweep_orphans().await, []);
    assert!(pids(dir.path()).iter().all(|pid| state(*pid).is_none()));
}

async fn a_sweep_keeps_live_executions() {
    let (mut dead, _dir) = family("stubborn").await;
    let (live, dir) = family("gentle").await;
    dead.control.kill_runner();
    assert_eq!(dead.next().await, None);
    assert_eq!(runners().sweep_orphans().await, []);
    let previous = counter(dir.path(), "daemon");
    wait_until("the other execution continues", || {
        counter(dir.path(), "daemon") > previous
    })
    .await;
    live.control.kill();
    live.end().await;
}

/// A runner has no tracing subscriber, so it must report its error itself.
async fn a_failed_runner_reports_the_reason_on_its_socket() {
    let (mut run, dir) = family("stubborn").await;
    // poll(2) refuses more descriptors than the process may have.
    let pid = run.control.runner_pid().to_string();
    let limited = Command::new("prlimit")
        .args(["--pid", &pid, "--nofile=1:1"])
        .status()
        .expect("prlimit exists");
    assert!(limited.success());
    run.control.resume();
    let mut events = Vec::new();
    while let Some(event) = run.next().await {
        events.push(event);
    }
    let last = events.last();
    assert!(
        matches!(last, Some(Event::Failed { message }) if message.contains("Invalid argument")),
        "{events:?}"
    );
    assert_eq!(run.events.runner_end(), "exit status: 70");
    assert_eq!(runners().sweep_orphans().await, []);
    assert!(pids(dir.path()).iter().all(|pid| state(*pid).is_none()));
}

/// A runner has no tracing subscriber, so it must report its error itself.
async fn a_runner_that_fails_before_its_spec_writes_the_reason_to_stderr() {
    let output = Command::new("/proc/self/exe")
        .arg("runner")
        .stdin(Stdio::null())
        .output()
        .expect("the runner starts");
    assert_eq!(output.status.code(), Some(70));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("runner failed:"), "{stderr:?}");
}

async fn a_runner_killed_before_it_has_its_spec_reports_its_end() {
    let dir = scratch();
    let killed = runners_with_wrapper(dir.path(), "kill -9 $$");
    // The spec is larger than the socket's buffer, so the runner dies before it has all of it.
    let mut run = start_with(&killed, spec("true", &[&"x".repeat(4 << 20)])).await;
    assert_eq!(run.next().await, None, "no CLI was started");
    let end = run.events.runner_end();
    assert!(end.contains("SIGKILL"), "{end:?}");
}

async fn the_end_of_the_control_socket_ends_the_whole_tree() {
    let (run, dir) = family("stubborn").await;
    let runner = run.control.runner_pid();
    let control = run.control.clone();
    // As when claude-api is killed. A remaining clone of the control must not matter.
    drop(run.events);
    wait_until("the tree and the runner have ended", || {
        pids(dir.path())
            .into_iter()
            .chain([runner])
            .all(|pid| state(pid).is_none())
    })
    .await;
    drop(control);
    // The same while the tree is paused.
    let (mut run, dir) = family("stubborn").await;
    run.control.pause();
    while !matches!(run.next().await, Some(Event::Paused { .. })) {}
    drop(run.events);
    wait_until("the tree has ended", || {
        pids(dir.path()).iter().all(|pid| state(*pid).is_none())
    })
    .await;
}

async fn dead_orphans_are_reaped_and_live_ones_kept() {
    // Prepare everything before the init runs: it would also reap this test's own shell, which no
    // runner started.
    let mut shell = std::process::Command::new("bash")
        .args([
            "-c",
            "for _ in {1..20}; do cat <&0 & done; sleep 1000 & exit",
        ])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let cat_stdin = shell.stdin.take();
    assert!(shell.wait().expect("a shell").success());
    let own = std::process::id();
    assert_eq!(children(own).len(), 21);
    let init = tokio::spawn(async { runners().reap_as_init().await });
    drop(cat_stdin);
    wait_until(
        "only the live orphan is left",
        || matches!(children(own)[..], [(_, state)] if state != 'Z'),
    )
    .await;
    init.abort();
    assert!(runners().sweep_orphans().await.is_empty());
}

async fn a_sweep_without_orphans_returns_immediately() {
    let begun = Instant::now();
    assert_eq!(runners().sweep_orphans().await, []);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

async fn runners_started_during_sweeps_survive() {
    let sweeps = tokio::spawn(async {
        for _ in 0..200 {
            runners().sweep_orphans().await;
        }
    });
    for _ in 0..40 {
        let mut run = shell("exit 5").await;
        run.spawned().await;
        assert_eq!(run.end().await.code, Some(5));
    }
    sweeps.await.expect("no panic");
}

async fn a_stale_tree_of_an_earlier_run_is_killed() {
    let dir = scratch();
    let mut child = Command::new("python3")
        .args([
            "-c",
            FAMILY,
            dir.path().to_str().expect("plain"),
            "stubborn",
        ])
        .stdin(Stdio::null())
        .spawn()
        .expect("python exists");
    wait_until("the CLI and the tool count", || {
        ["cli", "tool"]
            .iter()
            .all(|name| counter(dir.path(), name) > 0)
    })
    .await;
    let pid = child.id();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("alive");
    let ticks: u64 = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.split(' ').nth(19))
        .and_then(|field| field.parse().ok())
        .expect("field 22");
    let boot = runner::boot_id();
    let sweep = |ticks: u64, boot: String| {
        tokio::task::spawn_blocking(move || sweep_stale(pid, ticks, &boot))
    };
    assert_eq!(
        sweep(ticks + 1, boot.clone()).await.expect("swept").killed,
        0,
        "another process with the same id is kept"
    );
    assert_eq!(
        sweep(ticks, "another boot".into())
            .await
            .expect("swept")
            .killed,
        0
    );
    assert!(alive(pid));
    let swept = sweep(ticks, boot).await.expect("swept");
    assert_eq!(
        (swept.killed, swept.unkillable),
        (2, Vec::new()),
        "the CLI and its tool; the daemon had left the tree earlier"
    );
    child.wait().expect("ours");
    assert_eq!(runners().sweep_orphans().await, []);
    assert!(pids(dir.path()).iter().all(|pid| state(*pid).is_none()));
}

async fn many_executions_leave_no_zombie() {
    for round in 0..60 {
        let mut run = shell("(setsid sleep 600 &) ; true").await;
        run.spawned().await;
        assert_eq!(run.end().await.code, Some(0), "round {round}");
    }
    let handle = runners()
        .start(spec("sleep", &["600"]))
        .await
        .expect("started");
    drop(handle);
    wait_until("no child is left", || {
        children(std::process::id()).is_empty()
    })
    .await;
}
