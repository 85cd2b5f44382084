//! The runner process, of which each execution has one. It is started as `claude-api runner`, and
//! has one thread and no async runtime.
//!
//! ```text
//! waiting for the spec ──▶ alive ──────────────────────▶ sweeping ──▶ Done, exit
//!        │                 │  running ⇄ stopping          ▲
//!        │                 │     ▲          │             │ the CLI was reaped, the kill grace
//!        ▼                 │     └─ paused ◀┘             │ ended, a kill was requested, or
//!   SpawnFailed, exit      └──────────────────────────────┘ claude-api ended
//! ```
//!
//! * alive: reaps dead children, including orphans of the CLI, and carries out commands
//!   immediately.
//! * sweeping: kills the direct children with SIGKILL and reaps them, repeatedly, until waitpid(2)
//!   returns ECHILD. Orphans become direct children because the runner is a child subreaper, so
//!   ECHILD proves that no process is left. A tree that forks faster than it is killed is suspended
//!   first (`sweep.rs`).
//!
//! The runner notices the death of claude-api as end of file on the control socket.
//! `PR_SET_PDEATHSIG` (prctl(2)) must not be used for this. It sends its signal when the *thread*
//! that spawned the runner ends, and Tokio's pool threads end when they are idle.

mod control;
pub(crate) mod live_table;
mod reap;
mod spawn;
mod supervisor;

use std::{
    io::{self, Write},
    os::unix::net::UnixStream,
    process::ExitCode,
    sync::Arc,
};

use rustix::{
    io::fcntl_dupfd_cloexec,
    net::SendFlags,
    process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior},
    stdio::stdin,
};

pub use self::spawn::explain_inaccessible;
use self::{
    control::{ControlSocket, send},
    supervisor::Supervisor,
};
use crate::wire::{Command, Event};

/// Runs this program as a runner process: starts one program (normally the CLI), carries out
/// commands of claude-api, and ends when all of the program's processes have ended. Stdin must be
/// the control socket to claude-api. Call this before any async runtime or thread exists.
///
/// Returns when no process of the program is left or the rest cannot be killed. Exit code 70
/// reports a failure of the runner itself. A runner has no log. It sends the reason to claude-api
/// as [`Event::Failed`], and writes it to stderr, which is the execution's stderr until the CLI was
/// started.
#[must_use]
pub fn main() -> ExitCode {
    // Copy the socket before `ControlSocket` takes it: the copy must outlive every failure.
    let socket = fcntl_dupfd_cloexec(stdin(), 3).ok();
    let report = move |message: String| {
        let _ = writeln!(io::stderr(), "runner failed: {message}");
        if let Some(socket) = &socket {
            send(socket, &Event::Failed { message }, SendFlags::DONTWAIT);
        }
    };
    let report = Arc::new(report);
    let report_panic = Arc::clone(&report);
    std::panic::set_hook(Box::new(move |panic| report_panic(panic.to_string())));
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(error.to_string());
            ExitCode::from(70)
        }
    }
}

/// Receives the spec from claude-api, starts the program, and supervises its processes to the end.
/// `Ok` also if the program could not be started or claude-api closed the socket before sending a
/// spec.
///
/// # Errors
/// The reason why the runner cannot do its work, for example a system call that failed.
fn run() -> io::Result<()> {
    let mut control = ControlSocket::from_stdin()?;
    let (wakeup, write_end) = UnixStream::pair()?;
    wakeup.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, write_end)?;
    // Otherwise orphans would become children of claude-api, mixed with those of other executions.
    set_child_subreaper(Some(getpid()))?;
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);

    let Some((Command::Run(spec), stdin)) = control.receive_spec()? else {
        return Ok(());
    };
    let Some(stdin) = stdin else {
        return Err(io::Error::other("the spec arrived without the CLI's stdin"));
    };
    let spawned = match spawn::spawn(&spec, stdin, &mut control) {
        Ok(spawned) => spawned,
        Err(message) => {
            control.send_last(&Event::SpawnFailed { message });
            return Ok(());
        }
    };
    drop(spec);
    control.send(&spawned.event());
    if let Err(error) = hidden {
        control.send(&Event::warning(
            "runner_readable",
            format!("tools of the same user can read the runner's memory: {error}"),
        ));
    }
    for problem in spawned.problems {
        control.send(&problem);
    }
    let mut supervisor = Supervisor::new(control, wakeup, spawned.pid);
    for command in spawned.early_commands {
        supervisor.handle(command);
    }
    supervisor.run()
}
