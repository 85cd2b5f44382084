//! Starts the CLI.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{fs::MetadataExt, process::CommandExt},
    },
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Access, access},
    io::Errno,
    process::{DumpableBehavior, geteuid, set_dumpable_behavior, setsid},
    stdio::{dup2_stderr, dup2_stdout},
};

use super::control::{Control, dev_null};
use crate::{
    process::{boot_id, look},
    sandbox::{Prepared, Sandbox},
    wire::{Action, Command, Event, Spec},
};

/// The pause between two attempts to start the CLI during a shortage.
const START_RETRY: Duration = Duration::from_millis(250);

/// When memory runs out the kernel takes a CLI or a tool of it, not the services (proc_pid_oom_score_adj(5), 1000 at most).
const OOM_SCORE_ADJ: &str = "500";

/// The child's error number for a sandbox that was refused. No other step of a start returns it.
const NO_SANDBOX: Errno = Errno::NOTRECOVERABLE;

pub(super) struct Spawned {
    pub(super) pid: u32,
    start_ticks: u64,
    /// What went wrong without harm to the execution.
    pub(super) problems: Vec<Event>,
    /// Commands that arrived before the CLI was started.
    pub(super) early: Vec<Command>,
}

impl Spawned {
    pub(super) fn event(&self) -> Event {
        Event::Spawned {
            pid: self.pid,
            start_ticks: self.start_ticks,
            boot_id: boot_id(),
        }
    }
}

/// Starts the program in a session and process group of its own, and in the sandbox if the spec has one. stdin is
/// the given descriptor; stdout and stderr are the runner's, which it then closes, or readers would
/// never see the end of file.
///
/// A shortage of processes, memory or descriptors may pass, and so may a program that is open for
/// writing. Both are waited out for the time that the spec gives. No process exists meanwhile, and only this execution waits. A terminate, a kill
/// or the end of claude-api ends the wait; other commands are kept for the CLI.
///
/// # Errors
/// A text that names the cause and the remedy.
pub(super) fn spawn(spec: &Spec, stdin: OwnedFd, control: &mut Control) -> Result<Spawned, String> {
    let program = spec.program.display();
    let give_up = Instant::now() + spec.start_patience;
    let mut early = Vec::new();
    let mut delayed = false;
    let pid = loop {
        let error = match attempt(spec, &stdin) {
            Ok(pid) => break pid,
            Err(error) if may_pass(&error) => error,
            Err(error) => return Err(explain(spec, &error)),
        };
        if Instant::now() >= give_up {
            let seconds = spec.start_patience.as_secs();
            let why = match Errno::from_io_error(&error) {
                Some(Errno::TXTBSY) => {
                    format!(
                        "the program was open for writing for {seconds} s: end its installation"
                    )
                }
                _ => format!(
                    "the machine was short of processes, memory or descriptors for {seconds} s: raise \
                     the limits of processes, memory and open files (CCB_PIDS, CCB_MEMORY)"
                ),
            };
            return Err(format!("cannot start {program}: {error}; {why}"));
        }
        if !delayed {
            delayed = true;
            control.send(&Event::warning(
                "start_delayed",
                format!("the CLI cannot be started yet: {error}; retrying"),
            ));
        }
        control.wait(START_RETRY);
        for command in control.receive() {
            let action = match command {
                Command::Terminate { .. } => Action::Terminate,
                Command::Kill => Action::Kill,
                Command::Run(_) => continue,
                Command::Pause | Command::Resume => {
                    early.push(command);
                    continue;
                }
            };
            control.send(&Event::Signalled { action });
            return Err(format!(
                "cannot start {program}: {error}; it was ended while the start was retried"
            ));
        }
        if control.ended() {
            return Err("claude-api is gone".to_owned());
        }
    };
    drop(stdin);
    let mut problems = Vec::new();
    if let Err(error) = let_go_of_output() {
        problems.push(Event::warning(
            "output_kept",
            format!("the runner could not close its copies of the CLI's output: {error}"),
        ));
    }
    if let Some(score) = oom_score(pid).filter(|score| score != OOM_SCORE_ADJ) {
        problems.push(Event::warning(
            "oom_score",
            format!("the CLI is not preferred when memory runs out: its oom_score_adj is {score}"),
        ));
    }
    // It is not reaped yet, so even one that has already ended is there.
    let start_ticks = look(pid).map_or(0, |stat| stat.id.start_ticks);
    Ok(Spawned {
        pid,
        start_ticks,
        problems,
        early,
    })
}

