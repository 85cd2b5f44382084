//! After a thousand executions, a third of which leave daemons behind: no process, no zombie, no descriptor, no memory. F2, I5, I6.

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
/// What stays open is there by then, and the allocators' arenas are nearly full.
const WARM_UP: usize = 400;
const AT_ONCE: usize = 8;
/// Sessions come and go too: one runs so many.
const PER_SESSION: usize = 25;
/// Whoever has ended is one until it is reaped; on a busy machine that took 0.4 s.
const ZOMBIE_FOR: Duration = Duration::from_secs(3);
/// Each look reads all of `/proc`.
const SAMPLE: Duration = Duration::from_millis(200);
/// What 600 executions may leave in claude-api and in the bridge, bytes: 5 KB and 2.6 KB each. A kept task with its buffers, or
/// a kept body with its status, takes more.
const GROWTH: [u64; 2] = [3 << 20, 3 << 19];
/// Where nobody may look: executions that each left one behind in claude-api would soon meet this.
const DESCRIPTORS: u64 = 220;
/// An idle connection to claude-api is dropped at the first or second look of its pool, one every 20 s.
const PATIENCE: Duration = Duration::from_secs(60);

/// How different prompts end; two of them leave something behind.
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

/// The processes of these executions: all that the stand-in starts have their id among their arguments.
fn left(ids: &[String]) -> Vec<processes::Process> {
    let mut left = processes::all();
    left.retain(|process| ids.iter().any(|id| process.arguments.contains(id)));
    left
}

/// Runs a range of executions in sessions of their own; answers their ids.
async fn some(stack: &Stack, numbers: std::ops::Range<usize>) -> Vec<String> {
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
            let left = left(std::slice::from_ref(&id));
            assert_eq!(left, [], "{prompt}: left at the end of {end}");
        }
        ids.push(id);
    }
    client.finish().await;
    ids
}

/// Runs a range of executions, some at once.
async fn many(stack: &Stack, numbers: std::ops::Range<usize>) -> Vec<String> {
    let each = numbers.len() / AT_ONCE;
    let parts = (0..AT_ONCE).map(|part| {
        let from = numbers.start + part * each;
        some(stack, from..from + each)
    });
    let ids = futures::future::join_all(parts.collect::<Vec<_>>()).await;
    ids.concat()
}

/// Looks for zombies below a process for as long as it lives.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<(usize, Duration, String)>>,
}

impl Watch {
    fn start(root: i32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || watch(root, &seen));
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// How often it has looked, for how long at most one was seen, and which.
    fn end(mut self) -> (usize, Duration, String) {
        self.stop.store(true, Ordering::SeqCst);
        let thread = self.thread.take().expect("it is ended once");
        thread.join().expect("it only looks")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn watch(root: i32, stop: &AtomicBool) -> (usize, Duration, String) {
    let mut since: HashMap<i32, Instant> = HashMap::new();
    let (mut looks, mut longest, mut which) = (0, Duration::ZERO, String::new());
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
        looks += 1;
        std::thread::sleep(SAMPLE);
    }
    (looks, longest, which)
}

/// Open descriptors; `None` where only root may look.
fn descriptors(service: &Service) -> Option<usize> {
    let folder = fs::read_dir(format!("/proc/{}/fd", service.pid())).ok()?;
    Some(folder.count())
}

/// Waits until no more descriptors are open than these, which takes seconds. The allocators have returned by then what they keep
/// for a while. Answers the resident memory, in bytes.
async fn settled(services: [&Service; 2], open: [Option<usize>; 2]) -> [u64; 2] {
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
    let watch = Watch::start(stack.api.pid());
    // One after the other, each kind once: what they open and keep open is little.
    let mut ids = some(&stack, 0..KINDS).await;
    let open = services.map(descriptors);
    ids.extend(many(&stack, 0..WARM_UP).await);
    let before = settled(services, open).await;
    ids.extend(many(&stack, WARM_UP..EXECUTIONS).await);
    let after = settled(services, open).await;

    let (looks, longest, which) = watch.end();
    println!("RSS {before:?} -> {after:?}; {looks} looks, a zombie seen for {longest:?}: {which}");
    assert!(
        looks > 20 && longest < ZOMBIE_FOR,
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
    assert_eq!(left(&ids), [], "processes of executions that have ended");
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
