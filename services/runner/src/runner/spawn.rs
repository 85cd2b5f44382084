//! Starts the CLI in its sandbox, and retries while the machine is short of processes, memory or
//! descriptors.

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

use super::control::{ControlSocket, dev_null};
use crate::{
    process::{boot_id, read_stat},
    sandbox::{Prepared, Sandbox},
    wire::{Action, Command, Event, Spec},
};

/// The wait between two attempts to start the CLI while the machine is short of processes, memory
/// or descriptors (250 ms).
const START_RETRY: Duration = Duration::from_millis(250);

/// The OOM score adjustment of the CLI and its tools (proc_pid_oom_score_adj(5); the maximum is
/// 1000). When memory runs out, the kernel then kills one of them rather than the services.
const OOM_SCORE_ADJ: &str = "500";

/// The error number (ENOTRECOVERABLE) by which a forked child reports that it could not enter its
/// sandbox. No other step of a start fails with this number.
const NO_SANDBOX: Errno = Errno::NOTRECOVERABLE;

/// A CLI that was started, with the warnings and commands that were collected during the start.
pub(super) struct Spawned {
    /// The process id of the CLI.
    pub(super) pid: u32,
    /// The start time of the CLI, in clock ticks since the boot; 0 if it could not be read.
    start_ticks: u64,
    /// The warnings to send to claude-api about problems that do not affect the execution.
    pub(super) problems: Vec<Event>,
    /// The pauses and resumes that arrived before the CLI was started. They are carried out now, in
    /// order.
    pub(super) early_commands: Vec<Command>,
}

impl Spawned {
    /// Returns the [`Event::Spawned`] that reports this start to claude-api.
    pub(super) fn event(&self) -> Event {
        Event::Spawned {
            pid: self.pid,
            start_ticks: self.start_ticks,
            boot_id: boot_id(),
        }
    }
}

/// Starts the program of `spec` in its own session and process group, and in the sandbox if the
/// spec has one. `stdin` becomes its stdin; it inherits stdout and stderr from the runner. The
/// runner then closes its own copies of both, because readers would otherwise never see the end of
/// file.
///
/// A shortage of processes, memory or descriptors is temporary, and so is a program file that is
/// open for writing (ETXTBSY). Both are retried for `spec.start_patience`. During the retries no
/// process of the CLI exists, and only this execution waits. A terminate, a kill or the end of
/// claude-api ends the retries; pauses and resumes are kept for the CLI.
///
/// # Errors
/// A sentence for the client with the cause and what to do.
pub(super) fn spawn(
    spec: &Spec,
    stdin: OwnedFd,
    control: &mut ControlSocket,
) -> Result<Spawned, String> {
    let program = spec.program.display();
    let deadline = Instant::now() + spec.start_patience;
    let mut early_commands = Vec::new();
    let mut delayed = false;
    let pid = loop {
        let error = match attempt(spec, &stdin) {
            Ok(pid) => break pid,
            Err(error) if is_temporary(&error) => error,
            Err(error) => return Err(explain(spec, &error)),
        };
        if Instant::now() >= deadline {
            let seconds = spec.start_patience.as_secs();
            let remedy = match Errno::from_io_error(&error) {
                Some(Errno::TXTBSY) => {
                    format!(
                        "the program was open for writing for {seconds} s: finish its installation"
                    )
                }
                _ => format!(
                    "the machine was short of processes, memory or descriptors for {seconds} s: \
                     raise the limits of processes, memory and open files (CCB_PIDS, CCB_MEMORY)"
                ),
            };
            return Err(format!("cannot start {program}: {error}; {remedy}"));
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
                    early_commands.push(command);
                    continue;
                }
            };
            control.send(&Event::Signalled { action });
            return Err(format!(
                "cannot start {program}: {error}; the execution was ended while the start was \
                 retried"
            ));
        }
        if control.ended() {
            return Err("claude-api ended before the CLI was started".to_owned());
        }
    };
    drop(stdin);
    let mut problems = Vec::new();
    if let Err(error) = close_output() {
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
    // The CLI is not reaped yet, so `/proc` shows it even if it has already ended.
    let start_ticks = read_stat(pid).map_or(0, |stat| stat.id.start_ticks);
    Ok(Spawned {
        pid,
        start_ticks,
        problems,
        early_commands,
    })
}

