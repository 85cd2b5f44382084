//! Pause, resume, terminate, kill: the whole tree.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use runner::{Action, Event, tree_cpu};
use tempfile::TempDir;

use crate::{
    support::{LONG, Run, alive, counter, marked, pids, python, scratch, state, until},
    tests,
};

tests![
    pause_stands_and_resume_goes_on,
    pause_and_resume_may_be_repeated,
    a_paused_tree_can_be_cancelled,
    five_hundred_processes_stand_still,
    a_chain_of_successors_is_caught,
    a_vfork_parent_does_not_hang_the_pause,
    many_threads_stand_still,
    a_tree_that_ignores_term_is_killed_after_the_grace,
    term_lets_the_whole_tree_clean_up,
    the_cli_gets_one_term,
    daemons_of_a_normal_end_are_killed_and_end_of_file_comes,
    kill_leaves_nothing,
    a_tree_that_forks_faster_than_it_is_killed_leaves_nothing,
    cpu_time_counts_the_dead_too,
];

/// A CLI, its tool in a session of its own, and a grandchild with setsid, double fork and a cleared environment; each
/// counts in a file. `sys.argv[2]`: `stubborn` ignores TERM.
pub(crate) const FAMILY: &str = r#"
import os, signal, sys, time
d, how = sys.argv[1], sys.argv[2]
if how == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
COUNT = """
import os, signal, sys, time
d, name, how = sys.argv[1:4]
def term(*_):
    open(f"{d}/{name}.cleaned", "w").close()
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if how == "stubborn" else term)
open(f"{d}/{name}.pid.{os.getpid()}", "w").close()
f, i = open(f"{d}/{name}", "w"), 0
while True:
    i += 1
    f.seek(0)
    f.write(str(i))
    f.flush()
    time.sleep(0.001)
"""
def count(name, env):
    os.execve(sys.executable, [sys.executable, "-c", COUNT, d, name, how], env)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        count("daemon", {})
    os._exit(0)
os.wait()
if os.fork() == 0:
    os.setsid()
    count("tool", dict(os.environ))
count("cli", dict(os.environ))
"#;

const NAMES: [&str; 3] = ["cli", "tool", "daemon"];

pub(crate) async fn family(how: &str) -> (Run, TempDir) {
    let dir = scratch();
    let mut run = python(FAMILY, dir.path(), &[how]).await;
    run.spawned().await;
    until("all three count", || {
        NAMES.iter().all(|name| counter(dir.path(), name) > 0)
    })
    .await;
    assert_eq!(pids(dir.path()).len(), 3);
    (run, dir)
}

fn counters(dir: &Path) -> [u64; 3] {
    NAMES.map(|name| counter(dir, name))
}

/// They count every millisecond: 100 ms without one count is standing still. The one place where a time must pass.
async fn stands_still(dir: &Path) {
    let before = counters(dir);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(counters(dir), before, "stopped means stopped");
}

async fn goes_on(dir: &Path) {
    let before = counters(dir);
    until("all count on", || {
        counters(dir)
            .iter()
            .zip(before)
            .all(|(now, before)| *now > before)
    })
    .await;
}

async fn pause_stands_and_resume_goes_on() {
    let (mut run, dir) = family("gentle").await;
    for _ in 0..3 {
        let begun = Instant::now();
        run.control.pause();
        run.signalled(Action::Pause).await;
        assert!(
            begun.elapsed() < Duration::from_millis(100),
            "{:?}",
            begun.elapsed()
        );
        let (processes, _) = run.paused().await;
        assert_eq!(processes, 3);
        stands_still(dir.path()).await;
        run.control.resume();
        run.signalled(Action::Resume).await;
        assert_eq!(run.next().await, Some(Event::Resumed));
        goes_on(dir.path()).await;
    }
    run.control.kill();
    run.signalled(Action::Kill).await;
    run.end().await;
}

async fn pause_and_resume_may_be_repeated() {
    let (mut run, dir) = family("gentle").await;
    run.control.resume();
    run.signalled(Action::Resume).await;
    assert_eq!(
        run.next().await,
        Some(Event::Resumed),
        "nothing to do, still answered"
    );
    for _ in 0..2 {
        run.control.pause();
        run.signalled(Action::Pause).await;
        assert_eq!(run.paused().await.0, 3);
    }
    stands_still(dir.path()).await;
    // The walk may be cut short by its opposite.
    for _ in 0..50 {
        run.control.pause();
        run.control.resume();
    }
    until_quiet(&mut run, 50).await;
    goes_on(dir.path()).await;
    run.control.kill();
    run.end().await;
}

