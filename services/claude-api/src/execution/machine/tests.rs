//! The effect of each event on the status and the time limits.

use jiff::Timestamp;

use protocol::status::STDERR_TAIL_BYTES;
use renderer::{Activity, Fact};
use serde_json::json;

use super::*;
use crate::execution::lost::Lost;
use crate::execution::policy::was_asked;
use crate::execution::verdict::{EndedBy, Exit};
use crate::registry::record::begin;

fn machine(now: Instant) -> Machine {
    let mut status = Status::queued(
        protocol::ExecutionId::random(),
        Timestamp::UNIX_EPOCH,
        "default".into(),
    );
    status.state = State::Running;
    let timers = Timers::new(
        now,
        Duration::from_secs(120),
        Duration::from_secs(900),
        None,
    );
    let times = Times::following(&status);
    let tool_limit = Duration::from_secs(120);
    let limits = Limits::default();
    Machine::new(status, timers, times, &limits, tool_limit, false, false)
}

fn ended_by(machine: Machine) -> EndedBy {
    machine.into_end().2.ended_by
}

const TERMINATE: Option<Order> = Some(Order::Terminate);

fn bash(id: &str, timeout_ms: Option<u64>) -> RunningTool {
    RunningTool {
        id: id.to_owned(),
        name: "Bash".to_owned(),
        timeout_ms,
    }
}

fn result() -> Fact {
    Fact::Result(Box::default())
}

#[test]
fn the_linger_grace_ends_a_tree_only_after_its_last_result() {
    let start = Instant::now();
    let second = Duration::from_secs(1);
    let mut machine = machine(start);
    machine.fact(result(), start);
    assert_eq!(machine.check_limits(start + 4 * second), None);
    machine.fact(
        Fact::Init {
            session_id: None,
            model: None,
        },
        start + 4 * second,
    );
    assert_eq!(
        machine.check_limits(start + 60 * second),
        None,
        "background work continues"
    );
    machine.fact(result(), start + 60 * second);
    assert_eq!(
        machine.next_check(start + 60 * second),
        Some(start + 65 * second)
    );
    assert_eq!(machine.check_limits(start + 65 * second), TERMINATE);
    assert_eq!(
        machine.check_limits(start + 66 * second),
        None,
        "it is ordered once"
    );
    assert_eq!(
        machine.next_check(start + 66 * second),
        None,
        "no check is due"
    );
    assert_eq!(ended_by(machine), EndedBy::Linger);
}

#[test]
fn no_check_is_due_while_an_execution_is_being_ended() {
    let start = Instant::now();
    let second = Duration::from_secs(1);
    let mut machine = machine(start);
    machine.timers = Timers::new(start, second, 900 * second, Some(10 * second));
    assert!(machine.next_check(start).is_some());
    assert_eq!(machine.check_limits(start + 10 * second), TERMINATE);
    assert_eq!(machine.next_check(start + 11 * second), None);
    assert_eq!(ended_by(machine), EndedBy::Deadline);
}

#[test]
fn a_second_init_does_not_hide_that_the_model_was_asked() {
    let start = Instant::now();
    let init = || Fact::Init {
        session_id: None,
        model: None,
    };
    let mut machine = machine(start);
    begin(&mut machine.status, Timestamp::UNIX_EPOCH);
    machine.fact(init(), start);
    machine.fact(Fact::Activity(Activity::Starting), start);
    assert!(!was_asked(&machine.status));
    machine.fact(Fact::Activity(Activity::Writing), start);
    assert!(was_asked(&machine.status));
    machine.fact(result(), start);
    machine.fact(init(), start);
    machine.fact(Fact::Activity(Activity::Starting), start);
    assert!(was_asked(&machine.status), "{:?}", machine.status.activity);
}

#[test]
fn a_pause_stops_the_linger_grace_and_warns_of_a_passed_tool_limit() {
    let start = Instant::now();
    let second = Duration::from_secs(1);
    let mut machine = machine(start);
    machine.fact(Fact::ToolsRunning(vec![bash("t", None)]), start);
    machine.fact(result(), start);
    machine.paused(start + second);
    machine.paused(start + 2 * second);
    assert_eq!(machine.status.state, State::Paused);
    assert_eq!(machine.next_check(start + 3 * second), None);
    assert_eq!(machine.check_limits(start + 1000 * second), None);
    machine.resumed(start + 1001 * second);
    assert_eq!(machine.status.state, State::Running);
    assert_eq!(machine.status.warnings[0].code, "tool_time_limit_passed");
    assert_eq!(machine.check_limits(start + 1004 * second), None);
    assert_eq!(machine.check_limits(start + 1005 * second), TERMINATE);
}

