//! CPU time of a tree of processes.

use std::time::Duration;

use crate::process::{descendants, look};

/// The user and system time of `pid`, of every live process below it, and of all children these have reaped.
///
/// Give it the runner ([`crate::Control::runner_pid`]): the runner reaps orphans, so their time stays in the sum and it
/// does not fall when a tool ends; its own share is a few milliseconds. Below the CLI alone, a daemon that left it is
/// not seen. It can still fall a little, as children of a parent that ignores SIGCHLD are lost for good: compare with the
/// highest value so far. Zero if there is no such process.
///
/// Blocks for about 140 µs a process.
#[must_use]
pub fn tree_cpu(pid: u32) -> Duration {
    let walk = || {
        look(pid)
            .into_iter()
            .chain(descendants(pid))
            .map(|stat| stat.cpu_ticks)
            .sum::<u64>()
    };
    // One that ends between the looks at its parent and at itself is in neither; the next walk has it in its parent.
    let ticks = walk().max(walk());
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_millis(ticks.saturating_mul(1_000) / per_second)
}
