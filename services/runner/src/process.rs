//! Reads processes from `/proc`, and sends them signals in a way that cannot hit a later process
//! with the same id.

mod children;
mod read;
mod stat;

use std::{fs, io};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

pub(crate) use children::children;
pub(crate) use read::read_stat;
pub(crate) use stat::{Identity, Stat, State};

use crate::wire::Unkillable;

/// Returns the kernel's random id of the present boot. With it, a caller recognises whether a
/// process id that was recorded earlier can still be the same process. Empty if it cannot be read;
/// an empty id counts as a different boot.
#[must_use]
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Whether SIGSTOP was sent to the process but has not stopped it yet. An example is a vfork
/// parent, which waits uninterruptibly (state D) until its child calls exec. Such a process stops
/// before it runs more code. False if the process does not exist.
pub(crate) fn stop_is_pending(pid: u32) -> bool {
    read_status(pid).is_some_and(|status| stat::stop_is_pending(&status))
}

/// Whether SIGSTOP or SIGKILL was sent to the process but has had no effect yet. Such a process
/// runs no more of its own code. False if the process does not exist.
pub(crate) fn halt_is_pending(pid: u32) -> bool {
    read_status(pid).is_some_and(|status| stat::halt_is_pending(&status))
}

/// Reads `/proc/PID/status` of the process. `None` if it does not exist.
fn read_status(pid: u32) -> Option<String> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    Some(String::from_utf8_lossy(&status).into_owned())
}

/// Sends `signal` to exactly the process that was read as `target`, never to a later process with
/// the same id. A pidfd pins the process; then its parent and start time are compared with
/// `target`. Returns true if the signal was sent, and false if the process has ended or has another
/// parent now.
///
/// # Errors
/// The error of the operating system, for example EPERM if the process belongs to another user.
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

/// Converts the result of a kill: true if it was sent, and false if the process does not exist
/// (ESRCH).
fn was_sent(result: rustix::io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Converts a process id into the type that system calls need. `None` if it is 0 or larger than an
/// `i32`.
pub(crate) fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Returns the process id of the calling process.
pub(crate) fn own_pid() -> u32 {
    std::process::id()
}

/// Lists all live processes below the process `root`: its children, their children, and so on.
/// `root` itself and zombies are not listed, and parents come before their children. Processes that
/// start during the call may be missing.
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
/// survived SIGKILL. Zombies are left out, because they are dead and only wait for their parent.
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
