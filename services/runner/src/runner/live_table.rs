//! Observing, suspending, continuing and killing real processes through `/proc` and signals. The
//! modules `stop` and `sweep` decide what to do, and know only an abstract table of processes.

use rustix::process::Signal;

use crate::{
    process::{
        Stat, State, children, descendants, halt_is_pending, read_stat, signal, stop_is_pending,
        to_pid,
    },
    stop::{Condition, Observation, Table},
    sweep::KillTable,
};

/// The real processes of the machine: reads their state from `/proc` and sends them real signals.
/// Tests use a simulated table instead.
pub(crate) struct LiveTable<R> {
    /// Reaps the dead children of this process, and returns their number.
    reap: R,
    /// The process that was observed last. A signal is sent only to this process.
    last: Option<Stat>,
}

impl LiveTable<fn() -> usize> {
    /// Creates a table for the processes below another process, which reaps its own dead children.
    pub(crate) fn without_reaping() -> Self {
        Self {
            reap: || 0,
            last: None,
        }
    }
}

impl<R: FnMut() -> usize> LiveTable<R> {
    /// Creates a table for the processes below this process. `reap` must reap all dead children of
    /// this process, and return their number.
    pub(crate) fn reaping(reap: R) -> Self {
        Self { reap, last: None }
    }
}

impl<R: FnMut() -> usize> Table for LiveTable<R> {
    fn children(&mut self, parent: u32) -> Vec<u32> {
        children(parent)
    }

    fn observe(&mut self, pid: u32) -> Option<Observation> {
        let stat = read_stat(pid)?;
        let condition = match stat.state {
            State::Active => Condition::Active,
            State::Waiting if halt_is_pending(pid) => Condition::Held,
            State::Waiting => Condition::Active,
            State::Stopped => Condition::Held,
            State::Zombie => Condition::Dead,
        };
        let observed = Observation {
            id: stat.id,
            parent: stat.parent,
            condition,
        };
        self.last = Some(stat);
        Some(observed)
    }

    fn stop(&mut self, observed: &Observation) {
        // A process that we may not signal stays active, and the walk's time limit reports it.
        if let Some(stat) = self.last.as_ref().filter(|stat| stat.id == observed.id) {
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

    fn kill(&mut self, observed: &Observation) {
        // A process that we may not signal stays alive, and the sweep reports it as unkillable.
        if let Some(stat) = self.last.as_ref().filter(|stat| stat.id == observed.id) {
            let _ = signal(stat, Signal::KILL);
        }
    }
}

/// How often the process tree is searched again for suspended processes after all were sent SIGCONT
/// (3 times). A process that is still suspended after that has stopped itself.
const STRAGGLER_PASSES: usize = 3;

/// Continues every process below `root` with SIGCONT, children before parents, so that no parent
/// sees a stopped child.
///
/// Every process gets the signal, because a process that was just sent SIGSTOP may still look
/// active and stop later. A process that stopped itself before the pause is continued too, because
/// it cannot be distinguished.
pub(super) fn continue_tree(root: u32) {
    for process in descendants(root).iter().rev() {
        let _ = signal(process, Signal::CONT);
    }
}

/// Continues (SIGCONT) the processes below `root` that are still suspended after [`continue_tree`],
/// because they got another parent while it listed the tree.
pub(super) fn continue_stragglers(root: u32) {
    for _ in 0..STRAGGLER_PASSES {
        let mut any_stopped = false;
        for process in descendants(root).iter().rev() {
            if process.state == State::Stopped || stop_is_pending(process.id.pid) {
                any_stopped = true;
                let _ = signal(process, Signal::CONT);
            }
        }
        if !any_stopped {
            return;
        }
    }
}

/// Sends a signal to the child `pid` of this process. The child must not be reaped yet, so that no
/// other process can have its id. Errors are ignored, because the child may have just died.
pub(super) fn signal_child(pid: u32, signal: Signal) {
    if let Some(pid) = to_pid(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Sends the signal `what` to every process below `root`, parents before children, but not to the
/// process with the id `except`.
pub(super) fn signal_others(root: u32, except: u32, what: Signal) {
    for process in descendants(root) {
        if process.id.pid != except {
            let _ = signal(&process, what);
        }
    }
}
