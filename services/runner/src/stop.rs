//! When a whole tree of processes stands still: the rule, without I/O.
//!
//! ```text
//! round: reap · walk from the root, parents first: SIGSTOP whatever is not stopped · reap
//!
//!   disturbed ◀──────────┐  something was reaped, signalled, vanished or moved
//!      │ nothing of it   │
//!      ▼                 │
//!   calm, set S ─────────┤  the next round is disturbed, or sees another set (then that one is the first calm one)
//!      │ calm, set S again
//!      ▼
//!   still
//! ```
//!
//! The obvious rules are wrong. "Until all are in T" hangs: a vfork parent stays in D until its child calls exec, which
//! a stopped child never does. "Until none is new" misses a process that forks its successor and exits between two
//! looks. Such a chain leaves a dead process at every step, so the dead ones count: those that came to us are reaped,
//! and those that wait for a stopped parent of their own (a subreaper inside the tree) are part of the compared set.

use std::collections::{BTreeSet, VecDeque};

use crate::process::Identity;

/// What a look at one process says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) id: Identity,
    pub(crate) parent: u32,
    pub(crate) condition: Condition,
}

/// What matters of a process here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    /// It can run.
    Active,
    /// Stopped, or uninterruptible with SIGSTOP pending: it does nothing before SIGCONT.
    Held,
    /// Dead, not reaped.
    Dead,
}

/// The process table, real or simulated.
pub(crate) trait Table {
    /// The children of a process, dead ones included.
    fn children(&mut self, parent: u32) -> Vec<u32>;
    /// One process.
    fn look(&mut self, pid: u32) -> Option<Look>;
    /// SIGSTOP, if it is still that process below that parent.
    fn stop(&mut self, seen: &Look);
    /// Reaps our own dead children; how many there were.
    fn reap(&mut self) -> usize;
}

/// Where a walk begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Root {
    /// Everything below this process, which itself goes on: the runner.
    Below(u32),
    /// This process and everything below it.
    With(u32),
}

/// What a round found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Another round is needed; so many processes were not held yet.
    Again { active: usize },
    /// All stand still: these many.
    Still { processes: usize },
}

/// The state between rounds.
#[derive(Debug, Default)]
pub(crate) struct StopWalk {
    /// The set of the last round, if that one was calm.
    calm: Option<BTreeSet<(Identity, Condition)>>,
}

impl StopWalk {
    /// One round. A caller that gets [`Verdict::Again`] does whatever else is urgent and calls again.
    pub(crate) fn round(&mut self, root: Root, table: &mut impl Table) -> Verdict {
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
        let mut met = BTreeSet::new();
        while let Some((parent, pid)) = next.pop_front() {
            let found = table
                .look(pid)
                .filter(|look| parent.is_none_or(|parent| look.parent == parent));
            let Some(look) = found else {
                disturbed = true;
                continue;
            };
            if !met.insert(pid) {
                continue;
            }
            if look.condition == Condition::Active {
                active += 1;
                table.stop(&look);
            }
            set.insert((look.id, look.condition));
            // After the signal: what it forked before is in the list now, afterwards it forks no more.
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
            return Verdict::Again { active };
        }
        let processes = set
            .iter()
            .filter(|(_, condition)| *condition == Condition::Held)
            .count();
        if self.calm.as_ref() == Some(&set) {
            return Verdict::Still { processes };
        }
        self.calm = Some(set);
        Verdict::Again { active: 0 }
    }
}

#[cfg(test)]
mod model;
