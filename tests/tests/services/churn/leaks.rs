//! A thousand executions, a third of which leave daemons behind, leak no process, zombie,
//! descriptor or memory (F2, I5, I6).

use std::{
    collections::{HashMap, HashSet},
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cc_tests::harness::{Service, Stack, StackOptions, eventually, processes};
use serde_json::json;

use crate::support::id;

const EXECUTIONS: usize = 1000;
/// Executions before the first measurement: by then the connections that stay open are open, and
/// the allocators' arenas are nearly full.
const WARM_UP: usize = 400;
const PARALLEL: usize = 8;
/// Executions of one session; sessions open and close too.
const PER_SESSION: usize = 25;
/// Limit for the time until an ended process is reaped; on a busy machine that took 0.4 s.
const ZOMBIE_FOR: Duration = Duration::from_secs(3);
/// Interval of the samples; each reads all of `/proc`.
const SAMPLE: Duration = Duration::from_millis(200);
/// Bytes of memory that 600 executions may add to claude-api and to the bridge: 5 KB and 2.6 KB
/// each. A leaked task with its buffers, or a leaked body with its status, takes more.
const GROWTH: [u64; 2] = [3 << 20, 3 << 19];
/// Limit of claude-api's open descriptors. A leak of one per execution exceeds it, even where
/// `/proc` may not be read.
const DESCRIPTORS: u64 = 220;
/// The bridge's pool checks its idle connections every 20 s and drops one at the first or second
/// check.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kinds of prompts by their end; two of them leave processes behind.
const KINDS: usize = 6;

fn prompt(number: usize) -> &'static str {
    match number % KINDS {
        0 => "@daemon\n@say x",
        1 => "@say x\n@tree 3",
        2 => "@say x\n@exit 3",
        3 => "@say x\n@signal 9",
        4 => "@stderr 1000\n@say x",
        _ => "@say x",
    }
}

/// Returns the processes of these executions: each process that the stand-in starts has the id
/// among its arguments.
fn remaining(ids: &[String]) -> Vec<processes::Process> {
    let mut remaining = processes::all();
    remaining.retain(|process| ids.iter().any(|id| process.arguments.contains(id)));
    remaining
}

/// Runs a range of executions one after the other, in sessions of their own; returns their ids.
async fn run_in_sequence(stack: &Stack, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut ids = Vec::new();
    let mut client = stack.client().await;
    for number in numbers {
        if ids.len() % PER_SESSION == PER_SESSION - 1 {
            std::mem::replace(&mut client, stack.client().await)
                .finish()
                .await;
        }
        let (id, prompt) = (id(), prompt(number));
        client.execute(prompt, json!({"executionId": id})).await;
        let (output, end) = client.wait_terminal(&id).await;
        assert_eq!(output, b"x", "{prompt}: {end}");
        let fails = matches!(number % KINDS, 2 | 3);
        let state = if fails { "failed" } else { "completed" };
        assert_eq!(end["state"], state, "{prompt}: {end}");
        if number % KINDS < 2 {
            let remaining = remaining(std::slice::from_ref(&id));
            assert_eq!(remaining, [], "{prompt}: left at the end of {end}");
        }
        ids.push(id);
    }
    client.finish().await;
    ids
}

/// Runs a range of executions, [`PARALLEL`] at the same time; returns their ids.
async fn run_in_parallel(stack: &Stack, numbers: std::ops::Range<usize>) -> Vec<String> {
    let each = numbers.len() / PARALLEL;
    let parts = (0..PARALLEL).map(|part| {
        let from = numbers.start + part * each;
        run_in_sequence(stack, from..from + each)
    });
    let ids = futures::future::join_all(parts.collect::<Vec<_>>()).await;
    ids.concat()
}

/// Thread that samples the zombies below a process while this value lives.
struct ZombieWatch {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<(usize, Duration, String)>>,
}

