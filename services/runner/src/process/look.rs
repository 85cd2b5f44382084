//! One process, as `/proc` shows it now.

use std::fs;

use super::stat::{Stat, State};

/// The process as it is now; `None` if there is none.
///
/// A dead leader whose other threads live on looks like a zombie but is a live process: it is shown in the state of a
/// live thread.
pub(crate) fn look(pid: u32) -> Option<Stat> {
    let mut stat = read_stat(&format!("/proc/{pid}/stat"))?;
    if stat.state == State::Zombie && stat.threads > 1 {
        for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
            let path = thread.path().join("stat");
            if let Some(other) = path.to_str().and_then(read_stat)
                && other.state != State::Zombie
            {
                stat.state = other.state;
                break;
            }
        }
    }
    Some(stat)
}

fn read_stat(path: &str) -> Option<Stat> {
    // The name may hold any bytes, so it is not read as UTF-8.
    Stat::parse(&fs::read(path).ok()?)
}
