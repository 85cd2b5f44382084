//! Reaps dead child processes, which means that it collects how they ended (waitpid(2)), so that
//! they do not stay zombies.

use rustix::{
    io::Errno,
    process::{WaitOptions, WaitStatus, wait},
};

/// How a process ended: with an exit code or by a signal. Exactly one of the two fields is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// The exit code; `None` if a signal ended the process.
    pub(super) code: Option<i32>,
    /// The number of the signal that ended the process, such as 9 for SIGKILL; `None` if it exited
    /// itself.
    pub(super) signal: Option<i32>,
}

/// The result of one attempt to reap a dead child of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaped {
    /// A dead child with this id was reaped.
    Child { pid: u32, ending: Ending },
    /// This process has children, but all of them are alive.
    NoneDead,
    /// This process has no children at all (ECHILD).
    NoneLeft,
}

/// Reaps one dead child of this process, whatever its id, without waiting. Returns how it ended, or
/// that no child is dead or left.
// The lint protects claude-api, where this call would steal the runners of other executions. All
// children of a runner belong to its own execution, and it must reap adopted ones with unknown ids.
#[allow(clippy::disallowed_methods)]
pub(super) fn reap() -> Reaped {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let pid = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or_default();
                return Reaped::Child {
                    pid,
                    ending: ending(status),
                };
            }
            Ok(None) => return Reaped::NoneDead,
            Err(Errno::INTR) => {}
            Err(_) => return Reaped::NoneLeft,
        }
    }
}

/// Converts the status of wait(2) into an exit code or a signal number.
fn ending(status: WaitStatus) -> Ending {
    Ending {
        code: status.exit_status(),
        signal: status.terminating_signal(),
    }
}
