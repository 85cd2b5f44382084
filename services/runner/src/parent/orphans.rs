//! Kills and reaps what dead runners left to this process.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use rustix::process::{WaitOptions, waitpid};

use super::registry;
use crate::{
    process::{children, descendants, own_pid, raw, unkillable},
    runner::freeze::LiveTable,
    stop::{Look, Table},
    sweep::{KillTable, Sweep},
    wire::Unkillable,
};

/// Allows one sweep at a time, so that no other sweep reaps an orphan between a look at it and a
/// signal.
///
/// - Taken when: a sweep begins, on a thread that may block; held for some milliseconds, 60 s at
///   most.
/// - Who waits behind whom: sweeps wait for each other. They would wait for the same orphans
///   anyway, because an orphan's execution is unknown.
/// - The other direction: a sweep sends nothing.
static SWEEPING: Mutex<()> = Mutex::new(());

/// Blocks until no orphan is left, or what is left cannot be killed.
pub(super) fn sweep() -> Vec<Unkillable> {
    let _one = SWEEPING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut sweep = Sweep::new(Instant::now());
    let mut table = Orphans(LiveTable::reaping(reap));
    loop {
        reap();
        // Reaping an orphan makes its children children of this process: only a look that finds
        // none ends the sweep.
        let left = orphans();
        if left.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        if sweep.gives_up(now) {
            let below = left.iter().flat_map(|pid| descendants(*pid));
            let below: Vec<u32> = below.map(|stat| stat.id.pid).collect();
            return unkillable(left.into_iter().chain(below));
        }
        thread::sleep(sweep.round(now, own_pid(), &mut table));
    }
}

/// Reaps the orphans that are dead already, as an init does. A sweep that is under way does it
/// itself.
pub(super) fn reap_dead() {
    if let Ok(_one) = SWEEPING.try_lock() {
        reap();
    }
}

/// Lists the children that are no live runners.
///
/// Under the lock: a child that is no runner now cannot become one, because its id is taken until
/// it is reaped here.
fn orphans() -> Vec<u32> {
    let live = registry::lock();
    let children = children(own_pid()).into_iter();
    children.filter(|pid| !live.contains(*pid)).collect()
}

/// Reaps dead orphans by their ids: a wait for any child would steal tokio's children.
fn reap() -> usize {
    let dead = |pid: &u32| {
        raw(*pid).is_some_and(|pid| matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(Some(_))))
    };
    orphans().iter().filter(|pid| dead(pid)).count()
}

/// The process table below this process, its live runners left out.
struct Orphans(LiveTable<fn() -> usize>);

impl Table for Orphans {
    fn children(&mut self, parent: u32) -> Vec<u32> {
        if parent == own_pid() {
            orphans()
        } else {
            self.0.children(parent)
        }
    }

    fn look(&mut self, pid: u32) -> Option<Look> {
        self.0.look(pid)
    }

    fn stop(&mut self, seen: &Look) {
        self.0.stop(seen);
    }

    fn reap(&mut self) -> usize {
        self.0.reap()
    }
}

impl KillTable for Orphans {
    fn kill_child(&mut self, pid: u32) {
        self.0.kill_child(pid);
    }

    fn kill(&mut self, seen: &Look) {
        self.0.kill(seen);
    }
}
