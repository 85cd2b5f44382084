//! Stopping and continuing the real process table.

use rustix::process::Signal;

use crate::{
    process::{
        Stat, State, children, descendants, halt_is_pending, look, raw, signal, stop_is_pending,
    },
    stop::{Condition, Look, Table},
    sweep::KillTable,
};

/// `/proc` and signals. Who reaps decides what to do with the dead: see `Reaper`.
pub(crate) struct LiveTable<R> {
    reap: R,
    last: Option<Stat>,
}

impl LiveTable<fn() -> usize> {
    /// For somebody else's tree, whose dead are not ours to reap.
    pub(crate) fn watching() -> Self {
        Self {
            reap: || 0,
            last: None,
        }
    }
}

impl<R: FnMut() -> usize> LiveTable<R> {
    /// For our own tree; `reap` reaps all dead children and tells how many.
    pub(crate) fn reaping(reap: R) -> Self {
        Self { reap, last: None }
    }
}

impl<R: FnMut() -> usize> Table for LiveTable<R> {
    fn children(&mut self, parent: u32) -> Vec<u32> {
        children(parent)
    }

    fn look(&mut self, pid: u32) -> Option<Look> {
        let stat = look(pid)?;
        let condition = match stat.state {
            State::Active => Condition::Active,
            State::Waiting if halt_is_pending(pid) => Condition::Held,
            State::Waiting => Condition::Active,
            State::Stopped => Condition::Held,
            State::Zombie => Condition::Dead,
        };
        let found = Look {
            id: stat.id,
            parent: stat.parent,
            condition,
        };
        self.last = Some(stat);
        Some(found)
    }

    fn stop(&mut self, seen: &Look) {
        // One that may not be signalled stays active: the walk's time limit reports it.
        if let Some(stat) = self.last.as_ref().filter(|stat| stat.id == seen.id) {
            let _ = signal(stat, Signal::STOP);
        }
    }

    fn reap(&mut self) -> usize {
        (self.reap)()
    }
}

impl<R: FnMut() -> usize> KillTable for LiveTable<R> {
    fn kill_child(&mut self, pid: u32) {
        signal_child(pid, Signal::KILL);
    }

    fn kill(&mut self, seen: &Look) {
        // A process that may not be signalled is found again, and reported as left.
        if let Some(stat) = self.last.as_ref().filter(|stat| stat.id == seen.id) {
            let _ = signal(stat, Signal::KILL);
        }
    }
}

/// After so many looks for stragglers, what is still stopped has stopped itself.
const STRAGGLER_PASSES: usize = 3;

/// SIGCONT to everything below `root`, from the leaves, so that no parent sees a stopped child.
///
/// To everything, because a process that was sent SIGSTOP a moment ago may look active still and stop afterwards. One
/// that had stopped itself before the pause goes on too: it cannot be told from ours.
pub(super) fn continue_tree(root: u32) {
    for process in descendants(root).iter().rev() {
        let _ = signal(process, Signal::CONT);
    }
}

/// SIGCONT to what [`continue_tree`] missed, because it changed its parent during the walk.
pub(super) fn continue_stragglers(root: u32) {
    for _ in 0..STRAGGLER_PASSES {
        let mut found = false;
        for process in descendants(root).iter().rev() {
            if process.state == State::Stopped || stop_is_pending(process.id.pid) {
                found = true;
                let _ = signal(process, Signal::CONT);
            }
        }
        if !found {
            return;
        }
    }
}

/// Sends a signal to one of our own children that is not reaped yet, so its id cannot be anybody else's.
pub(super) fn signal_child(pid: u32, what: Signal) {
    if let Some(pid) = raw(pid) {
        let _ = rustix::process::kill_process(pid, what);
    }
}

/// Sends a signal to everything below `root` but `had_it`, parents first.
pub(super) fn signal_others(root: u32, had_it: u32, what: Signal) {
    for process in descendants(root) {
        if process.id.pid != had_it {
            let _ = signal(&process, what);
        }
    }
}
