use super::*;
use proptest::prelude::*;

fn limits(running: u64, starts: u64) -> Limits {
    Limits {
        running_executions: running,
        simultaneous_starts: starts,
        queued: 6,
        queued_per_lane: 4,
        queued_per_principal: 5,
        ..Limits::default()
    }
}

fn id(n: u128) -> ExecutionId {
    uuid::Uuid::from_u128(n).into()
}

fn submit(queue: &mut Queue, n: u128, lane: Option<&str>, conversation: &str) {
    submit_as(queue, Owner::NONE, n, lane, conversation);
}

fn submit_as(queue: &mut Queue, owner: Owner, n: u128, lane: Option<&str>, conversation: &str) {
    queue.reserve(owner, lane).unwrap();
    queue.enter(id(n), owner, lane, conversation);
}

#[test]
fn a_lane_runs_one_execution_at_a_time_and_lanes_run_in_parallel() {
    let mut queue = Queue::new(&limits(8, 8));
    submit(&mut queue, 1, Some("a"), "1");
    submit(&mut queue, 2, Some("a"), "2");
    submit(&mut queue, 3, Some("b"), "3");
    assert_eq!(queue.start(), [id(1), id(3)]);
    assert_eq!(queue.position(id(2)), Some(0));
    queue.leave(id(3));
    assert_eq!(queue.start(), []);
    queue.leave(id(1));
    assert_eq!(queue.start(), [id(2)]);
}

#[test]
fn a_conversation_runs_one_execution_at_a_time_in_the_order_accepted() {
    let mut queue = Queue::new(&limits(8, 8));
    submit(&mut queue, 1, Some("a"), "c");
    submit(&mut queue, 2, Some("b"), "c");
    submit(&mut queue, 3, Some("b"), "d");
    submit(&mut queue, 4, None, "c");
    assert_eq!(queue.start(), [id(1)], "3 waits for 2 in lane b");
    queue.leave(id(1));
    assert_eq!(queue.start(), [id(2)]);
    queue.leave(id(2));
    assert_eq!(queue.start(), [id(3), id(4)]);
}

#[test]
fn an_owner_has_at_most_as_many_executions_that_wait_for_a_person_as_may_run() {
    let owner = owner("a");
    let mut queue = Queue::new(&limits(8, 8));
    queue.set_running_limits(HashMap::from([(owner, 1)]));
    for n in 0..4 {
        submit_as(&mut queue, owner, n, None, &n.to_string());
    }
    assert_eq!(queue.start(), [id(0)]);
    queue.set_waiting(id(0), true);
    assert_eq!(queue.start(), [id(1)], "the first one waits for a person");
    queue.set_waiting(id(1), true);
    assert_eq!(queue.start(), []);
    queue.leave(id(0));
    assert_eq!(queue.start(), [id(2)]);
}

#[test]
fn a_full_queue_refuses_until_a_slot_is_released() {
    let mut queue = Queue::new(&limits(1, 1));
    for n in 0..4 {
        submit(&mut queue, n, Some("a"), &n.to_string());
    }
    assert_eq!(
        queue.reserve(Owner::NONE, Some("a")),
        Err(QueueFull::Lane { length: 4 })
    );
    assert_eq!(queue.start(), [id(0)]);
    assert_eq!(
        queue.reserve(Owner::NONE, Some("a")),
        Ok(()),
        "a running execution uses no slot"
    );
    queue.release_slot(Owner::NONE, Some("a"));
    for n in 10..13 {
        submit(&mut queue, n, None, &n.to_string());
    }
    assert_eq!(
        queue.reserve(Owner::NONE, None),
        Err(QueueFull::Queue { length: 6 })
    );
    queue.leave(id(1));
    assert_eq!(queue.reserve(Owner::NONE, None), Ok(()));
}

fn owner(name: &str) -> Owner {
    Owner::of(name)
}

#[test]
fn one_lane_name_of_two_principals_is_two_lanes() {
    let mut queue = Queue::new(&limits(8, 8));
    submit_as(&mut queue, owner("a"), 1, Some("l"), "1");
    submit_as(&mut queue, owner("b"), 2, Some("l"), "2");
    submit_as(&mut queue, owner("b"), 3, Some("l"), "3");
    assert_eq!(queue.start(), [id(1), id(2)]);
    queue.leave(id(1));
    assert_eq!(queue.start(), []);
    queue.leave(id(2));
    assert_eq!(queue.start(), [id(3)]);
}

#[test]
fn a_free_permit_goes_to_the_principal_that_runs_least() {
    let mut queue = Queue::new(&limits(2, 2));
    for n in 0..4 {
        submit_as(&mut queue, owner("a"), n, None, &n.to_string());
    }
    submit_as(&mut queue, owner("b"), 9, None, "9");
    assert_eq!(queue.start(), [id(0), id(9)], "b runs nothing yet");
    queue.leave(id(0));
    assert_eq!(queue.start(), [id(1)]);
    queue.leave(id(9));
    assert_eq!(queue.start(), [id(2)], "only a waits");
}

