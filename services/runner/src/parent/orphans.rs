//! Kills and reaps orphans in claude-api. Orphans are processes whose runner has died, which makes
//! them children of claude-api.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use rustix::process::{WaitOptions, waitpid};

use super::registry;
use crate::{
    process::{children, descendants, own_pid, to_pid, unkillable},
    runner::live_table::LiveTable,
    stop::{Observation, Table},
    sweep::{KillTable, Sweep},
    wire::Unkillable,
};

/// A lock that allows one sweep (killing of all orphans) at a time, so that no other sweep reaps an
/// orphan between reading and signalling it.
///
/// - Acquired at the start of a sweep, on a thread that may block; held for some milliseconds, at
///   most 60 s.
/// - Order: sweeps wait for each other. They would wait for the same orphans anyway, because an
///   orphan's execution is unknown.
/// - Backpressure: none, because a sweep sends nothing.
static SWEEPING: Mutex<()> = Mutex::new(());

/// Kills (SIGKILL) and reaps all processes that dead runners left to this process. Blocks until
/// none is left or the rest cannot be killed, at most 60 s. Returns the processes that survived;
/// normally none.
pub(super) fn sweep() -> Vec<Unkillable> {
    let _guard = SWEEPING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut sweep = Sweep::new(Instant::now());
    let mut table = Orphans(LiveTable::reaping(reap));
    loop {
        reap();
        // Reaping an orphan makes its children orphans too, so the sweep ends only when the list is
        // empty.
        let remaining = orphans();
        if remaining.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        if sweep.gives_up(now) {
            let descendants: Vec<u32> = remaining
                .iter()
                .flat_map(|pid| descendants(*pid))
                .map(|stat| stat.id.pid)
                .collect();
            return unkillable(remaining.into_iter().chain(descendants));
        }
        thread::sleep(sweep.round(now, own_pid(), &mut table));
    }
}

/// Reaps children of this process that are already dead and are not runners, so that they do not
/// stay zombies. Does nothing while a sweep runs, because the sweep reaps them itself.
pub(super) fn reap_dead() {
    if let Ok(_guard) = SWEEPING.try_lock() {
        reap();
    }
}

/// Lists the ids of the children of this process that are not live runners. They are processes
/// whose runner has died.
///
/// Reads the children under the lock of the list of runners. A child that is not a runner now
/// cannot become one, because its id stays in use until it is reaped here.
fn orphans() -> Vec<u32> {
    let live = registry::lock();
    let children = children(own_pid()).into_iter();
    children.filter(|pid| !live.contains(*pid)).collect()
}

/// Reaps the dead orphans of this process, without waiting, and returns their number. Waits for
/// each id separately (waitpid(2)), because a wait for any child would also reap the runners, whose
/// exit Tokio waits for.
fn reap() -> usize {
    let dead = |pid: &u32| {
        to_pid(*pid)
            .is_some_and(|pid| matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(Some(_))))
    };
    orphans().iter().filter(|pid| dead(pid)).count()
}

/// The process table that a sweep in claude-api works on: the processes that dead runners left, and
/// everything below them. Live runners are left out.
struct Orphans(LiveTable<fn() -> usize>);

impl Table for Orphans {
    fn children(&mut self, parent: u32) -> Vec<u32> {
        if parent == own_pid() {
            orphans()
        } else {
            self.0.children(parent)
        }
    }

    fn observe(&mut self, pid: u32) -> Option<Observation> {
        self.0.observe(pid)
    }

    fn stop(&mut self, observed: &Observation) {
        self.0.stop(observed);
    }

    fn reap(&mut self) -> usize {
        self.0.reap()
    }
}

impl KillTable for Orphans {
    fn kill_child(&mut self, pid: u32) {
        self.0.kill_child(pid);
    }

    fn kill(&mut self, observed: &Observation) {
        self.0.kill(observed);
    }
}
