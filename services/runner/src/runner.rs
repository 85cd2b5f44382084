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
//!   children because this process is a child subreaper, so no walk is needed and ECHILD is the proof.
//!
//! The death of claude-api is seen as end of file on the control socket. Never PR_SET_PDEATHSIG: it fires when the
//! *thread* that spawned the runner ends, and tokio's pool threads end when idle.

mod control;
pub(crate) mod freeze;
mod reap;
mod spawn;
mod supervisor;
mod sweep;

use std::{io, os::unix::net::UnixStream, process::ExitCode};

use rustix::process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior};

use self::{control::Control, supervisor::Supervisor};
use crate::wire::{Command, Event};

/// The runner process. Call it before any async runtime or thread exists; its control socket is its stdin.
///
/// Returns when nothing of the execution is left (or the kernel will not let it die); exit code 70 if it could not do
/// its work at all, which claude-api sees as the end of the control socket before [`Event::Done`].
#[must_use]
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Before the spawn stderr is still the pipe to claude-api: this ends in the execution's stderr tail.
            tracing::error!(%error, "runner failed");
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
    let spawned = match spawn::spawn(&spec, stdin) {
        Ok(spawned) => spawned,
        Err(message) => {
            control.send_last(&Event::SpawnFailed { message });
            return Ok(());
        }
    };
    drop(spec);
    control.send(&spawned.event());
    if let Err(error) = hidden {
        control.send(&warning(
            "runner_readable",
            format!("tools of the same user can read the runner's memory: {error}"),
        ));
    }
    for problem in spawned.problems {
        control.send(&problem);
    }
    Supervisor::new(control, wakeup, spawned.pid).run()
}

fn warning(code: &str, message: String) -> Event {
    Event::Warning {
        code: code.to_owned(),
        message,
    }
}