async fn until_quiet(run: &mut Run, mut resumes: u32) {
    while resumes > 0 {
        if run.next().await == Some(Event::Resumed) {
            resumes -= 1;
        }
    }
}

async fn a_paused_tree_can_be_cancelled() {
    for how in ["gentle", "stubborn"] {
        let (mut run, dir) = family(how).await;
        run.control.pause();
        run.signalled(Action::Pause).await;
        run.paused().await;
        run.control.terminate(Duration::from_millis(300));
        run.signalled(Action::Terminate).await;
        let end = run.end().await;
        assert!(end.unkillable.is_empty());
        assert_eq!(
            (end.code, end.signal),
            if how == "gentle" {
                (Some(0), None)
            } else {
                (None, Some(9))
            }
        );
        for pid in pids(dir.path()) {
            assert_eq!(state(pid), None, "{pid}");
        }
    }
}

async fn five_hundred_processes_stand_still() {
    let dir = scratch();
    let program = r#"
import os, sys, time
d = sys.argv[1]
for i in range(25):
    if os.fork() == 0:
        os.setsid()
        for j in range(19):
            if os.fork() == 0:
                break
        open(f"{d}/pid.{os.getpid()}", "w").close()
        while True: time.sleep(0.01)
time.sleep(600)
"#;
    let mut run = python(program, dir.path(), &[]).await;
    run.spawned().await;
    until("all are there", || pids(dir.path()).len() == 500).await;
    let begun = Instant::now();
    run.control.pause();
    run.signalled(Action::Pause).await;
    let signalled = begun.elapsed();
    let (processes, took_us) = run.paused().await;
    println!(
        "  pause of {processes} processes: first signal {signalled:?}, all stopped {took_us} us"
    );
    assert!(signalled < Duration::from_millis(100), "{signalled:?}");
    // A tenth of it on a machine that is not busy.
    assert!(took_us < 1_000_000, "{took_us} us");
    assert_eq!(processes, 501);
    assert!(pids(dir.path()).iter().all(|pid| state(*pid) == Some('T')));
    run.control.resume();
    run.signalled(Action::Resume).await;
    assert_eq!(run.next().await, Some(Event::Resumed));
    assert!(pids(dir.path()).iter().all(|pid| state(*pid) != Some('T')));
    run.control.terminate(Duration::from_secs(3));
    let end = run.end().await;
    assert!(end.unkillable.is_empty());
    assert!(pids(dir.path()).iter().all(|pid| state(*pid).is_none()));
}

/// Each link forks its successor and exits at once: no look ever finds the same process twice.
const STORM: &str = r#"
import os, sys, time
d = sys.argv[1]
for chain in range(3):
    if os.fork() == 0:
        os.setsid()
        i = 0
        while True:
            i += 1
            f = open(f"{d}/chain{chain}", "w"); f.write(str(i)); f.close()
            if os.fork(): os._exit(0)
time.sleep(600)
"#;

async fn a_chain_of_successors_is_caught() {
    let dir = scratch();
    let mut run = python(STORM, dir.path(), &[]).await;
    run.spawned().await;
    let chains = || ["chain0", "chain1", "chain2"].map(|name| counter(dir.path(), name));
    for _ in 0..10 {
        let before = chains();
        until("the chains grow", || {
            chains()
                .iter()
                .zip(before)
                .all(|(now, before)| *now > before)
        })
        .await;
        run.control.pause();
        run.signalled(Action::Pause).await;
        let (processes, _) = run.paused().await;
        // Of each chain the last link, and those before it that were caught between fork and exit.
        assert!(processes >= 4, "{processes}");
        let stopped = chains();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(chains(), stopped);
        run.control.resume();
        run.signalled(Action::Resume).await;
        assert_eq!(run.next().await, Some(Event::Resumed));
    }
    run.control.terminate(Duration::ZERO);
    let end = run.end().await;
    assert!(end.unkillable.is_empty(), "{:?}", end.unkillable);
    let stopped = chains();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(chains(), stopped, "nothing is left that grows");
}

