//! The precedence of causes, and a model that knows the whole history.

use proptest::prelude::*;

use super::*;

const GRACE: Duration = Duration::from_secs(5);
const CANCEL: Input = Input::Wished(Some(EndWish::Cancel));
const STOP: Input = Input::Wished(Some(EndWish::Stop));
const IDLE: Input = Input::TimeLimitPassed(TimeLimit::Idle);
const LINGER: Input = Input::TimeLimitPassed(TimeLimit::Linger);
const DEADLINE: Input = Input::TimeLimitPassed(TimeLimit::Deadline);
const EXITED: Input = Input::Exited(Exit::Code(3));
const DONE: Input = Input::Done(Exit::Code(3));

/// The phase of a run after these inputs, which all happened at the same time.
fn after(inputs: &[Input]) -> Phase {
    let now = Instant::now();
    inputs.iter().fold(Phase::Starting, |phase, input| {
        phase.step(input.clone(), now, GRACE).0
    })
}

fn ended_by(inputs: &[Input]) -> EndedBy {
    after(inputs).into_end().ended_by
}

#[test]
fn a_cancel_replaces_every_cause_and_a_stop_or_a_time_limit_replaces_none() {
    use EndedBy::{Cancel, Deadline, Idle, Linger, Stop};
    for (first, second, expected) in [
        (STOP, CANCEL, Cancel),
        (IDLE, CANCEL, Cancel),
        (DEADLINE, CANCEL, Cancel),
        (LINGER, CANCEL, Cancel),
        (Input::RunnerDied, CANCEL, Cancel),
        (CANCEL, STOP, Cancel),
        (CANCEL, IDLE, Cancel),
        (IDLE, STOP, Idle),
        (LINGER, STOP, Linger),
        (STOP, LINGER, Stop),
        (DEADLINE, IDLE, Deadline),
        (Input::RunnerDied, STOP, EndedBy::RunnerDeath),
        (Input::Wished(None), DONE, EndedBy::Itself),
    ] {
        let inputs = [Input::Spawned, first, second];
        assert_eq!(ended_by(&inputs), expected, "{inputs:?}");
    }
}

/// A runner does not answer a second command to end the tree. An owner that waited for that answer
/// would kill the runner, and the CLI with it, in the middle of the kill grace.
#[test]
fn a_cancel_after_term_waits_for_no_second_answer() {
    for first in [STOP, DEADLINE, LINGER] {
        let terminated = after(&[first.clone(), Input::TermSent]);
        let kill_runner_at = terminated.kill_runner_at();
        let (cancelled, order) = terminated.step(CANCEL, Instant::now(), GRACE);
        assert_eq!(order, None, "{first:?}");
        assert_eq!(cancelled.kill_runner_at(), kill_runner_at, "{first:?}");
        assert_eq!(cancelled.into_end().ended_by, EndedBy::Cancel, "{first:?}");
    }
}

/// Found by the soak with seed 904417: a stop at the same time as the exit of a CLI.
#[test]
fn a_cli_that_was_reaped_before_term_ended_by_itself() {
    for (cause, before_term, after_term) in [
        (Input::Wished(None), EndedBy::Itself, EndedBy::Itself),
        (STOP, EndedBy::Itself, EndedBy::Stop),
        (CANCEL, EndedBy::Cancel, EndedBy::Cancel),
        (LINGER, EndedBy::Itself, EndedBy::Linger),
        (IDLE, EndedBy::Itself, EndedBy::Idle),
    ] {
        let early = [cause.clone(), EXITED, DONE];
        assert_eq!(ended_by(&early), before_term, "{early:?}");
        let late = [cause, Input::TermSent, EXITED, DONE];
        assert_eq!(ended_by(&late), after_term, "{late:?}");
    }
}

/// Found by the soak with seed 904417: a stop after the exit, while the tree is swept and the pipes
/// are drained.
#[test]
fn after_the_exit_a_stop_changes_nothing_and_a_cancel_still_decides() {
    for end in [&[EXITED][..], &[EXITED, DONE]] {
        let with = |wish| [end, &[wish]].concat();
        assert_eq!(ended_by(&with(STOP)), EndedBy::Itself);
        assert_eq!(ended_by(&with(IDLE)), EndedBy::Itself);
        assert_eq!(ended_by(&with(CANCEL)), EndedBy::Cancel);
        assert_eq!(after(&with(CANCEL)).into_end().exit, Exit::Code(3));
    }
}

#[test]
fn the_first_report_of_an_exit_counts() {
    let message = "no such file".to_owned();
    for (inputs, exit) in [
        (vec![DONE], Exit::Code(3)),
        (vec![EXITED, Input::RunnerDied], Exit::Code(3)),
        (vec![Input::Spawned, Input::RunnerDied], Exit::Unknown),
        (
            vec![Input::SpawnFailed(message.clone())],
            Exit::NotStarted(message.clone()),
        ),
        (
            vec![CANCEL, Input::TermSent, Input::SpawnFailed(message.clone())],
            Exit::NotStarted(message.clone()),
        ),
        (
            vec![Input::Spawned, Input::SpawnFailed(message.clone())],
            Exit::NotStarted(message.clone()),
        ),
        (vec![EXITED, Input::SpawnFailed(message)], Exit::Code(3)),
    ] {
        assert_eq!(after(&inputs).into_end().exit, exit, "{inputs:?}");
    }
}

