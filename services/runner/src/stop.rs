//! Suspends all processes of an execution (its process tree) for a pause, and decides when all of
//! them really are suspended. This module does no I/O itself, so tests can simulate the processes.
//!
//! ```text
//! round: reap · walk from the root, parents first: SIGSTOP each active process · reap
//!
//!   disturbed ◀──────────┐  a process was reaped, signalled, vanished or moved
//!      │ none of these   │
//!      ▼                 │
//!   calm, set S ─────────┤  the next round is disturbed, or calm with another set,
//!      │ calm, set S     │  which then is the first calm set
//!      ▼
//!   stopped
//! ```
//!
//! The obvious rules are wrong. "Until all are in state T (stopped)" never ends, because a vfork
//! parent stays in state D until its child calls exec, which a suspended child never does. "Until
//! no process is new" misses a process that forks its successor and exits between two checks.
//!
//! Such a chain leaves a dead process at every step, so dead processes count. Our own dead children
//! are reaped. Dead processes whose suspended parent has not reaped them (a subreaper inside the
//! tree) are part of the compared set.

use std::collections::{BTreeSet, VecDeque};

use crate::process::Identity;

/// The id, parent and condition of one process at one moment. A signal is sent only if id and
/// parent are still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observation {
    /// The process id and the start time, which tell the process from a later one with the same id.
    pub(crate) id: Identity,
    /// The process id of the parent.
    pub(crate) parent: u32,
    /// Whether the process can still run code.
    pub(crate) condition: Condition,
}

/// Whether a process can still run code, which decides whether it must be suspended or killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    /// The process can run code, now or later.
    Active,
    /// The process runs no code now. It is suspended until SIGCONT, or it waits uninterruptibly and
    /// SIGSTOP or SIGKILL is pending.
    Held,
    /// The process has ended, but its parent has not reaped it yet (a zombie).
    Dead,
}

/// The processes that suspending and killing work on: the real ones from `/proc`, or simulated ones
/// in tests.
pub(crate) trait Table {
    /// Lists the ids of the children of the process `parent`, including dead ones; empty if it does
    /// not exist.
    fn children(&mut self, parent: u32) -> Vec<u32>;
    /// Returns the present parent and condition of the process `pid`; `None` if it does not exist.
    fn observe(&mut self, pid: u32) -> Option<Observation>;
    /// Suspends an observed process with SIGSTOP. Does nothing if the id now belongs to another
    /// process or its parent has changed.
    fn stop(&mut self, observed: &Observation);
    /// Reaps the dead children of this process, and returns their number. Always 0 if another
    /// process reaps them.
    fn reap(&mut self) -> usize;
}

/// Which processes are to be suspended: a tree with or without the process at its root.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Root {
    /// Every process below this one, which itself keeps running. A runner suspends its execution
    /// this way.
    Below(u32),
    /// This process and every process below it. Used for a CLI that an earlier run left.
    With(u32),
}

/// The result of one round of suspending a tree of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RoundResult {
    /// It is not certain yet that all processes are suspended, so another round is needed. `active`
    /// processes could still run when they were observed.
    Unsettled { active: usize },
    /// All processes are suspended. `processes` of them are alive.
    Stopped { processes: usize },
}

/// Suspends a tree of processes in rounds, until two rounds in a row find the same suspended
/// processes. Holds what the next round is compared with.
#[derive(Debug, Default)]
pub(crate) struct StopWalk {
    /// The processes and their conditions in the last round, if no process was signalled, reaped,
    /// vanished or moved during it; `None` otherwise.
    calm: Option<BTreeSet<(Identity, Condition)>>,
}

impl StopWalk {
    /// Runs one round: reaps dead children, sends SIGSTOP to every process that can run, parents
    /// first, and compares the processes with the last round. On [`RoundResult::Unsettled`] the
    /// caller does other urgent work, waits a moment, and calls this again.
    pub(crate) fn round(&mut self, root: Root, table: &mut impl Table) -> RoundResult {
        let mut disturbed = table.reap() > 0;
        let mut active = 0;
        let mut set = BTreeSet::new();
        let mut next = VecDeque::new();
        match root {
            Root::Below(pid) => next.extend(
                table
                    .children(pid)
                    .into_iter()
                    .map(|child| (Some(pid), child)),
            ),
            Root::With(pid) => next.push_back((None, pid)),
        }
        let mut visited = BTreeSet::new();
        while let Some((parent, pid)) = next.pop_front() {
            let observed = table
                .observe(pid)
                .filter(|process| parent.is_none_or(|parent| process.parent == parent));
            let Some(process) = observed else {
                disturbed = true;
                continue;
            };
            if !visited.insert(pid) {
                continue;
            }
            if process.condition == Condition::Active {
                active += 1;
                table.stop(&process);
            }
            set.insert((process.id, process.condition));
            // List the children after the signal: earlier forks are in the list now, and later ones
            // cannot happen.
            next.extend(
                table
                    .children(pid)
                    .into_iter()
                    .map(|child| (Some(pid), child)),
            );
        }
        disturbed |= table.reap() > 0;
        if disturbed || active > 0 {
            self.calm = None;
            return RoundResult::Unsettled { active };
        }
        let processes = set
            .iter()
            .filter(|(_, condition)| *condition == Condition::Held)
            .count();
        if self.calm.as_ref() == Some(&set) {
            return RoundResult::Stopped { processes };
        }
        self.calm = Some(set);
        RoundResult::Unsettled { active: 0 }
    }
}

#[cfg(test)]
mod model;
