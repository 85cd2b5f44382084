//! Measures the CPU time that an execution has used.

use std::time::Duration;

use crate::process::{descendants, read_stat};

/// Returns the CPU time (user and system) of the process `pid`, of every live process below it, and
/// of all children that these have reaped. Zero if there is no such process. A growing value shows
/// that an execution makes progress.
///
/// Pass the runner's process id ([`crate::CommandSender::runner_pid`]), not the CLI's. The runner
/// reaps orphans, so their time stays in the sum; its own time is a few milliseconds. A sum that
/// starts at the CLI lacks daemons that left the CLI.
///
/// The sum can fall a little, because the time of children is lost if their parent ignores SIGCHLD.
/// Compare with the highest value so far.
///
/// Blocks for about 140 µs per process.
#[must_use]
pub fn tree_cpu(pid: u32) -> Duration {
    let walk = || {
        read_stat(pid)
            .into_iter()
            .chain(descendants(pid))
            .map(|stat| stat.cpu_ticks)
            .sum::<u64>()
    };
    // A process that ends after its parent was read and before itself is missing in one walk; in
    // the next walk, its time is in its parent.
    let ticks = walk().max(walk());
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_millis(ticks.saturating_mul(1_000) / per_second)
}