#[test]
fn a_resume_names_the_tool_whose_limit_passed_in_the_pause() {
    let start = Instant::now();
    let at = |second| start + Duration::from_secs(second);
    let mut machine = machine(start);
    let agent = RunningTool {
        name: "Task".to_owned(),
        ..bash("agent", None)
    };
    // The default is 120 s. One limit passed before the pause, one is not reached, and an agent has
    // none.
    let tools = vec![
        bash("passed", Some(5_000)),
        bash("default", None),
        bash("longer", Some(200_000)),
        agent,
    ];
    machine.fact(Fact::ToolsRunning(tools.clone()), at(0));
    // The list is reported again when another tool starts; a known tool keeps the time of its
    // start.
    machine.fact(
        Fact::ToolsRunning(tools.into_iter().rev().collect()),
        at(50),
    );
    machine.paused(at(100));
    machine.resumed(at(130));
    let warnings = std::mem::take(&mut machine.status.warnings);
    let data: Vec<_> = warnings.iter().map(|w| w.data.clone()).collect();
    let default = json!({ "tool": "Bash", "pausedMs": 30_000, "limitMs": 120_000 });
    assert_eq!(data, [default]);
    // The next pause does not repeat the warning.
    machine.paused(at(140));
    machine.resumed(at(150));
    assert!(machine.status.warnings.is_empty());
}

#[test]
fn the_linger_grace_begins_when_stdin_is_closed() {
    let start = Instant::now();
    let second = Duration::from_secs(1);
    let mut machine = machine(start);
    machine.stdin_open = true;
    machine.fact(Fact::Activity(Activity::Writing), start);
    machine.fact(result(), start);
    assert_eq!(machine.status.activity, None);
    assert_eq!(machine.check_limits(start + 60 * second), None);
    machine.stdin_closed(start + 60 * second);
    assert_eq!(machine.check_limits(start + 64 * second), None);
    assert_eq!(
        machine.next_check(start + 64 * second),
        Some(start + 65 * second)
    );
    assert_eq!(machine.check_limits(start + 65 * second), TERMINATE);
    assert_eq!(ended_by(machine), EndedBy::Linger);
}

#[test]
fn an_execution_with_input_never_counts_as_answered() {
    let start = Instant::now();
    let mut machine = machine(start);
    machine.fact(result(), start);
    assert!(machine.has_answered());
    machine.accepted_input = true;
    machine.stdin_open = true;
    assert!(!machine.has_answered());
    // The last message may not have reached the CLI yet.
    machine.stdin_closed(start);
    assert!(!machine.has_answered());
}

#[test]
fn a_denial_is_listed_once() {
    let mut machine = machine(Instant::now());
    let denial = json!({ "tool_name": "Bash", "tool_use_id": "t1", "message": "m" });
    machine.fact(Fact::ToolDenied { denial }, Instant::now());
    let more =
        json!({ "tool_name": "Bash", "tool_use_id": "t1", "tool_input": { "command": "x" } });
    let outcome = Outcome {
        permission_denials: vec![more.clone(), json!({ "tool_use_id": "t2" })],
        ..Outcome::default()
    };
    machine.fact(Fact::Result(Box::new(outcome)), Instant::now());
    assert_eq!(
        machine.status.permission_denials,
        [more, json!({ "tool_use_id": "t2" })]
    );
}

#[test]
fn stderr_keeps_its_tail() {
    let mut machine = machine(Instant::now());
    machine.stderr(&vec![b'a'; 1 << 20]);
    machine.stderr(b"the end");
    assert_eq!(machine.stderr_tail().len(), STDERR_TAIL_BYTES);
    assert!(machine.stderr_tail().ends_with("the end"));
}

