//! Helpers of the tests: starting runs and waiting for conditions.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    time::{Duration, Instant},
};

use runner::{Action, CommandSender, Event, Events, Runners, Spec, Stdin, Unkillable};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};

pub(crate) type Test = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

/// Lists the tests of a module by name.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn tests() -> Vec<$crate::support::Test> {
            vec![$((stringify!($name), || Box::pin($name()))),*]
        }
    };
}

/// The time limit of a wait. Generous, because tests assert order and bounds, not speed.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn runners() -> Runners {
    Runners::new(PathBuf::from("/proc/self/exe"))
}

pub(crate) fn spec(program: &str, args: &[&str]) -> Spec {
    Spec {
        program: program.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        cwd: "/tmp".into(),
        stdout_pipe_bytes: 256 << 10,
        start_patience: Duration::from_secs(20),
        sandbox: None,
    }
}

/// An execution under test. Tasks read both outputs.
pub(crate) struct Run {
    pub(crate) stdin: Option<Stdin>,
    pub(crate) control: CommandSender,
    pub(crate) events: Events,
    pub(crate) stdout: JoinHandle<Vec<u8>>,
    pub(crate) stderr: JoinHandle<Vec<u8>>,
}

pub(crate) async fn start(spec: Spec) -> Run {
    start_with(&runners(), spec).await
}

/// Returns runners that are started by a shell script, in which `"$@"` is the runner's command
/// line.
pub(crate) fn runners_with_wrapper(dir: &Path, script: &str) -> Runners {
    let wrapper = dir.join("runner");
    let own = std::env::current_exe().expect("the path of this program");
    let text = format!("#!/bin/bash\nset -- {} \"$@\"\n{script}\n", own.display());
    fs::write(&wrapper, text).expect("written");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&wrapper, executable).expect("ours");
    Runners::new(wrapper)
}

pub(crate) async fn start_with(runners: &Runners, spec: Spec) -> Run {
    let handle = runners.start(spec).await.expect("a runner starts");
    let (mut out, mut err) = (handle.stdout, handle.stderr);
    let stdout = tokio::spawn(async move {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 65_536]);
        while let Ok(count @ 1..) = out.read(&mut buffer).await {
            all.extend_from_slice(&buffer[..count]);
        }
        all
    });
    let stderr = tokio::spawn(async move {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 65_536]);
        while let Ok(count @ 1..) = err.read(&mut buffer).await {
            all.extend_from_slice(&buffer[..count]);
        }
        all
    });
    Run {
        stdin: Some(handle.stdin),
        control: handle.control,
        events: handle.events,
        stdout,
        stderr,
    }
}

/// Starts a shell script as the CLI.
pub(crate) async fn shell(script: &str) -> Run {
    start(spec("bash", &["-c", script])).await
}

/// Starts a Python program as the CLI; `sys.argv[1]` is a directory to write to.
pub(crate) async fn python(program: &str, dir: &Path, more: &[&str]) -> Run {
    let dir = dir.to_str().expect("a plain path");
    start(spec("python3", &[&["-c", program, dir], more].concat())).await
}

impl Run {
    pub(crate) async fn next(&mut self) -> Option<Event> {
        timeout(LONG, self.events.next())
            .await
            .expect("the runner sends an event")
    }

    pub(crate) async fn spawned(&mut self) -> u32 {
        match self.next().await {
            Some(Event::Spawned {
                pid,
                start_ticks,
                boot_id,
            }) => {
                assert!(start_ticks > 0 && boot_id == runner::boot_id() && boot_id.len() == 36);
                pid
            }
            other => panic!("not spawned: {other:?}"),
        }
    }

    pub(crate) async fn signalled(&mut self, expected: Action) {
        assert_eq!(
            self.next().await,
            Some(Event::Signalled { action: expected })
        );
    }

    pub(crate) async fn paused(&mut self) -> (u32, u64) {
        match self.next().await {
            Some(Event::Paused { processes, took_us }) => (processes, took_us),
            other => panic!("not paused: {other:?}"),
        }
    }

    /// Waits for `Done`, the last event, and returns it with the outputs.
    pub(crate) async fn end(mut self) -> End {
        drop(self.stdin.take());
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            // Sweeping is sent only by a sweep that takes longer than a second.
            if !matches!(event, Event::Sweeping { .. }) {
                events.push(event);
            }
        }
        let stdout = timeout(LONG, self.stdout)
            .await
            .expect("end of file")
            .expect("read");
        let stderr = timeout(LONG, self.stderr)
            .await
            .expect("end of file")
            .expect("read");
        let Some(Event::Done {
            code,
            signal,
            killed,
            unkillable,
        }) = events.last().cloned()
        else {
            panic!(
                "no Done: {events:?}, stderr: {}",
                String::from_utf8_lossy(&stderr)
            );
        };
        assert_eq!(
            events[events.len() - 2],
            Event::Exited { code, signal },
            "{events:?}"
        );
        End {
            code,
            signal,
            killed,
            unkillable,
            stdout,
            stderr,
        }
    }
}

#[derive(Debug)]
pub(crate) struct End {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) killed: u32,
    pub(crate) unkillable: Vec<Unkillable>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Waits until a condition holds.
pub(crate) async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LONG, "not within {LONG:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Returns the state letter of a process, if it exists.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

pub(crate) fn alive(pid: u32) -> bool {
    !matches!(state(pid), None | Some('Z'))
}

/// Lists the direct children of a process, with their states.
pub(crate) fn children(pid: u32) -> Vec<(u32, char)> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let list = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.extend(
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .filter_map(|pid| Some((pid, state(pid)?))),
        );
    }
    children
}

/// Lists the process ids that the programs under test wrote as names of files.
pub(crate) fn pids(dir: &Path) -> Vec<u32> {
    let names = fs::read_dir(dir).expect("the directory exists").flatten();
    names
        .filter_map(|entry| {
            entry
                .file_name()
                .to_str()?
                .rsplit_once("pid.")?
                .1
                .parse()
                .ok()
        })
        .collect()
}

/// Lists the live processes that have the directory as an argument.
pub(crate) fn processes_with_argument(dir: &Path) -> Vec<u32> {
    let mark = dir.to_str().expect("a plain path").as_bytes();
    let processes = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments
                .split(|byte| *byte == 0)
                .any(|argument| argument == mark)
                && alive(*pid)
        })
        .collect()
}

/// Reads the number in a counter file, which grows only while its process runs.
pub(crate) fn counter(dir: &Path, name: &str) -> u64 {
    fs::read_to_string(dir.join(name))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

/// Waits until this process has no children, dead or alive.
pub(crate) async fn assert_no_children_left() {
    wait_until("no child is left behind", || {
        children(std::process::id()).is_empty()
    })
    .await;
}
