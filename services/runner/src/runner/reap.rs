//! Reaping dead children, that is, collecting how they ended (waitpid(2)).

use rustix::{
    io::Errno,
    process::{WaitOptions, WaitStatus, wait},
};

/// How a process ended: with an exit code or by a signal. Exactly one of the two is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
}

/// The result of [`reap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaped {
    /// A dead child was reaped.
    Child { pid: u32, ending: Ending },
    /// There are children, and none of them is dead.
    NoneDead,
    /// There is no child at all (ECHILD).
    NoneLeft,
}

/// Reaps one dead child of any id, without waiting, and returns how it ended.
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

fn ending(status: WaitStatus) -> Ending {
    Ending {
        code: status.exit_status(),
        signal: status.terminating_signal(),
    }
}
