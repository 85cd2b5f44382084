//! A throttled disk: each write takes seconds, and controls still take milliseconds.

use std::time::{Duration, Instant};

use cc_tests::harness::{StackOptions, eventually, processes};
use serde_json::json;

use super::SlowDisk;
use crate::support::{PATIENCE, accept, ended, id, run, until};

/// How long each write, sync and rename takes.
const DELAY: Duration = Duration::from_secs(2);
/// The time in which a control is answered and sends its first signal (docs/protocol.md,
/// "Controls").
const BOUND: Duration = Duration::from_millis(100);
/// Limit for each single time: a control that waited for a write would take about [`DELAY`].
const LONGEST: Duration = Duration::from_millis(500);
/// Executions that write all the time.
const WRITERS: usize = 8;

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Asserts that half of these took at most [`BOUND`] and `noise`, and that none waited for
/// the disk. The scheduler may delay one of them on a machine with other work; it does not delay
/// most. Returns a line with the times.
fn assert_fast(what: &str, mut times: Vec<Duration>, noise: Duration) -> String {
    let median = median(&mut times);
    let longest = times[times.len() - 1];
    assert!(
        median <= BOUND + noise,
        "{what}, noise {noise:?}: {times:?}"
    );
    assert!(longest <= LONGEST, "{what}: {times:?}");
    format!("{what}: median {median:?}, longest {longest:?}")
}

/// Watches a process until `arrived` accepts its state; returns how long that took.
async fn arrival(pid: i32, arrived: fn(Option<char>) -> bool) -> Duration {
    let begun = Instant::now();
    let watch = move || {
        while !arrived(processes::state(pid)) {
            assert!(begun.elapsed() < PATIENCE, "no signal reaches {pid}");
            std::thread::sleep(Duration::from_millis(1));
        }
        begun.elapsed()
    };
    tokio::task::spawn_blocking(watch).await.expect("a time")
}

fn is_stopped(state: Option<char>) -> bool {
    state == Some('T')
}

fn is_not_stopped(state: Option<char>) -> bool {
    !is_stopped(state)
}

fn has_ended(state: Option<char>) -> bool {
    matches!(state, None | Some('Z'))
}

/// Requests `/health/live`; returns how long that took.
async fn health(slow: &SlowDisk) -> Duration {
    let begun = Instant::now();
    let http = slow.stack.http();
    let live = tokio::time::timeout(PATIENCE, http.get("/health/live"));
    let (code, _) = live.await.expect("an answer in time").expect("an answer");
    assert_eq!(code, 200);
    begun.elapsed()
}

/// Sends this control to each execution, one after the other. Asserts that the answers and the
/// signals arrive within [`BOUND`] and the time of a request which waits for nothing in
/// claude-api, measured in between.
async fn control_all(
    slow: &SlowDisk,
    writers: &[(String, i32)],
    control: &str,
    arrived: fn(Option<char>) -> bool,
) -> String {
    let (mut answers, mut signals, mut noise) = (Vec::new(), Vec::new(), Vec::new());
    for (id, pid) in writers {
        noise.push(health(slow).await);
        let answer = async {
            let begun = Instant::now();
            slow.control(id, control).await;
            begun.elapsed()
        };
        let (answer, signal) = tokio::join!(answer, arrival(*pid, arrived));
        answers.push(answer);
        signals.push(signal);
    }
    let noise = median(&mut noise);
    let answers = assert_fast(&format!("answers to {control}"), answers, noise);
    let signals = assert_fast(&format!("signals of {control}"), signals, noise);
    format!("{answers}; {signals}; noise {noise:?}")
}

/// Waits until each writer may have a write under way.
async fn wait_for_delayed_writes(slow: &SlowDisk) {
    let earlier = slow.delayed();
    eventually("writes to be delayed", PATIENCE, || {
        (slow.delayed() >= earlier + 2 * WRITERS as u64).then_some(())
    })
    .await;
}

/// Starts an execution that writes all the time; returns its id and the pid of its CLI.
async fn writer(slow: &SlowDisk) -> (String, i32) {
    let (http, id) = (slow.stack.http(), id());
    accept(&http, &id, "@rate 500\n@tokens 10000000", json!({})).await;
    until(&http, &id, "writing", |status| {
        status["outputBytes"].as_u64() > Some(0)
    })
    .await;
    let all = processes::marked(&id);
    let cli = all.iter().find(|p| p.arguments.contains("stand-in-claude"));
    (id, cli.expect("a CLI").pid)
}

/// While each write takes seconds, controls send their signals within 100 ms, and HTTP works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controls_and_reads_are_fast_while_each_write_takes_seconds() {
    let options = StackOptions::default().api("--simultaneous-starts=8");
    let slow = SlowDisk::start(options).await;
    let http = slow.stack.http();
    let (text, ended_id) = run(&slow.stack, "@say before", json!({})).await;
    let ended_id = ended_id["executionId"].as_str().expect("an id");
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(writer(&slow).await);
    }
    slow.throttle(DELAY);
    wait_for_delayed_writes(&slow).await;
    let (mut checks, mut reads) = (Vec::new(), Vec::new());
    for (id, _) in &writers {
        let begun = Instant::now();
        health(&slow).await;
        http.status(id).await.expect("a status");
        checks.push(begun.elapsed());
        let begun = Instant::now();
        let output = http.output(ended_id, 0).await.expect("an output");
        assert_eq!(output.bytes, text.as_bytes());
        reads.push(begun.elapsed());
    }
    println!(
        "{}",
        assert_fast("health and status", checks, Duration::ZERO)
    );
    let reads = assert_fast("output of another execution", reads, Duration::ZERO);
    println!("{reads}");
    let paused = control_all(&slow, &writers, "/pause", is_stopped).await;
    let resumed = control_all(&slow, &writers, "/resume", is_not_stopped).await;
    wait_for_delayed_writes(&slow).await;
    let cancelled = control_all(&slow, &writers, "/cancel", has_ended).await;
    println!("{paused}\n{resumed}\n{cancelled}");
    slow.heal();
    for (id, _) in &writers {
        assert_eq!(ended(&http, id).await["state"], "cancelled");
        slow.stack.assert_nothing_left(id).await;
    }
    slow.stack.assert_quiet();
}