/// The CLI's process id. The `Child` is not kept: the runner reaps everything with one wait, and
/// dropping it does nothing to the process.
fn attempt(spec: &Spec, stdin: &OwnedFd) -> io::Result<u32> {
    let mut sandbox = spec.sandbox.as_ref().map(Sandbox::prepare).transpose()?;
    let mut command = std::process::Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.cwd)
        .stdin(Stdio::from(stdin.try_clone()?))
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit());
    let enter = move || {
        // A process group can be joined only from its own session (setpgid(2)): nobody joins claude-api's.
        setsid()?;
        prefer_when_memory_runs_out();
        // The parent gets only the number of an error from here.
        if sandbox.take().is_none_or(Prepared::enter) {
            Ok(())
        } else {
            Err(NO_SANDBOX.into())
        }
    };
    #[expect(
        unsafe_code,
        reason = "code between fork and exec has no safe interface"
    )]
    // SAFETY: the runner has one thread, so no lock is held by another one at the fork, and the
    // closure may allocate. Everything that it touches is its own copy.
    unsafe {
        command.pre_exec(enter);
    }
    Ok(command.spawn()?.id())
}

/// Has the kernel take this process before a service. Runs between fork and exec: afterwards the
/// program may be one that nobody can read, whose settings nobody can change. A failure is seen
/// from outside ([`oom_score`]).
fn prefer_when_memory_runs_out() {
    // The runner is not dumpable, so this copy of it could not write its own files in /proc
    // (proc(5)). If nobody may read the program, exec hides it again.
    let _ = set_dumpable_behavior(DumpableBehavior::Dumpable);
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
}

/// How much the kernel prefers a process when memory runs out; `None` when it is gone.
fn oom_score(pid: u32) -> Option<String> {
    let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).ok()?;
    Some(score.trim().to_owned())
}

/// Whether the error may pass: a shortage of descriptors, processes or memory (fork(2), pipe(2)), or
/// a program that is open for writing, because it is being installed (execve(2)).
fn may_pass(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        let passing = [
            Errno::MFILE,
            Errno::NFILE,
            Errno::AGAIN,
            Errno::NOMEM,
            Errno::TXTBSY,
        ];
        passing.contains(&errno)
    })
}

fn let_go_of_output() -> io::Result<()> {
    let null = dev_null()?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// `exec` says "no such file" for a missing directory, a missing program and a missing interpreter
/// alike, and "permission denied" for the directory and the program alike.
fn explain(spec: &Spec, error: &io::Error) -> String {
    let Spec { program, cwd, .. } = spec;
    let program = program.display();
    if Errno::from_io_error(error) == Some(NO_SANDBOX) {
        return format!(
            "cannot start {program}: the kernel refused its sandbox (a Landlock ruleset, of which \
             16 can be nested, or a seccomp filter); CLAUDE_API_SANDBOX=false starts it without"
        );
    }
    if let Some(problem) = cannot_enter(cwd) {
        let cwd = cwd.display();
        return format!("cannot start {program}: working directory {cwd}: {problem}");
    }
    if error.kind() == io::ErrorKind::NotFound && spec.program.is_file() {
        return format!(
            "cannot start {program}: the file is there, its interpreter or loader is not ({error})"
        );
    }
    // The program may be the CLI or a hook: the caller knows its setting.
    format!("cannot start {program}: {error}; check that this program exists and may be executed")
}

/// Explains why this process cannot enter a directory: the first part of the path that denies it,
/// and the remedy.
#[must_use]
pub fn cannot_enter(directory: &Path) -> Option<String> {
    let parts: Vec<_> = directory.ancestors().collect();
    for part in parts
        .into_iter()
        .rev()
        .filter(|part| !part.as_os_str().is_empty())
    {
        let shown = part.display();
        let metadata = match fs::metadata(part) {
            Ok(metadata) => metadata,
            Err(reason) => return Some(format!("{shown}: {reason}")),
        };
        if !metadata.is_dir() {
            return Some(format!("{shown} is not a directory"));
        }
        if access(part, Access::EXEC_OK).is_err() {
            let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
            let own = geteuid().as_raw();
            return Some(format!(
                "user {own} may not enter {shown}, which belongs to user {owner} \
                 (mode {mode:04o}); give it the right (chmod), or run the service as user {owner} (CCB_UID, CCB_GID)"
            ));
        }
    }
    None
}
