//! Waiting for whatever has ended.

use rustix::{
    io::Errno,
    process::{WaitOptions, WaitStatus, wait},
};

/// How a process ended; exactly one of the two is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
}

/// What one wait found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaped {
    One {
        pid: u32,
        ending: Ending,
    },
    /// There are children, none of them dead.
    NoneDead,
    /// There is no child at all (ECHILD).
    NoneLeft,
}

/// Reaps one dead child without waiting.
// The lint is for claude-api, where this would steal other executions' runners. All children of a runner are its own
// execution's, and it must reap adopted ones whose ids it never heard of.
#[allow(clippy::disallowed_methods)]
pub(super) fn reap() -> Reaped {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let pid = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or_default();
                return Reaped::One {
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
