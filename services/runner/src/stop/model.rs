//! The rule against a simulated process table that moves at every look: forks, exits, successors, vfork parents,
//! subreapers inside the tree, and signals that take their time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const RUNNER: u32 = 1;
/// Enough for every generated script: after it has run out the processes only sleep.
const ROUNDS: usize = 2_000;

#[derive(Clone, Copy, Debug)]
enum Move {
    Fork,
    /// Forks its successor and exits: what "until none is new" misses.
    Succeed,
    /// The child borrows the parent, which waits in D until the child exits.
    Vfork,
    Exit,
    BecomeSubreaper,
    /// The parent reaps one dead child.
    Reap,
}

#[derive(Clone, Debug)]
struct Process {
    parent: u32,
    dead: bool,
    stop_pending: bool,
    stopped: bool,
    /// The vfork child it waits for.
    waits_for: Option<u32>,
    subreaper: bool,
}

struct Simulation {
    processes: BTreeMap<u32, Process>,
    next_pid: u32,
    /// Which process (by position among those that can run) does what, one entry per look.
    script: Vec<(usize, Move)>,
}

impl Simulation {
    fn new(script: Vec<(usize, Move)>) -> Self {
        let mut this = Self {
            processes: BTreeMap::new(),
            next_pid: 2,
            script,
        };
        for _ in 0..3 {
            this.add(RUNNER);
        }
        this
    }

    fn add(&mut self, parent: u32) -> u32 {
        let pid = self.next_pid;
        self.next_pid += 1;
        let new = Process {
            parent,
            dead: false,
            stop_pending: false,
            stopped: false,
            waits_for: None,
            subreaper: false,
        };
        self.processes.insert(pid, new);
        pid
    }

    fn able(&self) -> Vec<u32> {
        let able =
            |process: &Process| !process.dead && !process.stopped && process.waits_for.is_none();
        self.processes
            .iter()
            .filter(|(_, process)| able(process))
            .map(|(pid, _)| *pid)
            .collect()
    }

    /// The world goes on by one step; a pending stop takes effect where the process may be interrupted.
    fn tick(&mut self) {
        let Some((who, what)) = self.script.pop() else {
            for process in self.processes.values_mut() {
                if process.stop_pending && process.waits_for.is_none() {
                    process.stopped = true;
                }
            }
            return;
        };
        let able = self.able();
        let Some(pid) = able.get(who % able.len().max(1)).copied() else {
            return;
        };
        if self.processes[&pid].stop_pending {
            self.process(pid).stopped = true;
            return;
        }
        match what {
            Move::Fork => drop(self.add(pid)),
            Move::Succeed => {
                self.add(pid);
                self.exit(pid);
            }
            Move::Vfork => {
                let child = self.add(pid);
                self.process(pid).waits_for = Some(child);
            }
            Move::Exit => self.exit(pid),
            Move::BecomeSubreaper => self.process(pid).subreaper = true,
            Move::Reap => {
                let dead = self
                    .processes
                    .iter()
                    .find(|(_, process)| process.dead && process.parent == pid)
                    .map(|(pid, _)| *pid);
                dead.map(|dead| self.processes.remove(&dead));
            }
        }
    }

    fn process(&mut self, pid: u32) -> &mut Process {
        self.processes.get_mut(&pid).expect("it is there")
    }

    fn exit(&mut self, pid: u32) {
        let mut heir = self.processes[&pid].parent;
        while let Some(process) = self.processes.get(&heir)
            && (process.dead || !process.subreaper)
        {
            heir = process.parent;
        }
        self.process(pid).dead = true;
        for process in self.processes.values_mut() {
            if process.parent == pid {
                process.parent = heir;
            }
            if process.waits_for == Some(pid) {
                process.waits_for = None;
            }
        }
    }

    fn can_still_run(&self) -> Vec<u32> {
        let held = |process: &Process| {
            process.stopped || (process.waits_for.is_some() && process.stop_pending)
        };
        self.processes
            .iter()
            .filter(|(_, process)| !process.dead && !held(process))
            .map(|(pid, _)| *pid)
            .collect()
    }
}

impl Table for Simulation {
    fn children(&mut self, parent: u32) -> Vec<u32> {
        self.tick();
        self.processes
            .iter()
            .filter(|(_, process)| process.parent == parent)
            .map(|(pid, _)| *pid)
            .collect()
    }

    fn look(&mut self, pid: u32) -> Option<Look> {
        self.tick();
        let process = self.processes.get(&pid)?;
        let condition = match process {
            Process { dead: true, .. } => Condition::Dead,
            Process { stopped: true, .. } => Condition::Held,
            Process {
                waits_for: Some(_),
                stop_pending: true,
                ..
            } => Condition::Held,
            _ => Condition::Active,
        };
        Some(Look {
            id: Identity {
                pid,
                start_ticks: u64::from(pid),
            },
            parent: process.parent,
            condition,
        })
    }

    fn stop(&mut self, seen: &Look) {
        self.tick();
        if let Some(process) = self.processes.get_mut(&seen.id.pid)
            && process.parent == seen.parent
        {
            process.stop_pending = true;
        }
    }

    fn reap(&mut self) -> usize {
        self.tick();
        let before = self.processes.len();
        self.processes
            .retain(|_, process| !(process.dead && process.parent == RUNNER));
        before - self.processes.len()
    }
}

fn moves() -> impl Strategy<Value = Vec<(usize, Move)>> {
    let one = prop_oneof![
        3 => Just(Move::Fork),
        6 => Just(Move::Succeed),
        2 => Just(Move::Vfork),
        2 => Just(Move::Exit),
        1 => Just(Move::BecomeSubreaper),
        1 => Just(Move::Reap),
    ];
    prop::collection::vec((any::<usize>(), one), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn still_means_that_nothing_can_run(script in moves()) {
        let mut table = Simulation::new(script);
        let mut walk = StopWalk::default();
        let verdict = (0..ROUNDS).map(|_| walk.round(Root::Below(RUNNER), &mut table)).find(|v| matches!(v, Verdict::Still { .. }));
        let free = table.can_still_run();
        prop_assert!(free.is_empty(), "said to stand still, but these can run: {free:?}");
        let Some(Verdict::Still { processes }) = verdict else {
            return Err(TestCaseError::fail("the walk did not end"));
        };
        prop_assert_eq!(processes, table.processes.values().filter(|process| !process.dead).count());
    }
}

#[test]
fn a_vfork_parent_in_d_does_not_keep_the_walk_from_ending() {
    let mut table = Simulation::new(vec![(0, Move::Vfork)]);
    let mut walk = StopWalk::default();
    let rounds = (1..ROUNDS).find(|_| {
        matches!(
            walk.round(Root::Below(RUNNER), &mut table),
            Verdict::Still { .. }
        )
    });
    assert!(rounds.is_some_and(|rounds| rounds <= 5), "{rounds:?}");
    assert!(
        table
            .processes
            .values()
            .any(|process| process.waits_for.is_some() && process.stop_pending)
    );
}

#[test]
fn a_walk_with_its_root_stops_the_root_too() {
    let mut table = Simulation::new(Vec::new());
    let child = table.add(2);
    let mut walk = StopWalk::default();
    while walk.round(Root::With(2), &mut table) != (Verdict::Still { processes: 2 }) {}
    assert_eq!(table.can_still_run(), vec![3, 4]);
    assert!(table.processes[&child].stopped);
}
