//! When the runner or claude-api dies under a running tree.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use runner::{Event, sweep_stale};

use crate::{
    support::{
        alive, children, counter, pids, runners, runners_by, scratch, shell, spec, start_by, state,
        until,
    },
    tests,
    tree::{FAMILY, family},
};

tests![
    a_killed_runner_leaves_nothing_after_the_sweep,
    a_stopped_runner_is_killed_from_outside,
    a_sweep_spares_the_living,
    a_runner_that_fails_says_why_on_its_socket,
    a_runner_that_fails_before_its_task_says_why_on_stderr,
    a_runner_that_is_killed_before_it_has_its_task_dies_as_any_other,
    the_end_of_the_control_socket_leaves_nothing,
    a_sweep_without_orphans_is_at_once,
    dead_orphans_are_reaped_and_living_ones_left_alone,
    runners_started_during_sweeps_live,
    what_an_earlier_run_left_is_killed,
    no_zombie_after_many_executions,
];

async fn a_killed_runner_leaves_nothing_after_the_sweep() {
    let (mut run, dir) = family("stubborn").await;
    run.control.kill_runner();
    assert_eq!(run.next().await, None, "no Done: the runner died");
    assert!(
        pids(dir.path()).iter().any(|pid| alive(*pid)),
        "nobody has killed them yet"
    );
    let begun = Instant::now();
    assert_eq!(runners().sweep_orphans().await, []);
    println!("  sweep of a dead runner's tree: {:?}", begun.elapsed());
    assert!(
        pids(dir.path()).iter().all(|pid| state(*pid).is_none()),
        "dead and reaped"
    );
}

async fn a_stopped_runner_is_killed_from_outside() {
    let (mut run, dir) = family("stubborn").await;
    let runner = run.control.runner_pid();
    Command::new("kill")
        .args(["-STOP", &runner.to_string()])
        .status()
        .expect("kill is there");
    until("it stands", || state(runner) == Some('T')).await;
    run.control.terminate(Duration::ZERO);
    // No command blocks, however many are sent to a runner that reads none.
    for _ in 0..20_000 {
        run.control.pause();
    }
    assert!(pids(dir.path()).iter().all(|pid| alive(*pid)));
    run.control.kill_runner();
    assert_eq!(run.next().await, None);
    assert_eq!(runners().sweep_orphans().await, []);
    assert!(pids(dir.path()).iter().all(|pid| state(*pid).is_none()));
}

async fn a_sweep_spares_the_living() {
    let (mut dead, _kept) = family("stubborn").await;
    let (living, dir) = family("gentle").await;
    dead.control.kill_runner();
    assert_eq!(dead.next().await, None);
    assert_eq!(runners().sweep_orphans().await, []);
    let before = counter(dir.path(), "daemon");
    until("the other execution goes on", || {
        counter(dir.path(), "daemon") > before
    })
    .await;
    living.control.kill();
    living.end().await;
}

/// ENGINE A10.
async fn a_runner_that_fails_says_why_on_its_socket() {
    let (mut run, dir) = family("stubborn").await;
    // poll(2) refuses more descriptors than the process may have.
    let pid = run.control.runner_pid().to_string();
    let limited = Command::new("prlimit")
        .args(["--pid", &pid, "--nofile=1:1"])
        .status()
        .expect("prlimit is there");
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

/// ENGINE A10: a runner has no tracing subscriber, so its error was lost.
async fn a_runner_that_fails_before_its_task_says_why_on_stderr() {
    let output = Command::new("/proc/self/exe")
        .arg("runner")
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(70));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("runner failed:"), "{stderr:?}");
}

async fn a_runner_that_is_killed_before_it_has_its_task_dies_as_any_other() {
    let dir = scratch();
    let killed = runners_by(dir.path(), "kill -9 $$");
    // More than its socket holds, so that it has not all of it at its death.
    let mut run = start_by(&killed, spec("true", &[&"x".repeat(4 << 20)])).await;
    assert_eq!(run.next().await, None, "no CLI was started");
    let end = run.events.runner_end();
    assert!(end.contains("SIGKILL"), "{end:?}");
}

async fn the_end_of_the_control_socket_leaves_nothing() {
    let (run, dir) = family("stubborn").await;
    let runner = run.control.runner_pid();
    let control = run.control.clone();
    // As when claude-api is killed; a clone of the control that is kept somewhere must not matter.
    drop(run.events);
    until("all are gone, the runner too", || {
        pids(dir.path())
            .into_iter()
            .chain([runner])
            .all(|pid| state(pid).is_none())
    })
    .await;
    drop(control);
    // Also while it stands still.
    let (mut run, dir) = family("stubborn").await;
    run.control.pause();
    while !matches!(run.next().await, Some(Event::Paused { .. })) {}
    drop(run.events);
    until("all are gone", || {
        pids(dir.path()).iter().all(|pid| state(*pid).is_none())
    })
    .await;
}

async fn dead_orphans_are_reaped_and_living_ones_left_alone() {
    // All before an init is there: it would reap this test's own shell too, which no runner started.
    let mut shell = std::process::Command::new("bash")
        .args([
            "-c",
            "for _ in {1..20}; do cat <&0 & done; sleep 1000 & exit",
        ])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let all_read_it = shell.stdin.take();
    assert!(shell.wait().expect("a shell").success());
    let own = std::process::id();
    assert_eq!(children(own).len(), 21);
    let init = tokio::spawn(async { runners().reap_as_init().await });
    drop(all_read_it);
    until(
        "only the living one is left",
        || matches!(children(own)[..], [(_, state)] if state != 'Z'),
    )
    .await;
    init.abort();
    assert!(runners().sweep_orphans().await.is_empty());
}

async fn a_sweep_without_orphans_is_at_once() {
    let begun = Instant::now();
    assert_eq!(runners().sweep_orphans().await, []);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

async fn runners_started_during_sweeps_live() {
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

async fn what_an_earlier_run_left_is_killed() {
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
        .expect("python is there");
    until("all count", || {
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
        "another process of the same id"
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
        "the CLI and its tool; the daemon had left before"
    );
    child.wait().expect("ours");
    assert_eq!(runners().sweep_orphans().await, []);
    assert!(pids(dir.path()).iter().all(|pid| state(*pid).is_none()));
}

async fn no_zombie_after_many_executions() {
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
    until("none is left", || children(std::process::id()).is_empty()).await;
}
