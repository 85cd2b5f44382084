//! Processes as `/proc` shows them, and signals that cannot hit the wrong one.

mod children;
mod look;
mod stat;

use std::{fs, io};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

pub(crate) use children::children;
pub(crate) use look::look;
pub(crate) use stat::{Identity, Stat, State};

use crate::wire::Unkillable;

/// The id the kernel gave to this boot; empty where it cannot be read, which matches no boot.
#[must_use]
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Whether SIGSTOP waits for the process, which it does while a vfork parent sits in D: it will stop before it does
/// anything more.
pub(crate) fn stop_is_pending(pid: u32) -> bool {
    read_status(pid).is_some_and(|status| stat::stop_is_pending(&status))
}

/// Whether SIGSTOP or SIGKILL is pending: such a process runs no more code of its own.
pub(crate) fn halt_is_pending(pid: u32) -> bool {
    read_status(pid).is_some_and(|status| stat::halt_is_pending(&status))
}

fn read_status(pid: u32) -> Option<String> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    Some(String::from_utf8_lossy(&status).into_owned())
}

/// Sends a signal to the very process that was seen: a descriptor pins it, then parent and start time are compared
/// again. `Ok(false)` if it is gone or has another parent now.
///
/// # Errors
/// What the kernel says, for example that the process belongs to somebody else.
pub(crate) fn signal(seen: &Stat, signal: Signal) -> io::Result<bool> {
    let Some(pid) = raw(seen.id.pid) else {
        return Ok(false);
    };
    let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(descriptor) => descriptor,
        Err(rustix::io::Errno::SRCH) => return Ok(false),
        // No pidfd there (an old kernel, or no descriptor left): the check alone must do.
        Err(_) => {
            return match look(seen.id.pid) {
                Some(now) if now.same_place(seen) => {
                    sent(rustix::process::kill_process(pid, signal))
                }
                _ => Ok(false),
            };
        }
    };
    match look(seen.id.pid) {
        Some(now) if now.same_place(seen) => sent(pidfd_send_signal(descriptor, signal)),
        _ => Ok(false),
    }
}

fn sent(result: rustix::io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The id in the form system calls take.
pub(crate) fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// This process.
pub(crate) fn own_pid() -> u32 {
    std::process::id()
}

/// Everything below `root` that lives, parents first.
pub(crate) fn descendants(root: u32) -> Vec<Stat> {
    let mut found = Vec::new();
    let mut seen = std::collections::HashSet::from([root]);
    let mut next = std::collections::VecDeque::from([root]);
    while let Some(parent) = next.pop_front() {
        for pid in children(parent) {
            // The tree changes while it is walked: without this a process could be met twice.
            if let Some(stat) = look(pid)
                && stat.state != State::Zombie
                && seen.insert(pid)
            {
                found.push(stat);
                next.push_back(pid);
            }
        }
    }
    found
}

/// Returns the live ones of the processes, for a report. A dead one waits for its parent, not for
/// the kernel.
pub(crate) fn unkillable(pids: impl IntoIterator<Item = u32>) -> Vec<Unkillable> {
    pids.into_iter()
        .filter_map(look)
        .filter(|stat| stat.state != State::Zombie)
        .map(|stat| Unkillable {
            pid: stat.id.pid,
            command: stat.command,
            state: stat.letter,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// ENGINE A17.
    #[test]
    fn a_dead_child_that_is_not_reaped_yet_is_not_listed_as_left() {
        let mut child = Command::new("true")
            .stdin(Stdio::null())
            .spawn()
            .expect("true is there");
        let pid = child.id();
        while look(pid).is_some_and(|stat| stat.state != State::Zombie) {
            std::thread::yield_now();
        }
        let listed = unkillable([pid]);
        child.wait().expect("it is ours");
        assert_eq!(listed, []);
    }
}
