//! Reading the present state of a process from `/proc`.

use std::fs;

use super::stat::{Stat, State};

/// Reads the present state, parent and start time of the process `pid` from `/proc/PID/stat`.
/// `None` if the process does not exist or the file is malformed.
///
/// A process whose main thread has ended while other threads live looks like a zombie but is alive.
/// For such a process, this returns the state of a live thread.
pub(crate) fn read_stat(pid: u32) -> Option<Stat> {
    let mut stat = read_stat_file(&format!("/proc/{pid}/stat"))?;
    if stat.state == State::Zombie && stat.threads > 1 {
        for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
            let path = thread.path().join("stat");
            if let Some(other) = path.to_str().and_then(read_stat_file)
                && other.state != State::Zombie
            {
                stat.state = other.state;
                break;
            }
        }
    }
    Some(stat)
}

/// Reads and parses one `stat` file of a process or a thread. `None` if it does not exist or is
/// malformed.
fn read_stat_file(path: &str) -> Option<Stat> {
    // Read bytes: the name in the file need not be UTF-8.
    Stat::parse(&fs::read(path).ok()?)
}
