//! Tests of the rule against a simulated process table that changes at every read: forks, exits,
//! successors, vfork parents, subreapers inside the tree, and delayed signals.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const RUNNER: u32 = 1;
/// Enough rounds for every generated script: at its end the processes only sleep.
const ROUNDS: usize = 2_000;

#[derive(Clone, Copy, Debug)]
enum Move {
    Fork,
    /// Forks its successor and exits, which "until no process is new" misses.
    Succeed,
    /// Forks a child for which the parent waits in state D until the child exits.
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
    /// The vfork child that this process waits for.
    waits_for: Option<u32>,
    subreaper: bool,
}

struct Simulation {
    processes: BTreeMap<u32, Process>,
    next_pid: u32,
    /// The moves, one per read of the table: the position of a process among those that can run,
    /// and its move.
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

    fn runnable(&self) -> Vec<u32> {
        let runnable =
            |process: &Process| !process.dead && !process.stopped && process.waits_for.is_none();
        self.processes
            .iter()
            .filter(|(_, process)| runnable(process))
            .map(|(pid, _)| *pid)
            .collect()
    }

    /// Runs one move. A pending stop takes effect if the process can be interrupted.
    fn tick(&mut self) {
        let Some((position, action)) = self.script.pop() else {
            for process in self.processes.values_mut() {
                if process.stop_pending && process.waits_for.is_none() {
                    process.stopped = true;
                }
            }
            return;
        };
        let runnable = self.runnable();
        let Some(pid) = runnable.get(position % runnable.len().max(1)).copied() else {
            return;
        };
        if self.processes[&pid].stop_pending {
            self.process(pid).stopped = true;
            return;
        }
        match action {
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
        self.processes.get_mut(&pid).expect("an existing process")
    }

    fn exit(&mut self, pid: u32) {
        let mut new_parent = self.processes[&pid].parent;
        while let Some(process) = self.processes.get(&new_parent)
            && (process.dead || !process.subreaper)
        {
            new_parent = process.parent;
        }
        self.process(pid).dead = true;
        for process in self.processes.values_mut() {
            if process.parent == pid {
                process.parent = new_parent;
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

    fn observe(&mut self, pid: u32) -> Option<Observation> {
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
        Some(Observation {
            id: Identity {
                pid,
                start_ticks: u64::from(pid),
            },
            parent: process.parent,
            condition,
        })
    }

    fn stop(&mut self, observed: &Observation) {
        self.tick();
        if let Some(process) = self.processes.get_mut(&observed.id.pid)
            && process.parent == observed.parent
        {
            process.stop_pending = true;
        }
    }

    fn reap(&mut self) -> usize {
        self.tick();
        let previous = self.processes.len();
        self.processes
            .retain(|_, process| !(process.dead && process.parent == RUNNER));
        previous - self.processes.len()
    }
}

fn moves() -> impl Strategy<Value = Vec<(usize, Move)>> {
    let action = prop_oneof![
        3 => Just(Move::Fork),
        6 => Just(Move::Succeed),
        2 => Just(Move::Vfork),
        2 => Just(Move::Exit),
        1 => Just(Move::BecomeSubreaper),
        1 => Just(Move::Reap),
    ];
    prop::collection::vec((any::<usize>(), action), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_stopped_tree_has_no_process_that_can_run(script in moves()) {
        let mut table = Simulation::new(script);
        let mut walk = StopWalk::default();
        let result = (0..ROUNDS)
            .map(|_| walk.round(Root::Below(RUNNER), &mut table))
            .find(|result| matches!(result, RoundResult::Stopped { .. }));
        let runnable = table.can_still_run();
        prop_assert!(runnable.is_empty(), "reported as stopped, but can run: {runnable:?}");
        let Some(RoundResult::Stopped { processes }) = result else {
            return Err(TestCaseError::fail("the walk did not end"));
        };
        let live = table.processes.values().filter(|process| !process.dead);
        prop_assert_eq!(processes, live.count());
    }
}

#[test]
fn a_vfork_parent_in_state_d_does_not_block_the_walk() {
    let mut table = Simulation::new(vec![(0, Move::Vfork)]);
    let mut walk = StopWalk::default();
    let rounds = (1..ROUNDS).find(|_| {
        matches!(
            walk.round(Root::Below(RUNNER), &mut table),
            RoundResult::Stopped { .. }
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
    while walk.round(Root::With(2), &mut table) != (RoundResult::Stopped { processes: 2 }) {}
    assert_eq!(table.can_still_run(), vec![3, 4]);
    assert!(table.processes[&child].stopped);
}
