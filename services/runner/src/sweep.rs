//! A sweep kills all processes of an execution until none is left. This module decides which
//! processes to kill next and when to give up. It does no I/O itself, so tests can simulate the
//! processes.
//!
//! ```text
//! killing the children ──(4 rounds)──▶ stopping the tree ──(stopped or no progress)──▶ killing all
//!          ▲                                                                              │
//!          └──────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Most trees are dead after one or two rounds, because orphans become direct children, which the
//! next round kills. A tree may fork faster than it is killed, because each death makes room for
//! another fork. Such a tree is suspended first, so that it gets no processor time and no process
//! exits. Then the suspended tree is killed.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    process::Identity,
    stop::{Condition, Observation, Root, RoundResult, StopWalk, Table},
};

/// The time for which the same processes must survive SIGKILL to count as unkillable (1.5 s). With
/// a grace of 3 s before SIGKILL, the end is reported within the 5 s that a cancel may take.
const UNKILLABLE_AFTER: Duration = Duration::from_millis(1_500);
/// The time after which killing the processes of an execution is given up (60 s). Only a tree that
/// keeps starting processes and can be neither suspended nor killed, because it belongs to another
/// user, reaches this limit.
const LIMIT: Duration = Duration::from_secs(60);
/// The number of rounds that kill only the direct children (4, which take 10 ms on an idle
/// machine). Later rounds suspend the whole tree first.
const KILL_ROUNDS: u32 = 4;
/// The time that suspending the tree may take before it is killed anyway (5 s). A large tree on a
/// busy machine needs seconds.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// The number of rounds of suspending that may pass without a further suspended process (20). After
/// them, and after [`VAIN_STOP_TIME`], the rest counts as impossible to suspend, and the tree is
/// killed.
const VAIN_STOP_ROUNDS: u32 = 20;
/// The least time for which suspending continues without a further suspended process (300 ms).
const VAIN_STOP_TIME: Duration = Duration::from_millis(300);
/// The wait between two rounds of suspending the tree (1 ms), in which signals take effect.
const STOP_PAUSE: Duration = Duration::from_millis(1);

/// A table of processes in which processes can also be killed: the real ones, or simulated ones in
/// tests.
pub(crate) trait KillTable: Table {
    /// Kills the child `pid` of this process with SIGKILL. The child must not be reaped yet, so
    /// that no other process can have its id.
    fn kill_child(&mut self, pid: u32);
    /// Kills an observed process with SIGKILL. Does nothing if the id now belongs to another
    /// process or its parent has changed. Call this right after [`Table::observe`].
    fn kill(&mut self, observed: &Observation);
}

/// The progress of killing all processes of an execution: the present step, and which processes
/// survived SIGKILL. The caller runs [`Sweep::round`] until no process is left or
/// [`Sweep::gives_up`] is true.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// The time at which the killing began.
    begun: Instant,
    /// The step that the next round takes.
    phase: SweepStep,
    /// The processes that were alive when the whole tree was last killed, and the time since which
    /// they are the same ones.
    survivors: Option<(BTreeSet<Identity>, Instant)>,
    /// Whether the same processes have survived SIGKILL for 1.5 s.
    stuck: bool,
}

/// The step that the next round of a sweep takes.
#[derive(Debug)]
enum SweepStep {
    /// Kills the direct children. `rounds` counts the rounds since this step began.
    Killing { rounds: u32 },
    /// Suspends the whole tree, and then kills all of its processes.
    Stopping {
        /// The progress of suspending the tree.
        walk: StopWalk,
        /// The time at which suspending began.
        begun: Instant,
        /// The number of processes that could still run in the last round.
        active: usize,
        /// The time since which `active` is unchanged.
        since: Instant,
        /// The number of rounds for which `active` is unchanged.
        rounds: u32,
    },
}

impl Sweep {
    /// Begins to kill all processes of an execution, at the time `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            begun: now,
            phase: SweepStep::Killing { rounds: 0 },
            survivors: None,
            stuck: false,
        }
    }

    /// Kills processes below `root` with SIGKILL, or suspends them first if they start new ones
    /// faster than they die. Returns how long to wait for deaths before the next round.
    pub(crate) fn round(
        &mut self,
        now: Instant,
        root: u32,
        table: &mut impl KillTable,
    ) -> Duration {
        match &mut self.phase {
            SweepStep::Killing { rounds } => {
                for child in table.children(root) {
                    table.kill_child(child);
                }
                *rounds += 1;
                let wait = Duration::from_millis(u64::from(*rounds));
                if *rounds >= KILL_ROUNDS {
                    self.phase = SweepStep::Stopping {
                        walk: StopWalk::default(),
                        begun: now,
                        active: 0,
                        since: now,
                        rounds: 0,
                    };
                }
                wait
            }
            SweepStep::Stopping {
                walk,
                begun,
                active,
                since,
                rounds,
            } => {
                if let RoundResult::Unsettled { active: left } =
                    walk.round(Root::Below(root), table)
                {
                    if left != *active || left == 0 {
                        (*active, *since, *rounds) = (left, now, 0);
                    }
                    *rounds += 1;
                    let in_vain =
                        *rounds >= VAIN_STOP_ROUNDS && now.duration_since(*since) >= VAIN_STOP_TIME;
                    if !in_vain && now.duration_since(*begun) < STOP_LIMIT {
                        return STOP_PAUSE;
                    }
                }
                let survivors = kill_all(root, table);
                self.compare(now, survivors);
                self.phase = SweepStep::Killing { rounds: 0 };
                STOP_PAUSE
            }
        }
    }

    /// Compares the processes that were alive at this kill of the whole tree with the ones at the
    /// last kill. If they are the same for 1.5 s, they count as unkillable.
    fn compare(&mut self, now: Instant, survivors: BTreeSet<Identity>) {
        match &self.survivors {
            Some((previous, since)) if *previous == survivors => {
                self.stuck = now.duration_since(*since) >= UNKILLABLE_AFTER;
            }
            _ => self.survivors = Some((survivors, now)),
        }
    }

    /// Whether to end the sweep although processes are left. True if the same ones have survived
    /// SIGKILL for 1.5 s, or if 60 s have passed.
    pub(crate) fn gives_up(&self, now: Instant) -> bool {
        self.stuck || now.duration_since(self.begun) >= LIMIT
    }
}

