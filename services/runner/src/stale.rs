//! What an earlier run of claude-api left behind when both it and a runner were killed.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    process::{Identity, State, boot_id, descendants, look, signal, unkillable},
    runner::freeze::LiveTable,
    stop::{Root, StopWalk, Verdict},
    wire::Unkillable,
};

/// How long the tree may take to stand still before it is killed anyhow.
const FREEZE_LIMIT: Duration = Duration::from_secs(1);
/// How long a killed process may take to end before it counts as unkillable.
const DEATH_LIMIT: Duration = Duration::from_secs(2);

/// What [`sweep_stale`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaleSweep {
    /// How many processes were sent SIGKILL.
    pub killed: usize,
    /// What was still there after 2 s.
    pub unkillable: Vec<Unkillable>,
}

/// Kills an earlier run's CLI and everything below it, if `pid` still is that process: same start time (clock ticks
/// since the boot, as [`crate::Event::Spawned`] said), same boot. Else it touches nothing.
///
/// The tree is stopped first, so that nothing escapes while it is killed from the top. A process that had left the tree
/// before (its parent is dead) cannot be told from a stranger and is not found.
///
/// Blocks for up to 3 s: call it off the async threads.
#[must_use]
pub fn sweep_stale(pid: u32, start_ticks: u64, boot: &str) -> StaleSweep {
    let wanted = Identity { pid, start_ticks };
    let same =
        |id: Identity| look(id.pid).is_some_and(|now| now.id == id && now.state != State::Zombie);
    if boot.is_empty() || boot != boot_id() || !same(wanted) {
        return StaleSweep::default();
    }
    let begun = Instant::now();
    let mut walk = StopWalk::default();
    while begun.elapsed() < FREEZE_LIMIT && same(wanted) {
        if let Verdict::Still { .. } = walk.round(Root::With(pid), &mut LiveTable::watching()) {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    let mut tree: Vec<_> = look(pid)
        .filter(|now| now.id == wanted)
        .into_iter()
        .collect();
    tree.extend(descendants(pid));
    // From the leaves: a parent that dies first would move its children away under our hands.
    let killed = tree
        .iter()
        .rev()
        .filter(|process| matches!(signal(process, Signal::KILL), Ok(true)))
        .count();
    let begun = Instant::now();
    while tree.iter().any(|process| same(process.id)) && begun.elapsed() < DEATH_LIMIT {
        thread::sleep(Duration::from_millis(2));
    }
    let left = tree
        .iter()
        .map(|process| process.id)
        .filter(|id| same(*id))
        .map(|id| id.pid);
    StaleSweep {
        killed,
        unkillable: unkillable(left),
    }
}
