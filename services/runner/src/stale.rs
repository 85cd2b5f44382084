//! Kills processes that an earlier run of claude-api left behind. This happens if both claude-api
//! and a runner were killed.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    process::{Identity, State, boot_id, descendants, read_stat, signal, unkillable},
    runner::live_table::LiveTable,
    stop::{Root, RoundResult, StopWalk},
    wire::Unkillable,
};

/// How long the processes of an earlier run are being suspended before they are killed anyway (1
/// s). A suspended process cannot escape by forking.
const STOP_LIMIT: Duration = Duration::from_secs(1);
/// How long killed processes may take to die before they count as unkillable (2 s).
const DEATH_LIMIT: Duration = Duration::from_secs(2);

/// The result of [`sweep_stale`]: the processes of an earlier run of claude-api that were found.
/// Both fields are empty if no process was left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaleSweep {
    /// The number of processes that were sent SIGKILL.
    pub killed: usize,
    /// The processes that were still alive 2 s after SIGKILL; normally none.
    pub unkillable: Vec<Unkillable>,
}

/// Kills the CLI that an earlier run of claude-api started and left behind, and every process below
/// it. `pid`, `start_ticks` (clock ticks since the boot) and `boot` identify the CLI; they come
/// from its [`crate::Event::Spawned`]. Does nothing if the process has ended or the machine was
/// restarted, even if another process has the same id now.
///
/// The processes are suspended first, so that none escapes while they are killed. A process that
/// left the tree earlier, because its parent died, cannot be recognised and stays alive.
///
/// Blocks for up to 3 s, so call this on a thread that may block.
#[must_use]
pub fn sweep_stale(pid: u32, start_ticks: u64, boot: &str) -> StaleSweep {
    let cli = Identity { pid, start_ticks };
    let is_alive = |id: Identity| {
        read_stat(id.pid).is_some_and(|stat| stat.id == id && stat.state != State::Zombie)
    };
    if boot.is_empty() || boot != boot_id() || !is_alive(cli) {
        return StaleSweep::default();
    }
    let begun = Instant::now();
    let mut walk = StopWalk::default();
    while begun.elapsed() < STOP_LIMIT && is_alive(cli) {
        if let RoundResult::Stopped { .. } =
            walk.round(Root::With(pid), &mut LiveTable::without_reaping())
        {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    let mut tree: Vec<_> = read_stat(pid)
        .filter(|stat| stat.id == cli)
        .into_iter()
        .collect();
    tree.extend(descendants(pid));
    // Kill from the leaves: the children of a dead parent would get another parent.
    let killed = tree
        .iter()
        .rev()
        .filter(|process| matches!(signal(process, Signal::KILL), Ok(true)))
        .count();
    let begun = Instant::now();
    while tree.iter().any(|process| is_alive(process.id)) && begun.elapsed() < DEATH_LIMIT {
        thread::sleep(Duration::from_millis(2));
    }
    let survivors = tree
        .iter()
        .map(|process| process.id)
        .filter(|id| is_alive(*id))
        .map(|id| id.pid);
    StaleSweep {
        killed,
        unkillable: unkillable(survivors),
    }
}