/// Sends SIGKILL to every process below `root`, and returns the identities of the ones that were
/// alive.
fn kill_all(root: u32, table: &mut impl KillTable) -> BTreeSet<Identity> {
    let mut alive = BTreeSet::new();
    let mut visited = BTreeSet::new();
    let mut next = VecDeque::from(table.children(root));
    while let Some(pid) = next.pop_front() {
        if !visited.insert(pid) {
            continue;
        }
        // List the children before the kill: the children of a dead process get another parent.
        next.extend(table.children(pid));
        let Some(process) = table.observe(pid) else {
            continue;
        };
        if process.condition != Condition::Dead {
            alive.insert(process.id);
            table.kill(&process);
        }
    }
    alive
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: u32 = 1;

    /// A simulated tree of forking processes, all direct children of the root.
    #[derive(Default)]
    struct Fake {
        alive: Vec<(u32, Condition)>,
        forked: u32,
        /// The most processes that may be alive at the same time.
        process_limit: usize,
        /// Whether SIGKILL and SIGSTOP have no effect.
        untouchable: bool,
        killed: usize,
    }

    impl Fake {
        fn fork(&mut self) {
            let forks = self.alive.iter().any(|(_, c)| *c == Condition::Active);
            while forks && self.alive.len() < self.process_limit {
                self.forked += 1;
                self.alive.push((ROOT + self.forked, Condition::Active));
            }
        }

        fn bomb(process_limit: usize) -> Self {
            let mut fake = Self {
                alive: vec![(ROOT + 1, Condition::Active)],
                forked: 1,
                process_limit,
                ..Self::default()
            };
            fake.fork();
            fake
        }
    }

    impl Table for Fake {
        fn children(&mut self, parent: u32) -> Vec<u32> {
            let own = if parent == ROOT { &self.alive[..] } else { &[] };
            own.iter().map(|(pid, _)| *pid).collect()
        }

        fn observe(&mut self, pid: u32) -> Option<Observation> {
            let (pid, condition) = *self.alive.iter().find(|(other, _)| *other == pid)?;
            let id = Identity {
                pid,
                start_ticks: 0,
            };
            Some(Observation {
                id,
                parent: ROOT,
                condition,
            })
        }

        fn stop(&mut self, observed: &Observation) {
            for (pid, condition) in &mut self.alive {
                if *pid == observed.id.pid && !self.untouchable {
                    *condition = Condition::Held;
                }
            }
            // Processes that are not stopped yet keep forking.
            self.fork();
        }

        fn reap(&mut self) -> usize {
            0
        }
    }

    impl KillTable for Fake {
        fn kill_child(&mut self, pid: u32) {
            if !self.untouchable {
                self.killed += 1;
                self.alive.retain(|(other, _)| *other != pid);
            }
            self.fork();
        }

        fn kill(&mut self, observed: &Observation) {
            self.kill_child(observed.id.pid);
        }
    }

    /// Runs the sweep to its end, and returns the sum of its waits.
    fn run(fake: &mut Fake) -> Duration {
        let begun = Instant::now();
        let (mut sweep, mut now) = (Sweep::new(begun), begun);
        while !fake.alive.is_empty() && !sweep.gives_up(now) {
            now += sweep.round(now, ROOT, fake);
            assert!(now - begun <= LIMIT + Duration::from_secs(1));
        }
        now - begun
    }

    /// Each death makes room for a fork, so killing alone would never end.
    #[test]
    fn a_tree_that_refills_itself_is_stopped_then_killed() {
        let mut fake = Fake::bomb(200);
        let took = run(&mut fake);
        assert_eq!(fake.alive, []);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    #[test]
    fn a_small_tree_is_killed_without_a_stop() {
        let mut fake = Fake::bomb(1);
        assert_eq!(run(&mut fake), Duration::from_millis(1));
        assert_eq!(fake.killed, 1);
    }

    #[test]
    fn processes_that_survive_sigkill_end_the_sweep() {
        let mut fake = Fake::bomb(3);
        fake.untouchable = true;
        let took = run(&mut fake);
        assert!(
            (UNKILLABLE_AFTER..2 * UNKILLABLE_AFTER).contains(&took),
            "{took:?}"
        );
        assert_eq!(fake.alive.len(), 3);
    }
}
