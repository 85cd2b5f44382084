//! A throttled disk: each write takes seconds, and controls take milliseconds all the same.

use std::time::{Duration, Instant};

use cc_tests::harness::{StackOptions, eventually, processes};
use serde_json::json;

use super::Slow;
use crate::support::{PATIENCE, accept, ended, id, run, until};

/// How long each write, sync and rename takes.
const DELAY: Duration = Duration::from_secs(2);
/// The time in which a control is answered and sends its first signal (docs/protocol.md,
/// "Controls").
const BOUND: Duration = Duration::from_millis(100);
/// No single one may come near a write: a control that waited for one would take about [`DELAY`].
const FAR_BELOW: Duration = Duration::from_millis(500);
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
    assert!(longest <= FAR_BELOW, "{what}: {times:?}");
    format!("{what}: median {median:?}, longest {longest:?}")
}

/// Watches a process until `arrived` says so of its state; how long that took.
async fn arrival(pid: i32, arrived: fn(Option<char>) -> bool) -> Duration {
    let asked = Instant::now();
    let watch = move || {
        while !arrived(processes::state(pid)) {
            assert!(asked.elapsed() < PATIENCE, "no signal reaches {pid}");
            std::thread::sleep(Duration::from_millis(1));
        }
        asked.elapsed()
    };
    tokio::task::spawn_blocking(watch).await.expect("a time")
}

fn is_stopped(state: Option<char>) -> bool {
    state == Some('T')
}

fn goes_on(state: Option<char>) -> bool {
    !is_stopped(state)
}

fn has_ended(state: Option<char>) -> bool {
    matches!(state, None | Some('Z'))
}

/// Asks for `/health/live`; how long that took.
async fn health(slow: &Slow) -> Duration {
    let asked = Instant::now();
    let look = slow.stack.http();
    let look = tokio::time::timeout(PATIENCE, look.get("/health/live"));
    let (code, _) = look.await.expect("it is answered").expect("an answer");
    assert_eq!(code, 200);
    asked.elapsed()
}

/// Sends this control to each execution, one after the other. Asserts that the answers and the
/// signals come within [`BOUND`] and the time of a request which waits for nothing in
/// claude-api, measured in between.
async fn control_all(
    slow: &Slow,
    writers: &[(String, i32)],
    control: &str,
    arrived: fn(Option<char>) -> bool,
) -> String {
    let (mut answers, mut signals, mut noise) = (Vec::new(), Vec::new(), Vec::new());
    for (id, pid) in writers {
        noise.push(health(slow).await);
        let answer = async {
            let asked = Instant::now();
            slow.control(id, control).await;
            asked.elapsed()
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
async fn writes_wait(slow: &Slow) {
    let before = slow.delayed();
    eventually("writes to be delayed", PATIENCE, || {
        (slow.delayed() >= before + 2 * WRITERS as u64).then_some(())
    })
    .await;
}

/// Starts an execution that writes all the time: its id and its CLI's.
async fn writer(slow: &Slow) -> (String, i32) {
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

/// With writes of seconds, pause and cancel signal within 100 ms, and
/// HTTP goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controls_and_reads_are_fast_while_each_write_takes_seconds() {
    let options = StackOptions::default().api("--simultaneous-starts=8");
    let slow = Slow::start(options).await;
    let http = slow.stack.http();
    let (text, past) = run(&slow.stack, "@say before", json!({})).await;
    let past = past["executionId"].as_str().expect("an id");
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(writer(&slow).await);
    }
    slow.throttle(DELAY);
    writes_wait(&slow).await;
    let (mut looks, mut reads) = (Vec::new(), Vec::new());
    for (id, _) in &writers {
        let asked = Instant::now();
        health(&slow).await;
        http.status(id).await.expect("a status");
        looks.push(asked.elapsed());
        let asked = Instant::now();
        let output = http.output(past, 0).await.expect("an output");
        assert_eq!(output.bytes, text.as_bytes());
        reads.push(asked.elapsed());
    }
    println!(
        "{}",
        assert_fast("health and status", looks, Duration::ZERO)
    );
    let reads = assert_fast("output of another execution", reads, Duration::ZERO);
    println!("{reads}");
    let paused = control_all(&slow, &writers, "/pause", is_stopped).await;
    let resumed = control_all(&slow, &writers, "/resume", goes_on).await;
    writes_wait(&slow).await;
    let cancelled = control_all(&slow, &writers, "/cancel", has_ended).await;
    println!("{paused}\n{resumed}\n{cancelled}");
    slow.heal();
    for (id, _) in &writers {
        assert_eq!(ended(&http, id).await["state"], "cancelled");
        slow.stack.assert_nothing_left(id).await;
    }
    slow.stack.assert_quiet();
}