async fn a_vfork_parent_does_not_hang_the_pause() {
    // A stopped child that has not called exec keeps its vfork parent in D. Spawning without a pause meets that often.
    let dir = scratch();
    let program = r#"
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
def spawn():
    argv = (ctypes.c_char_p * 2)(b"true", None)
    env = (ctypes.c_char_p * 1)(None)
    while True:
        pid = ctypes.c_int()
        if libc.posix_spawn(ctypes.byref(pid), b"/bin/true", None, None, argv, env) == 0:
            os.waitpid(pid.value, 0)
        open(f"{sys.argv[1]}/ready", "w").close()
for _ in range(3):
    if os.fork() == 0: spawn()
for _ in range(3):
    threading.Thread(target=spawn).start()
"#;
    let mut run = python(program, dir.path(), &[]).await;
    run.spawned().await;
    until("it spawns", || dir.path().join("ready").exists()).await;
    for _ in 0..30 {
        run.control.pause();
        run.signalled(Action::Pause).await;
        let (processes, took_us) = run.paused().await;
        assert!(
            processes >= 4 && took_us < 1_900_000,
            "{processes} processes, {took_us} us"
        );
        run.control.resume();
        run.signalled(Action::Resume).await;
        assert_eq!(run.next().await, Some(Event::Resumed));
    }
    run.control.kill();
    assert_eq!(run.end().await.signal, Some(9));
}

async fn many_threads_stand_still() {
    let dir = scratch();
    let program = r#"
import subprocess, sys, threading, time
d = sys.argv[1]
def work(i):
    while True:
        subprocess.run(["true"])
        f = open(f"{d}/count{i}", "a"); f.write("."); f.close()
for i in range(4): threading.Thread(target=work, args=(i,)).start()
"#;
    let mut run = python(program, dir.path(), &[]).await;
    run.spawned().await;
    let sizes = || {
        [0, 1, 2, 3].map(|index| {
            std::fs::metadata(dir.path().join(format!("count{index}"))).map_or(0, |file| file.len())
        })
    };
    for _ in 0..5 {
        let before = sizes();
        until("every thread works", || {
            sizes()
                .iter()
                .zip(before)
                .all(|(now, before)| *now > before)
        })
        .await;
        run.control.pause();
        run.signalled(Action::Pause).await;
        run.paused().await;
        let stopped = sizes();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(sizes(), stopped);
        run.control.resume();
        run.signalled(Action::Resume).await;
        assert_eq!(run.next().await, Some(Event::Resumed));
    }
    run.control.kill();
    run.end().await;
}

async fn a_tree_that_ignores_term_is_killed_after_the_grace() {
    let (mut run, dir) = family("stubborn").await;
    let begun = Instant::now();
    run.control.terminate(Duration::from_millis(400));
    run.signalled(Action::Terminate).await;
    goes_on(dir.path()).await;
    // A longer grace, later, changes nothing; neither does a pause.
    run.control.terminate(LONG);
    run.signalled(Action::Terminate).await;
    run.control.pause();
    run.signalled(Action::Pause).await;
    let end = run.end().await;
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(400) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert_eq!((end.code, end.signal, end.killed), (None, Some(9), 2));
    assert!(pids(dir.path()).iter().all(|pid| !alive(*pid)));
}