/// Tries once to start the CLI, and returns its process id. The `Child` is dropped, which does not
/// affect the process; the runner reaps all its children in the same way.
///
/// # Errors
/// The error of `fork`, `exec` or a step in between. `NO_SANDBOX` if the kernel refused the
/// sandbox.
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
        // A process group can be joined only from its own session (setpgid(2)), so no tool can join
        // the group of claude-api.
        setsid()?;
        prefer_when_memory_runs_out();
        // The parent receives only an error number from this closure.
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
    // SAFETY: the runner has one thread, so no other thread holds a lock at the fork, and the
    // closure may allocate. The closure accesses only its own copies.
    unsafe {
        command.pre_exec(enter);
    }
    Ok(command.spawn()?.id())
}

/// Makes the kernel kill the calling process before a service when memory runs out. Runs in the
/// forked child before exec, because the settings of an unreadable program cannot be changed after
/// exec. Errors are ignored; the runner checks the result from outside with [`oom_score`].
fn prefer_when_memory_runs_out() {
    // The runner is not dumpable, so its forked copy could not write its own files in /proc
    // (proc(5)). If the program is unreadable, exec makes the process non-dumpable again.
    let _ = set_dumpable_behavior(DumpableBehavior::Dumpable);
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
}

/// Reads the OOM score adjustment of a process (its `oom_score_adj`), which says how willingly the
/// kernel kills it when memory runs out. `None` if the process has ended.
fn oom_score(pid: u32) -> Option<String> {
    let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).ok()?;
    Some(score.trim().to_owned())
}

/// Whether a failed start should be retried. True for a shortage of descriptors (EMFILE, ENFILE),
/// processes (EAGAIN) or memory (ENOMEM), and for a program that is open for writing because it is
/// being installed (ETXTBSY).
fn is_temporary(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        let temporary = [
            Errno::MFILE,
            Errno::NFILE,
            Errno::AGAIN,
            Errno::NOMEM,
            Errno::TXTBSY,
        ];
        temporary.contains(&errno)
    })
}

/// Replaces the runner's own stdout and stderr, which the CLI has inherited, by `/dev/null`.
/// Readers of the CLI's output then see the end of file when the CLI closes it.
fn close_output() -> io::Result<()> {
    let null = dev_null()?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// Returns a sentence for the client that explains why the program could not be started. The error
/// of `exec` does not distinguish the causes. ENOENT can mean a missing directory, program or
/// interpreter, and EACCES can mean the directory or the program.
fn explain(spec: &Spec, error: &io::Error) -> String {
    let Spec { program, cwd, .. } = spec;
    let program = program.display();
    if Errno::from_io_error(error) == Some(NO_SANDBOX) {
        return format!(
            "cannot start {program}: the kernel refused its sandbox (a Landlock ruleset, of which \
             16 can be nested, or a seccomp filter); CLAUDE_API_SANDBOX=false starts it without \
             a sandbox"
        );
    }
    if let Some(problem) = explain_inaccessible(cwd) {
        let cwd = cwd.display();
        return format!("cannot start {program}: working directory {cwd}: {problem}");
    }
    if error.kind() == io::ErrorKind::NotFound && spec.program.is_file() {
        return format!(
            "cannot start {program}: the file exists, but its interpreter or loader does not \
             ({error})"
        );
    }
    // The program may be the CLI or a hook; the caller names the setting.
    format!("cannot start {program}: {error}; check that this program exists and may be executed")
}

/// Explains why this process cannot enter `directory`: names the first part of the path that is
/// missing, is no directory or denies access, and what to do. `None` if the directory can be
/// entered.
#[must_use]
pub fn explain_inaccessible(directory: &Path) -> Option<String> {
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
                 (mode {mode:04o}); change its mode (chmod), or run the service as user {owner} \
                 (CCB_UID, CCB_GID)"
            ));
        }
    }
    None
}
