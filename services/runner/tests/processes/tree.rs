//! Tests of pause, resume, terminate and kill of a whole tree.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use runner::{Action, Event, tree_cpu};
use tempfile::TempDir;

use crate::{
    support::{
        LONG, Run, alive, counter, pids, processes_with_argument, python, scratch, state,
        wait_until,
    },
    tests,
};

tests![
    a_pause_stops_and_a_resume_continues_the_tree,
    pause_and_resume_can_be_repeated,
    a_paused_tree_can_be_terminated,
    a_pause_stops_five_hundred_processes,
    a_pause_stops_a_chain_of_successors,
    a_vfork_parent_does_not_block_the_pause,
    a_pause_stops_many_threads,
    a_tree_that_ignores_term_is_killed_after_the_grace,
    terminate_lets_the_whole_tree_clean_up,
    terminate_sends_one_term_to_the_cli,
    a_normal_end_kills_daemons_and_gives_end_of_file,
    kill_leaves_no_process,
    a_tree_that_forks_faster_than_it_is_killed_is_killed,
    cpu_time_includes_reaped_processes,
];

/// A CLI, its tool in its own session, and a daemon by double fork and setsid with an empty
/// environment. Each counts in a file. With `stubborn` as `sys.argv[2]`, they ignore TERM.
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
    wait_until("all three count", || {
        NAMES.iter().all(|name| counter(dir.path(), name) > 0)
    })
    .await;
    assert_eq!(pids(dir.path()).len(), 3);
    (run, dir)
}

fn counters(dir: &Path) -> [u64; 3] {
    NAMES.map(|name| counter(dir, name))
}

/// Asserts that nothing counts for 100 ms; running processes count every millisecond.
async fn assert_stopped(dir: &Path) {
    let previous = counters(dir);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(counters(dir), previous, "a stopped tree counts");
}

async fn assert_running(dir: &Path) {
    let previous = counters(dir);
    wait_until("all continue to count", || {
        counters(dir)
            .iter()
            .zip(previous)
            .all(|(current, previous)| *current > previous)
    })
    .await;
}

async fn a_pause_stops_and_a_resume_continues_the_tree() {
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
        assert_stopped(dir.path()).await;
        run.control.resume();
        run.signalled(Action::Resume).await;
        assert_eq!(run.next().await, Some(Event::Resumed));
        assert_running(dir.path()).await;
    }
    run.control.kill();
    run.signalled(Action::Kill).await;
    run.end().await;
}

async fn pause_and_resume_can_be_repeated() {
    let (mut run, dir) = family("gentle").await;
    run.control.resume();
    run.signalled(Action::Resume).await;
    assert_eq!(
        run.next().await,
        Some(Event::Resumed),
        "a resume without a pause is still answered"
    );
    for _ in 0..2 {
        run.control.pause();
        run.signalled(Action::Pause).await;
        assert_eq!(run.paused().await.0, 3);
    }
    assert_stopped(dir.path()).await;
    // A resume may interrupt the walk of a pause.
    for _ in 0..50 {
        run.control.pause();
        run.control.resume();
    }
    wait_for_resumes(&mut run, 50).await;
    assert_running(dir.path()).await;
    run.control.kill();
    run.end().await;
}

async fn wait_for_resumes(run: &mut Run, mut resumes: u32) {
    while resumes > 0 {
        if run.next().await == Some(Event::Resumed) {
            resumes -= 1;
        }
    }
}

