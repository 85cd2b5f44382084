//! The rule by which everything below a process is killed, and when the sweep gives up; without
//! I/O.
//!
//! ```text
//! killing the children ──(4 rounds)──▶ stopping the tree ──(stopped, or in vain)───▶ killing all
//!          ▲                                                                            │
//!          └────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Most trees are gone after one or two rounds of killing: orphans become direct children, which
//! the next round kills. A tree may fork faster than it is killed, because each death makes room
//! for another fork. Such a tree is stopped first, so that it gets no processor time and its
//! processes keep their places. Then the stopped tree is killed.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    process::Identity,
    stop::{Condition, Look, Root, StopWalk, Table, Verdict},
};

/// How long the same processes must outlive SIGKILL until they count as unkillable. With a kill
/// grace of 3 s, the end is reported within the 5 s that a cancel may take.
const STUCK: Duration = Duration::from_millis(1_500);
/// How long a sweep takes at most. Only a tree that starts new processes all the time, and can be
/// neither stopped nor killed (it belongs to another user), reaches it.
const LIMIT: Duration = Duration::from_secs(60);
/// Rounds of killing direct children before the tree is stopped: 10 ms where a processor is free.
const KILL_ROUNDS: u32 = 4;
/// How long a stop may take. A large tree on a busy machine needs seconds.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// A stop ends after so many rounds without another stopped process, if [`VAIN_STOP_TIME`] has
/// passed as well: the rest cannot be stopped.
const VAIN_STOP_ROUNDS: u32 = 20;
/// The shortest time without another stopped process after which a stop ends.
const VAIN_STOP_TIME: Duration = Duration::from_millis(300);
/// The pause between two rounds of a stop.
const STOP_PAUSE: Duration = Duration::from_millis(1);

/// A process table whose processes can be killed.
pub(crate) trait KillTable: Table {
    /// Sends SIGKILL to an own child that is not reaped yet.
    fn kill_child(&mut self, pid: u32);
    /// Sends SIGKILL if the process is still the one that was seen, with the same parent. Called
    /// right after [`Table::look`].
    fn kill(&mut self, seen: &Look);
}

/// The progress of one sweep.
#[derive(Debug)]
pub(crate) struct Sweep {
    begun: Instant,
    phase: Phase,
    /// The processes found by the last kill of the whole tree, and since when they are the same.
    met: Option<(BTreeSet<Identity>, Instant)>,
    stuck: bool,
}

#[derive(Debug)]
enum Phase {
    Killing {
        rounds: u32,
    },
    Stopping {
        walk: StopWalk,
        begun: Instant,
        /// The number of processes that could still run after the last round; the next fields say
        /// since when, and for how many rounds, it is the same.
        active: usize,
        since: Instant,
        rounds: u32,
    },
}

impl Sweep {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            begun: now,
            phase: Phase::Killing { rounds: 0 },
            met: None,
            stuck: false,
        }
    }

    /// Runs one round over everything below `root`; returns how long to wait before the next one.
    pub(crate) fn round(
        &mut self,
        now: Instant,
        root: u32,
        table: &mut impl KillTable,
    ) -> Duration {
        match &mut self.phase {
            Phase::Killing { rounds } => {
                for child in table.children(root) {
                    table.kill_child(child);
                }
                *rounds += 1;
                let wait = Duration::from_millis(u64::from(*rounds));
                if *rounds >= KILL_ROUNDS {
                    self.phase = Phase::Stopping {
                        walk: StopWalk::default(),
                        begun: now,
                        active: 0,
                        since: now,
                        rounds: 0,
                    };
                }
                wait
            }
            Phase::Stopping {
                walk,
                begun,
                active,
                since,
                rounds,
            } => {
                if let Verdict::Again { active: left } = walk.round(Root::Below(root), table) {
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
                let met = kill_all(root, table);
                self.compare(now, met);
                self.phase = Phase::Killing { rounds: 0 };
                STOP_PAUSE
            }
        }
    }

    fn compare(&mut self, now: Instant, met: BTreeSet<Identity>) {
        match &self.met {
            Some((before, since)) if *before == met => {
                self.stuck = now.duration_since(*since) >= STUCK;
            }
            _ => self.met = Some((met, now)),
        }
    }

    /// Whether the sweep gives up: the same processes survive, or the time limit has passed.
    pub(crate) fn gives_up(&self, now: Instant) -> bool {
        self.stuck || now.duration_since(self.begun) >= LIMIT
    }
}

/// Sends SIGKILL to everything below `root`; returns the processes that were alive.
fn kill_all(root: u32, table: &mut impl KillTable) -> BTreeSet<Identity> {
    let mut alive = BTreeSet::new();
    let mut met = BTreeSet::new();
    let mut next = VecDeque::from(table.children(root));
    while let Some(pid) = next.pop_front() {
        if !met.insert(pid) {
            continue;
        }
        // Listed before the kill: the children of a dead process get another parent.
        next.extend(table.children(pid));
        let Some(look) = table.look(pid) else {
            continue;
        };
        if look.condition != Condition::Dead {
            alive.insert(look.id);
            table.kill(&look);
        }
    }
    alive
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: u32 = 1;

    /// Processes that fork, as direct children of the root.
    #[derive(Default)]
    struct Fake {
        alive: Vec<(u32, Condition)>,
        born: u32,
        /// How many may live at once.
        places: usize,
        /// SIGKILL and SIGSTOP do nothing.
        untouchable: bool,
        killed: usize,
    }

    impl Fake {
        fn fork(&mut self) {
            let forks = self.alive.iter().any(|(_, c)| *c == Condition::Active);
            while forks && self.alive.len() < self.places {
                self.born += 1;
                self.alive.push((ROOT + self.born, Condition::Active));
            }
        }

        fn bomb(places: usize) -> Self {
            let mut fake = Self {
                alive: vec![(ROOT + 1, Condition::Active)],
                born: 1,
                places,
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

        fn look(&mut self, pid: u32) -> Option<Look> {
            let (pid, condition) = *self.alive.iter().find(|(other, _)| *other == pid)?;
            let id = Identity {
                pid,
                start_ticks: 0,
            };
            Some(Look {
                id,
                parent: ROOT,
                condition,
            })
        }

        fn stop(&mut self, seen: &Look) {
            for (pid, condition) in &mut self.alive {
                if *pid == seen.id.pid && !self.untouchable {
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

        fn kill(&mut self, seen: &Look) {
            self.kill_child(seen.id.pid);
        }
    }

    /// Runs to the end; how long it took, in the sweep's own waits.
    fn run(fake: &mut Fake) -> Duration {
        let begun = Instant::now();
        let (mut sweep, mut now) = (Sweep::new(begun), begun);
        while !fake.alive.is_empty() && !sweep.gives_up(now) {
            now += sweep.round(now, ROOT, fake);
            assert!(now - begun <= LIMIT + Duration::from_secs(1));
        }
        now - begun
    }

    /// ENGINE A14: each death makes room for a fork, so that killing alone never ends.
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
    fn the_same_processes_that_outlive_sigkill_are_given_up() {
        let mut fake = Fake::bomb(3);
        fake.untouchable = true;
        let took = run(&mut fake);
        assert!((STUCK..2 * STUCK).contains(&took), "{took:?}");
        assert_eq!(fake.alive.len(), 3);
    }
}
