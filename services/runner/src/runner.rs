//! The runner process: one per execution, started as `claude-api runner`, single-threaded, no async runtime.
//!
//! ```text
//! waiting for the spec ──▶ alive ──────────────────────────▶ sweeping ──▶ Done, exit
//!        │                 │  running ⇄ walking to a stop     ▲
//!        │                 │     ▲            │               │ the CLI was reaped, the kill grace is over,
//!        ▼                 │     └── paused ◀─┘               │ kill was asked, or claude-api is gone
//!   SpawnFailed, exit      └──────────────────────────────────┘
//! ```
//!
//! * alive: orphans are reaped as they come; commands are obeyed at once.
//! * sweeping: SIGKILL to the direct children, reap, again, until `waitpid` says ECHILD. Orphans arrive as direct
//!   children because this process is a child subreaper, so ECHILD is the proof. A tree that forks
//!   faster than this kills it is stopped first: see `sweep.rs`.
//!
//! The death of claude-api is seen as end of file on the control socket. Never PR_SET_PDEATHSIG: it fires when the
//! *thread* that spawned the runner ends, and tokio's pool threads end when idle.

mod control;
pub(crate) mod freeze;
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

pub use self::spawn::cannot_enter;
use self::{
    control::{Control, send},
    supervisor::Supervisor,
};
use crate::wire::{Command, Event};

/// The runner process. Call it before any async runtime or thread exists; its control socket is its stdin.
///
/// Runs one execution; returns when no process of it is left, or the rest cannot be killed. Returns
/// exit code 70 on a failure of the runner itself. A runner has no log: it sends the reason to
/// claude-api as [`Event::Failed`], and to stderr, which is the execution's until the CLI was
/// started.
#[must_use]
pub fn main() -> ExitCode {
    // A copy made before `Control` takes the socket: it must outlive every failure.
    let socket = fcntl_dupfd_cloexec(stdin(), 3).ok();
    let report = move |message: String| {
        let _ = writeln!(io::stderr(), "runner failed: {message}");
        if let Some(socket) = &socket {
            send(socket, &Event::Failed { message }, SendFlags::DONTWAIT);
        }
    };
    let report = Arc::new(report);
    let of_panics = Arc::clone(&report);
    std::panic::set_hook(Box::new(move |panic| of_panics(panic.to_string())));
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(error.to_string());
            ExitCode::from(70)
        }
    }
}

fn run() -> io::Result<()> {
    let mut control = Control::from_stdin()?;
    let (wakeup, write_end) = UnixStream::pair()?;
    wakeup.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, write_end)?;
    // Without this an orphan would go to claude-api, and one execution's orphans could not be told from another's.
    set_child_subreaper(Some(getpid()))?;
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);

    let Some((Command::Run(spec), stdin)) = control.receive_spec()? else {
        return Ok(());
    };
    let Some(stdin) = stdin else {
        return Err(io::Error::other("the spec came without the CLI's stdin"));
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
    for command in spawned.early {
        supervisor.obey(command);
    }
    supervisor.run()
}
