//! Kills and reaps what dead runners left to this process.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Signal, WaitOptions, kill_process, waitpid};

use super::registry;
use crate::{
    process::{children, own_pid, raw, unkillable},
    wire::Unkillable,
};

/// How long a sweep takes at most: an execution whose runner died is recorded within 5 s.
const LIMIT: Duration = Duration::from_secs(5);

/// Blocks until no orphan is left, or for the limit.
pub(super) fn sweep() -> Vec<Unkillable> {
    let begun = Instant::now();
    let mut rounds = 0_u64;
    loop {
        let left = round();
        if left.is_empty() {
            return Vec::new();
        }
        if begun.elapsed() >= LIMIT {
            return unkillable(left);
        }
        rounds += 1;
        thread::sleep(Duration::from_millis(rounds.min(20)));
    }
}

/// SIGKILL and reaping once; the orphans there were, reaped or not: what they leave comes to us only now, so only a
/// round that finds none is the end.
///
/// All under the lock: an id that is our unreaped child and no runner cannot become a runner's meanwhile.
fn round() -> Vec<u32> {
    let live = registry::lock();
    let orphans: Vec<u32> = children(own_pid())
        .into_iter()
        .filter(|pid| !live.contains(*pid))
        .collect();
    for pid in orphans.iter().copied().filter_map(raw) {
        let _ = kill_process(pid, Signal::KILL);
        // Usually too early for this round's own kill, and right for the last one's.
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
    orphans
}