#[test]
fn output_ends_a_stall() {
    let start = Instant::now();
    let mut machine = machine(start);
    machine.changed = false;
    assert_eq!(machine.check_limits(start + Duration::from_secs(121)), None);
    assert!(machine.status.stalled && machine.changed);
    machine.output(start + Duration::from_secs(122));
    machine.check_limits(start + Duration::from_secs(123));
    assert!(!machine.status.stalled);
    assert_eq!(
        machine.check_limits(start + Duration::from_secs(122 + 900)),
        TERMINATE
    );
    assert_eq!(ended_by(machine), EndedBy::Idle);
}

#[test]
fn a_full_disk_is_one_warning_and_leaves_room_for_others() {
    let mut machine = machine(Instant::now());
    let lost = |output| Lost { output, events: 7 };
    machine.disk_full(lost(0));
    machine.changed = false;
    for output in 1..=1000 {
        machine.disk_full(lost(output));
    }
    assert!(!machine.changed, "the status is not published again");
    machine.warn("process_left", String::new(), serde_json::Value::Null);
    let warnings = &machine.status.warnings;
    let codes: Vec<_> = warnings.iter().map(|w| (w.seq, w.code.as_str())).collect();
    assert_eq!(codes, [(1, "disk_full"), (2, "process_left")]);
    assert_eq!(
        warnings[0].data,
        json!({ "lostBytes": 1000, "lostEventsBytes": 7 })
    );
}

#[test]
fn no_time_limit_ends_a_cli_that_has_exited_even_in_a_long_sweep() {
    let start = Instant::now();
    let second = Duration::from_secs(1);
    let mut machine = machine(start);
    machine.fact(result(), start);
    machine.apply(Input::Exited(Exit::Code(0)), start);
    assert_eq!(machine.check_limits(start + 1000 * second), None);
    assert_eq!(machine.next_check(start + 1000 * second), None);
    assert_eq!(ended_by(machine), EndedBy::Itself);
}

#[test]
fn lost_events_are_one_warning_that_counts_them() {
    let now = Instant::now();
    let mut machine = machine(now);
    for _ in 0..100 {
        machine.fact(Fact::EventLost, now);
    }
    let warnings: Vec<_> = machine.status.warnings.iter().collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(
        (warnings[0].code.as_str(), &warnings[0].data),
        ("event_lost", &json!({"events": 100}))
    );
    assert!(machine.changed);
}

#[test]
fn the_cost_is_the_larger_count_of_the_cli_and_of_the_api() {
    let now = Instant::now();
    let mut machine = machine(now);
    let result = |cost_usd| {
        Fact::Result(Box::new(Outcome {
            cost_usd: Some(cost_usd),
            ..Outcome::default()
        }))
    };
    let charges = |cost_usd| Charges {
        cost_usd: Some(cost_usd),
        ..Charges::default()
    };
    machine.charged(&Charges::default());
    assert_eq!(machine.status().cost_usd, None);
    machine.charged(&charges(0.25));
    assert_eq!(machine.status().cost_usd, Some(0.25));
    machine.take_changed();
    machine.charged(&charges(0.25));
    assert!(!machine.take_changed(), "nothing is news");
    machine.fact(result(0.125), now);
    assert_eq!(machine.status().cost_usd, Some(0.25));
    machine.fact(result(0.5), now);
    assert_eq!(machine.status().cost_usd, Some(0.5));
    machine.charged(&charges(0.75));
    assert_eq!(machine.status().cost_usd, Some(0.75));
}

#[test]
fn the_reset_of_the_cli_wins_over_that_of_the_api_which_is_rounded_up() {
    let now = Instant::now();
    let mut machine = machine(now);
    machine.charged(&Charges {
        resets_at_ms: Some(5001),
        ..Charges::default()
    });
    assert_eq!(machine.resets_at(), Some(6));
    let of_cli = Outcome {
        resets_at: Some(9),
        ..Outcome::default()
    };
    machine.fact(Fact::Result(Box::new(of_cli)), now);
    assert_eq!(machine.resets_at(), Some(9));
}

#[test]
fn restarts_of_credentials_are_one_warning_with_their_number() {
    let mut machine = machine(Instant::now());
    for restarts in [0, 1, 1, 3] {
        machine.charged(&Charges {
            restarts,
            ..Charges::default()
        });
    }
    let warnings = &machine.status().warnings;
    let listed: Vec<_> = warnings.iter().map(|w| (&*w.code, &w.data)).collect();
    assert_eq!(
        listed,
        [("credentials_restarted", &json!({ "restarts": 3 }))]
    );
}