impl ZombieWatch {
    fn start(root: i32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || watch(root, &stopped));
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// Ends the watch. Returns the number of samples, the longest time that one zombie was seen,
    /// and that zombie.
    fn end(mut self) -> (usize, Duration, String) {
        self.stop.store(true, Ordering::SeqCst);
        let thread = self.thread.take().expect("it is ended once");
        thread.join().expect("the thread only samples")
    }
}

impl Drop for ZombieWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn watch(root: i32, stop: &AtomicBool) -> (usize, Duration, String) {
    let mut since: HashMap<i32, Instant> = HashMap::new();
    let (mut samples, mut longest, mut which) = (0, Duration::ZERO, String::new());
    while !stop.load(Ordering::SeqCst) {
        let mut zombies = processes::descendants(root);
        zombies.retain(|process| process.state == 'Z');
        since.retain(|pid, _| zombies.iter().any(|zombie| zombie.pid == *pid));
        for zombie in zombies {
            let seen_for = since
                .entry(zombie.pid)
                .or_insert_with(Instant::now)
                .elapsed();
            if seen_for >= longest {
                (longest, which) = (seen_for, format!("{zombie:?}"));
            }
        }
        samples += 1;
        std::thread::sleep(SAMPLE);
    }
    (samples, longest, which)
}

/// Returns the number of open descriptors; `None` where only root may read it.
fn descriptors(service: &Service) -> Option<usize> {
    let folder = fs::read_dir(format!("/proc/{}/fd", service.pid())).ok()?;
    Some(folder.count())
}

/// Waits until no more descriptors are open than `open`, which takes seconds. By then the
/// allocators have returned the memory that they keep for a while. Returns the resident memory in
/// bytes.
async fn settled_memory(services: [&Service; 2], open: [Option<usize>; 2]) -> [u64; 2] {
    for (service, open) in services.into_iter().zip(open) {
        let Some(open) = open else { continue };
        eventually("the descriptors to be as before", PATIENCE, || {
            descriptors(service).filter(|now| *now <= open)
        })
        .await;
    }
    services.map(Service::resident_bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f2_a_thousand_executions_leave_nothing_behind() {
    let options = StackOptions {
        open_files: Some(DESCRIPTORS),
        ..StackOptions::default()
    };
    let stack = Stack::with(options.api("--simultaneous-starts=8")).await;
    let services = [&stack.api, &stack.bridge];
    let watch = ZombieWatch::start(stack.api.pid());
    // Each kind once, one after the other, for a baseline: these keep few descriptors open.
    let mut ids = run_in_sequence(&stack, 0..KINDS).await;
    let open = services.map(descriptors);
    ids.extend(run_in_parallel(&stack, 0..WARM_UP).await);
    let before = settled_memory(services, open).await;
    ids.extend(run_in_parallel(&stack, WARM_UP..EXECUTIONS).await);
    let after = settled_memory(services, open).await;

    let (samples, longest, which) = watch.end();
    println!(
        "RSS {before:?} -> {after:?}; {samples} samples, a zombie seen for {longest:?}: {which}"
    );
    assert!(
        samples > 20 && longest < ZOMBIE_FOR,
        "a zombie for {longest:?}: {which}"
    );
    for (number, name) in ["claude-api", "bridge"].iter().enumerate() {
        let (before, after) = (before[number], after[number]);
        assert!(
            after < before + GROWTH[number],
            "{name} has grown from {before} to {after} bytes"
        );
    }
    assert_eq!(
        processes::descendants(stack.api.pid()),
        [],
        "claude-api still has children"
    );
    assert_eq!(
        remaining(&ids),
        [],
        "processes of executions that have ended"
    );
    let log = fs::read_to_string(stack.path("home/.claude/spawns.log")).expect("a log of starts");
    let started: HashSet<_> = log
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(
        (log.lines().count(), started.len(), ids.len()),
        (KINDS + EXECUTIONS, ids.len(), KINDS + EXECUTIONS),
        "each was started once"
    );
    stack.assert_quiet();
}