async fn a_paused_tree_can_be_terminated() {
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

async fn a_pause_stops_five_hundred_processes() {
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
    wait_until("all processes have started", || {
        pids(dir.path()).len() == 500
    })
    .await;
    let begun = Instant::now();
    run.control.pause();
    run.signalled(Action::Pause).await;
    let signalled = begun.elapsed();
    let (processes, took_us) = run.paused().await;
    println!(
        "  pause of {processes} processes: first signal {signalled:?}, all stopped {took_us} us"
    );
    assert!(signalled < Duration::from_millis(100), "{signalled:?}");
    // An idle machine needs a tenth of this time.
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

/// Each link forks its successor and exits immediately, so no two reads of /proc show the same
/// process.
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

async fn a_pause_stops_a_chain_of_successors() {
    let dir = scratch();
    let mut run = python(STORM, dir.path(), &[]).await;
    run.spawned().await;
    let chains = || ["chain0", "chain1", "chain2"].map(|name| counter(dir.path(), name));
    for _ in 0..10 {
        let previous = chains();
        wait_until("the chains grow", || {
            chains()
                .iter()
                .zip(previous)
                .all(|(current, previous)| *current > previous)
        })
        .await;
        run.control.pause();
        run.signalled(Action::Pause).await;
        let (processes, _) = run.paused().await;
        // The last link of each chain, and earlier links that were stopped between fork and exit.
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
    assert_eq!(chains(), stopped, "no chain is left");
}

async fn a_vfork_parent_does_not_block_the_pause() {
    // A stopped child that has not called exec keeps its vfork parent in state D. Constant spawning
    // makes this likely.
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
    wait_until("the program spawns", || dir.path().join("ready").exists()).await;
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

async fn a_pause_stops_many_threads() {
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
        let previous = sizes();
        wait_until("every thread works", || {
            sizes()
                .iter()
                .zip(previous)
                .all(|(current, previous)| *current > previous)
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
    assert_running(dir.path()).await;
    // Neither a later terminate with a longer grace nor a pause changes anything.
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

async fn terminate_lets_the_whole_tree_clean_up() {
    let dir = scratch();
    // The CLI ends only after the others, as the real CLI ends its tools.
    let program = FAMILY.replace(
        "count(\"cli\", dict(os.environ))",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         open(f'{d}/cli', 'w').write('1')\n\
         cleaned = [f'{d}/{n}.cleaned' for n in ('tool', 'daemon')]\n\
         while not all(os.path.exists(path) for path in cleaned): time.sleep(0.005)\n\
         sys.exit(143)",
    );
    let mut run = python(&program, dir.path(), &["gentle"]).await;
    run.spawned().await;
    wait_until("all processes have started", || {
        NAMES.iter().all(|name| counter(dir.path(), name) > 0)
    })
    .await;
    run.control.terminate(LONG);
    run.signalled(Action::Terminate).await;
    let end = run.end().await;
    assert_eq!(
        end.code,
        Some(143),
        "a daemon outside the CLI's control gets TERM too"
    );
}

/// A second TERM could make a CLI end without finishing its cleanup.
async fn terminate_sends_one_term_to_the_cli() {
    let dir = scratch();
    // Enough tools that the CLI has handled the first TERM before the walk of the tree ends.
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
    wait_until("the program is ready", || dir.path().join("ready").exists()).await;
    run.control.terminate(LONG);
    run.signalled(Action::Terminate).await;
    assert_eq!(run.end().await.code, Some(1));
}

async fn a_normal_end_kills_daemons_and_gives_end_of_file() {
    let dir = scratch();
    let program = FAMILY.replace(
        "count(\"cli\", dict(os.environ))",
        "while not all(os.path.exists(f'{d}/{n}') for n in ('tool', 'daemon')): time.sleep(0.005)\n\
         print('answer', flush=True)\n\
         sys.exit(3)",
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

async fn kill_leaves_no_process() {
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

async fn cpu_time_includes_reaped_processes() {
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
    wait_until("the orphan has worked and was reaped", || {
        pids(dir.path())
            .first()
            .is_some_and(|pid| state(*pid).is_none())
    })
    .await;
    // The CLI reaped the first child, and the runner the second, which is an orphan.
    let total = tree_cpu(run.control.runner_pid());
    assert!(total > Duration::from_millis(550), "{total:?}");
    assert_eq!(tree_cpu(u32::MAX), Duration::ZERO);
    run.control.kill();
    run.end().await;
}

/// A fork bomb of at most 150 processes, for at most 60 s. The limit does not apply to root, so
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

/// `Done` must not be sent while processes are alive, however long the killing takes.
async fn a_tree_that_forks_faster_than_it_is_killed_is_killed() {
    let dir = scratch();
    let mut run = python(BOMB, dir.path(), &[]).await;
    run.spawned().await;
    wait_until("the bomb is at its limit", || {
        processes_with_argument(dir.path()).len() >= 100
    })
    .await;
    let begun = Instant::now();
    run.control.kill();
    let end = run.end().await;
    println!("  kill to Done of a fork bomb: {:?}", begun.elapsed());
    assert_eq!(
        processes_with_argument(dir.path()),
        [0; 0],
        "alive after `Done`: {end:?}"
    );
    assert_eq!(end.unkillable, []);
}