async fn term_lets_the_whole_tree_clean_up() {
    let dir = scratch();
    // The CLI ends only after the others have, as the real one ends its tools.
    let program = FAMILY.replace("count(\"cli\", dict(os.environ))", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen(f'{d}/cli', 'w').write('1')\nwhile not all(os.path.exists(f'{d}/{n}.cleaned') for n in ('tool', 'daemon')): time.sleep(0.005)\nsys.exit(143)");
    let mut run = python(&program, dir.path(), &["gentle"]).await;
    run.spawned().await;
    until("all are there", || {
        NAMES.iter().all(|name| counter(dir.path(), name) > 0)
    })
    .await;
    run.control.terminate(LONG);
    run.signalled(Action::Terminate).await;
    let end = run.end().await;
    assert_eq!(
        end.code,
        Some(143),
        "a daemon out of the CLI's reach got its TERM too"
    );
}

/// The first one, for its tools: a second one could make a CLI leave its work undone.
async fn the_cli_gets_one_term() {
    let dir = scratch();
    // So many tools that the CLI has handled the first one before the tree was walked.
    let program = r#"
import os, signal, sys, time
terms = []
for _ in range(100):
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
signal.signal(signal.SIGTERM, lambda *_: terms.append(1))
open(f"{sys.argv[1]}/ready", "w").close()
while not terms: time.sleep(0.001)
until = time.monotonic() + 0.5
while time.monotonic() < until: time.sleep(0.05)
sys.exit(len(terms))
"#;
    let mut run = python(program, dir.path(), &[]).await;
    run.spawned().await;
    until("it is ready", || dir.path().join("ready").exists()).await;
    run.control.terminate(LONG);
    run.signalled(Action::Terminate).await;
    assert_eq!(run.end().await.code, Some(1));
}

async fn daemons_of_a_normal_end_are_killed_and_end_of_file_comes() {
    let dir = scratch();
    let program = FAMILY.replace(
        "count(\"cli\", dict(os.environ))",
        "while not all(os.path.exists(f'{d}/{n}') for n in ('tool', 'daemon')): time.sleep(0.005)\nprint('answer', flush=True)\nsys.exit(3)",
    );
    let mut run = python(&program, dir.path(), &["stubborn"]).await;
    run.spawned().await;
    let begun = Instant::now();
    let end = run.end().await;
    assert_eq!((end.code, end.signal, end.killed), (Some(3), None, 2));
    assert_eq!(end.stdout, b"answer\n");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(pids(dir.path()).iter().all(|pid| state(*pid).is_none()));
}

async fn kill_leaves_nothing() {
    let (mut run, dir) = family("stubborn").await;
    let begun = Instant::now();
    run.control.kill();
    run.signalled(Action::Kill).await;
    run.control.kill();
    let end = run.end().await;
    assert_eq!((end.signal, end.killed), (Some(9), 2));
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert!(pids(dir.path()).iter().all(|pid| state(*pid).is_none()));
}

async fn cpu_time_counts_the_dead_too() {
    let dir = scratch();
    let program = r#"
import os, sys, time
def burn():
    while time.process_time() < 0.3: pass
if os.fork() == 0:
    burn()
    os._exit(0)
os.wait()
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        burn()
        open(f"{sys.argv[1]}/pid.{os.getpid()}", "w").close()
        os._exit(0)
    os._exit(0)
os.wait()
time.sleep(600)
"#;
    let mut run = python(program, dir.path(), &[]).await;
    run.spawned().await;
    until("the orphan has worked and was reaped", || {
        pids(dir.path())
            .first()
            .is_some_and(|pid| state(*pid).is_none())
    })
    .await;
    // The first was reaped by the CLI, the second, an orphan, by the runner.
    let total = tree_cpu(run.control.runner_pid());
    assert!(total > Duration::from_millis(550), "{total:?}");
    assert_eq!(tree_cpu(u32::MAX), Duration::ZERO);
    run.control.kill();
    run.end().await;
}

/// A fork bomb of at most 150 processes, for at most 60 s. The limit does not hold for root, so
/// root becomes another user.
const BOMB: &str = r#"
import os, resource, sys, time
others = 0
if os.getuid() == 0:
    os.setgroups([]); os.setgid(54321); os.setuid(54321)
else:
    pids = [p for p in os.listdir("/proc") if p.isdigit()]
    others = sum(1 for p in pids if os.stat(f"/proc/{p}").st_uid == os.getuid())
resource.setrlimit(resource.RLIMIT_NPROC, (others + 150, others + 150))
end = time.time() + 60
while time.time() < end:
    try: os.fork()
    except OSError: pass
"#;

/// ENGINE A14: `Done` was sent after 10 s of killing, even with live processes.
async fn a_tree_that_forks_faster_than_it_is_killed_leaves_nothing() {
    let dir = scratch();
    let mut run = python(BOMB, dir.path(), &[]).await;
    run.spawned().await;
    until("the bomb is at its limit", || {
        marked(dir.path()).len() >= 100
    })
    .await;
    let begun = Instant::now();
    run.control.kill();
    let end = run.end().await;
    println!("  kill to Done of a fork bomb: {:?}", begun.elapsed());
    assert_eq!(marked(dir.path()), [0; 0], "alive after `Done`: {end:?}");
    assert_eq!(end.unkillable, []);
}