#[test]
fn the_only_permit_goes_to_the_principals_in_turn() {
    let mut queue = Queue::new(&limits(1, 1));
    for n in 0..3 {
        submit_as(&mut queue, owner("a"), n, None, &n.to_string());
    }
    for n in 7..9 {
        submit_as(&mut queue, owner("b"), n, None, &n.to_string());
    }
    let mut order = Vec::new();
    while let [started] = queue.start()[..] {
        order.push(started);
        queue.leave(started);
    }
    assert_eq!(order, [0, 7, 1, 8, 2].map(id));
    assert!(queue.start().is_empty() && queue.last_permits.is_empty());
}

#[test]
fn a_principal_runs_at_most_its_limit_and_blocks_nobody() {
    let mut queue = Queue::new(&limits(8, 8));
    queue.set_running_limits([(owner("a"), 1)].into());
    for n in 0..3 {
        submit_as(&mut queue, owner("a"), n, None, &n.to_string());
    }
    submit_as(&mut queue, owner("b"), 9, None, "9");
    assert_eq!(queue.start(), [id(0), id(9)]);
    queue.set_running_limits([(owner("a"), 2)].into());
    assert_eq!(queue.start(), [id(1)]);
    queue.set_running_limits(HashMap::new());
    assert_eq!(queue.start(), [id(2)]);
}

#[test]
fn positions_and_refusals_tell_nothing_about_other_principals() {
    let mut queue = Queue::new(&limits(1, 1));
    for n in 0..4 {
        submit_as(&mut queue, owner("a"), n, None, &n.to_string());
    }
    for n in 7..9 {
        submit_as(&mut queue, owner("b"), n, None, &n.to_string());
    }
    assert_eq!(queue.position(id(8)), Some(1));
    let full = queue.reserve(owner("b"), None).unwrap_err();
    assert_eq!((full.length(), full), (None, QueueFull::SharedQueue));
    queue.leave(id(8));
    queue.reserve(owner("a"), None).unwrap();
    let full = queue.reserve(owner("a"), None).unwrap_err();
    assert_eq!(full, QueueFull::Principal { length: 5 });
}

#[test]
fn simultaneous_starts_have_their_own_limit() {
    let mut queue = Queue::new(&limits(8, 2));
    for n in 0..4 {
        submit(&mut queue, n, None, &n.to_string());
    }
    assert_eq!(queue.start(), [id(0), id(1)]);
    queue.started(id(1));
    assert_eq!(queue.start(), [id(2)]);
}

proptest! {
    /// For any submissions and ends: the limits hold, no lane or conversation runs twice, each
    /// lane keeps its order, nothing waits without cause, and at the end every slot is free. Two
        /// owners use the same lane names.
    #[test]
    fn the_queue_keeps_its_limits_and_the_order_of_each_lane(
        steps in proptest::collection::vec((0_u8..3, 0_usize..4, 0_usize..4), 1..120)
    ) {
        let mut queue = Queue::new(&limits(3, 2));
        let mut accepted: Vec<(u128, String, String)> = Vec::new();
        let mut running: Vec<u128> = Vec::new();
        let mut started_order: HashMap<String, Vec<u128>> = HashMap::new();
        let mut next = 0_u128;
        for (action, lane, pick) in steps {
            match action {
                0 => {
                    let name = format!("l{}", lane / 2);
                    let who = ["a", "b"][lane % 2];
                    let conversation = format!("c{pick}");
                    if queue.reserve(owner(who), Some(&name)).is_ok() {
                        queue.enter(id(next), owner(who), Some(&name), &conversation);
                        accepted.push((next, format!("{who}/{name}"), conversation));
                        next += 1;
                    }
                }
                1 if !running.is_empty() => {
                    let ended = running.remove(pick % running.len());
                    queue.leave(id(ended));
                }
                _ => for n in &running { queue.started(id(*n)); },
            }
            for started in queue.start() {
                let n = started.uuid().as_u128();
                running.push(n);
                let lane = &accepted[n as usize].1;
                started_order.entry(lane.clone()).or_default().push(n);
            }
            prop_assert!(running.len() <= 3 && queue.starting.len() <= 2);
            let keys = || running.iter().map(|n| &accepted[*n as usize]);
            let busy_lanes: HashSet<_> = keys().map(|(_, lane, _)| lane).collect();
            let conversations: HashSet<_> = keys().map(|(_, _, c)| c).collect();
            prop_assert_eq!(busy_lanes.len(), running.len());
            prop_assert_eq!(conversations.len(), running.len());
            prop_assert!(queue.start().is_empty());
        }
        for order in started_order.values() {
            prop_assert!(order.is_sorted());
        }
        for n in 0..next {
            queue.leave(id(n));
        }
        prop_assert_eq!((queue.slots_in_use, queue.slots_by_lane.len()), (0, 0));
            prop_assert!(queue.slots_by_owner.is_empty());
        prop_assert_eq!((queue.running(), queue.waiting()), (0, 0));
    }
}
