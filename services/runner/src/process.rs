//! Reading processes from `/proc`, and sending signals that cannot hit a later process with the
//! same id.

mod children;
mod read;
mod stat;

use std::{fs, io};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

pub(crate) use children::children;
pub(crate) use read::read_stat;
pub(crate) use stat::{Identity, Stat, State};

use crate::wire::Unkillable;

/// Returns the kernel's id of the present boot, to recognise whether a recorded process id can
/// still be the same process. Empty if it cannot be read, which matches no boot.
#[must_use]
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Whether SIGSTOP was sent to the process but has not stopped it yet, as for a vfork parent that
/// waits in state D. Such a process stops before it runs more code. False if it does not exist.
pub(crate) fn stop_is_pending(pid: u32) -> bool {
    read_status(pid).is_some_and(|status| stat::stop_is_pending(&status))
}

/// Whether SIGSTOP or SIGKILL was sent to the process but has no effect yet. Such a process runs no
/// more of its own code. False if it does not exist.
pub(crate) fn halt_is_pending(pid: u32) -> bool {
    read_status(pid).is_some_and(|status| stat::halt_is_pending(&status))
}

fn read_status(pid: u32) -> Option<String> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    Some(String::from_utf8_lossy(&status).into_owned())
}

/// Sends `signal` to exactly the process that was read as `target`: a pidfd pins the process, then
/// parent and start time are compared again. Returns false, and sends nothing, if the process ended
/// or has another parent now.
///
/// # Errors
/// The kernel's, for example if the process belongs to another user.
pub(crate) fn signal(target: &Stat, signal: Signal) -> io::Result<bool> {
    let Some(pid) = to_pid(target.id.pid) else {
        return Ok(false);
    };
    let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(descriptor) => descriptor,
        Err(rustix::io::Errno::SRCH) => return Ok(false),
        // Without a pidfd (an old kernel, or no free descriptor), rely on the comparison alone.
        Err(_) => {
            return match read_stat(target.id.pid) {
                Some(current) if current.is_same_with_parent(target) => {
                    was_sent(rustix::process::kill_process(pid, signal))
                }
                _ => Ok(false),
            };
        }
    };
    match read_stat(target.id.pid) {
        Some(current) if current.is_same_with_parent(target) => {
            was_sent(pidfd_send_signal(descriptor, signal))
        }
        _ => Ok(false),
    }
}

fn was_sent(result: rustix::io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Converts a process id for system calls; None if it is 0 or out of range.
pub(crate) fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Returns the id of this process.
pub(crate) fn own_pid() -> u32 {
    std::process::id()
}

/// Lists all live processes below the process `root`, without `root` itself, parents before their
/// children. Processes that start meanwhile may be missing.
pub(crate) fn descendants(root: u32) -> Vec<Stat> {
    let mut processes = Vec::new();
    let mut visited = std::collections::HashSet::from([root]);
    let mut next = std::collections::VecDeque::from([root]);
    while let Some(parent) = next.pop_front() {
        for pid in children(parent) {
            // The tree changes during the walk, so a process could be visited twice.
            if let Some(stat) = read_stat(pid)
                && stat.state != State::Zombie
                && visited.insert(pid)
            {
                processes.push(stat);
                next.push_back(pid);
            }
        }
    }
    processes
}

/// Describes the processes among `pids` that are still alive, for a report of processes that
/// survived SIGKILL. Dead ones are left out: they wait for their parent, not for the kernel.
pub(crate) fn unkillable(pids: impl IntoIterator<Item = u32>) -> Vec<Unkillable> {
    pids.into_iter()
        .filter_map(read_stat)
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

    #[test]
    fn an_unreaped_dead_child_is_not_listed_as_unkillable() {
        let mut child = Command::new("true")
            .stdin(Stdio::null())
            .spawn()
            .expect("true exists");
        let pid = child.id();
        while read_stat(pid).is_some_and(|stat| stat.state != State::Zombie) {
            std::thread::yield_now();
        }
        let listed = unkillable([pid]);
        child.wait().expect("own child");
        assert_eq!(listed, []);
    }
}