#[test]
fn a_runner_that_does_not_report_is_killed_once() {
    for (inputs, patience) in [
        (vec![CANCEL], RUNNER_ANSWER),
        (vec![IDLE], RUNNER_ANSWER),
        (vec![STOP, Input::TermSent], GRACE + RUNNER_GRACE),
        (vec![EXITED], 2 * RUNNER_GRACE),
        (vec![STOP, Input::StillSweeping], 2 * RUNNER_GRACE),
    ] {
        let now = Instant::now();
        let phase = inputs.iter().fold(Phase::Starting, |phase, input| {
            phase.step(input.clone(), now, GRACE).0
        });
        assert_eq!(phase.kill_runner_at(), Some(now + patience), "{inputs:?}");
        let early = now + patience - Duration::from_millis(1);
        let (phase, order) = phase.step(Input::Tick, early, GRACE);
        assert_eq!(order, None, "{inputs:?}");
        let (phase, order) = phase.step(Input::Tick, now + patience, GRACE);
        assert_eq!(order, Some(Order::KillRunner), "{inputs:?}");
        let (phase, order) = phase.step(Input::Tick, now + 2 * patience, GRACE);
        assert_eq!((order, phase.kill_runner_at()), (None, None), "{inputs:?}");
    }
    for inputs in [vec![], vec![Input::Spawned], vec![DONE]] {
        assert_eq!(after(&inputs).kill_runner_at(), None, "{inputs:?}");
    }
}

/// The cause of the end according to the whole history, without phases: the rules at the head of
/// the module.
fn ended_by_in(history: &[Input]) -> EndedBy {
    let first = |wanted: fn(&Input) -> bool| history.iter().position(wanted);
    let is_end = |input: &Input| {
        matches!(
            input,
            Input::Exited(_) | Input::Done(_) | Input::SpawnFailed(_) | Input::RunnerDied
        )
    };
    if history.contains(&CANCEL) {
        return EndedBy::Cancel;
    }
    let end = first(is_end).unwrap_or(history.len());
    let cause = history[..end].iter().find_map(|input| match input {
        Input::Wished(Some(EndWish::Stop)) => Some(EndedBy::Stop),
        Input::TimeLimitPassed(TimeLimit::Idle) => Some(EndedBy::Idle),
        Input::TimeLimitPassed(TimeLimit::Deadline) => Some(EndedBy::Deadline),
        Input::TimeLimitPassed(TimeLimit::Linger) => Some(EndedBy::Linger),
        _ => None,
    });
    let Some(cause) = cause else {
        return match history.get(end) {
            Some(Input::RunnerDied) | None => EndedBy::RunnerDeath,
            Some(_) => EndedBy::Itself,
        };
    };
    let caused = first(|input| {
        matches!(
            input,
            Input::Wished(Some(EndWish::Stop)) | Input::TimeLimitPassed(_)
        )
    });
    let term_sent = history[..end]
        .iter()
        .enumerate()
        .any(|(at, input)| *input == Input::TermSent && caused.is_some_and(|caused| at > caused));
    match history.get(end) {
        Some(Input::Exited(_) | Input::SpawnFailed(_)) if !term_sent => EndedBy::Itself,
        _ => cause,
    }
}

/// The exit of the CLI according to the first report of it.
fn exit_in(history: &[Input]) -> Exit {
    let reported = history.iter().find_map(|input| match input {
        Input::Exited(exit) | Input::Done(exit) => Some(exit.clone()),
        Input::SpawnFailed(message) => Some(Exit::NotStarted(message.clone())),
        Input::RunnerDied => Some(Exit::Unknown),
        _ => None,
    });
    reported.unwrap_or(Exit::Unknown)
}

fn any_input() -> impl Strategy<Value = Input> {
    let exit = prop_oneof![
        (0..3).prop_map(Exit::Code),
        (1..3).prop_map(Exit::Signal),
        Just(Exit::Unknown)
    ];
    prop_oneof![
        2 => Just(Input::Wished(None)),
        1 => Just(CANCEL),
        2 => Just(STOP),
        2 => prop_oneof![Just(IDLE), Just(DEADLINE), Just(LINGER)],
        2 => Just(Input::Spawned),
        1 => Just(Input::SpawnFailed("no such file".to_owned())),
        3 => Just(Input::TermSent),
        2 => exit.clone().prop_map(Input::Exited),
        1 => Just(Input::StillSweeping),
        1 => exit.prop_map(Input::Done),
        1 => Just(Input::RunnerDied),
        2 => Just(Input::Tick),
    ]
}

proptest! {
    /// Any inputs in any order, also those that no runner reports: the end follows from the
    /// history, the last phase is final, and TERM and the runner's death are ordered only when they
    /// are due.
    #[test]
    fn phases_agree_with_the_whole_history(
        steps in proptest::collection::vec((any_input(), 0_u64..3000), 0..24),
    ) {
        let mut now = Instant::now();
        let mut phase = Phase::Starting;
        let mut history = Vec::new();
        for (input, ms) in steps {
            now += Duration::from_millis(ms);
            let before = phase.clone();
            let (next, order) = phase.step(input.clone(), now, GRACE);
            let due = match &input {
                Input::TimeLimitPassed(_) if before.is_underway() => Some(Order::Terminate),
                Input::Tick if before.kill_runner_at().is_some_and(|at| at <= now) => {
                    Some(Order::KillRunner)
                }
                _ => None,
            };
            prop_assert_eq!(order, due);
            prop_assert!(next.is_finished() || !before.is_finished());
            prop_assert!(!next.is_underway() || before.is_underway());
            history.push(input);
            phase = next;
        }
        let end = phase.into_end();
        prop_assert_eq!(end.ended_by, ended_by_in(&history));
        prop_assert_eq!(end.exit, exit_in(&history));
    }
}
