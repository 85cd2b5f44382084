//! The precedence of controls, and the event that answers each.

use std::sync::Arc;

use futures::FutureExt;
use proptest::prelude::*;

use super::*;

/// The commands that a runner received, and whether its socket is full.
#[derive(Clone, Default)]
struct Runner {
    got: Arc<Mutex<Vec<Action>>>,
    full: Arc<std::sync::atomic::AtomicBool>,
}

impl Runner {
    fn send(&self) -> SendCommand {
        let runner = self.clone();
        Box::new(move |action| {
            let taken = !runner.full.load(std::sync::atomic::Ordering::SeqCst);
            if taken {
                runner.got.lock().unwrap().push(action);
            }
            taken
        })
    }

    fn fill(&self, full: bool) {
        self.full.store(full, std::sync::atomic::Ordering::SeqCst);
    }

    fn got(&self) -> Vec<Action> {
        self.got.lock().unwrap().clone()
    }
}

fn running() -> (Wishes, Runner) {
    let (wishes, runner) = (Wishes::new(false), Runner::default());
    wishes.run(runner.send());
    (wishes, runner)
}

fn signal(wishes: &Wishes, control: Control) -> u64 {
    match wishes.apply(control) {
        Ok(AnswerAfter::Signal(revision)) => revision,
        other => panic!("{control:?}: {other:?}"),
    }
}

fn is_answered(wishes: &Wishes, revision: u64) -> bool {
    wishes.wait_until_acted(revision).now_or_never().is_some()
}

fn end(wishes: &Wishes) -> Option<EndWish> {
    wishes.newest.borrow().end
}

#[test]
fn an_end_wins_over_pause_and_resume_and_a_cancel_wins_over_a_stop() {
    use Control::{Cancel, Pause, Resume, Stop};
    for (controls, paused, expected, action) in [
        (&[][..], false, None, Action::Resume),
        (&[Pause], true, None, Action::Pause),
        (&[Pause, Resume], false, None, Action::Resume),
        (&[Resume, Pause], true, None, Action::Pause),
        (&[Stop, Pause], true, Some(EndWish::Stop), Action::Terminate),
        (&[Pause, Stop], true, Some(EndWish::Stop), Action::Terminate),
        (
            &[Stop, Cancel],
            false,
            Some(EndWish::Cancel),
            Action::Terminate,
        ),
        (
            &[Cancel, Stop],
            false,
            Some(EndWish::Cancel),
            Action::Terminate,
        ),
        (
            &[Cancel, Resume],
            false,
            Some(EndWish::Cancel),
            Action::Terminate,
        ),
    ] {
        let mut wish = Wish::default();
        for control in controls {
            wish.merge(*control);
        }
        assert_eq!((wish.paused, wish.end), (paused, expected), "{controls:?}");
        assert_eq!(wish.action(), action, "{controls:?}");
        assert_eq!(wish.revision, controls.len() as u64);
    }
}

#[test]
fn a_cancel_after_any_number_of_controls_reaches_a_runner_that_answers_none() {
    let (wishes, runner) = running();
    for _ in 0..1000 {
        signal(&wishes, Control::Pause);
    }
    signal(&wishes, Control::Cancel);
    assert_eq!(end(&wishes), Some(EndWish::Cancel));
    assert_eq!(runner.got().last(), Some(&Action::Terminate));
}

#[test]
fn a_control_that_a_full_socket_refused_is_sent_again() {
    let (wishes, runner) = running();
    runner.fill(true);
    let pause = signal(&wishes, Control::Pause);
    assert!(wishes.is_unsent());
    assert_eq!(runner.got(), []);
    runner.fill(false);
    wishes.resend();
    assert!(!wishes.is_unsent());
    assert_eq!(runner.got(), [Action::Pause]);
    assert!(!is_answered(&wishes, pause));
    wishes.signalled(Action::Pause);
    assert!(is_answered(&wishes, pause));
}

/// Without the second attempt, the runner was killed before the kill grace was over.
#[test]
fn a_term_of_the_owner_that_a_full_socket_refused_is_sent_again() {
    let (wishes, runner) = running();
    runner.fill(true);
    wishes.terminate();
    assert!(wishes.is_unsent());
    runner.fill(false);
    wishes.resend();
    assert!(!wishes.is_unsent());
    assert_eq!(runner.got(), [Action::Terminate]);
    wishes.terminate();
    wishes.resend();
    assert_eq!(runner.got(), [Action::Terminate], "TERM is sent once");
}

#[test]
fn a_resume_is_not_answered_by_the_signal_of_the_pause_before_it() {
    let (wishes, runner) = running();
    let pause = signal(&wishes, Control::Pause);
    let resume = signal(&wishes, Control::Resume);
    assert_eq!(runner.got(), [Action::Pause, Action::Resume]);
    wishes.signalled(Action::Pause);
    assert!(is_answered(&wishes, pause));
    assert!(!is_answered(&wishes, resume));
    wishes.signalled(Action::Resume);
    assert!(is_answered(&wishes, resume));
}

#[test]
fn a_signal_without_a_waiting_control_answers_none() {
    let (wishes, _runner) = running();
    let pause = signal(&wishes, Control::Pause);
    wishes.signalled(Action::Terminate);
    assert!(!is_answered(&wishes, pause));
    // A time limit of the owner ends the tree: the pause got no answer and counts as answered.
    wishes.terminate();
    wishes.signalled(Action::Terminate);
    assert!(is_answered(&wishes, pause));
}

#[test]
fn a_repeated_cancel_sends_no_second_term_and_is_answered_with_the_first() {
    let (wishes, runner) = running();
    let stop = signal(&wishes, Control::Stop);
    let cancel = signal(&wishes, Control::Cancel);
    let pause = signal(&wishes, Control::Pause);
    assert_eq!(runner.got(), [Action::Terminate]);
    for revision in [stop, cancel, pause] {
        assert!(!is_answered(&wishes, revision));
    }
    wishes.signalled(Action::Terminate);
    for revision in [stop, cancel, pause] {
        assert!(is_answered(&wishes, revision));
    }
    let late = signal(&wishes, Control::Cancel);
    assert!(is_answered(&wishes, late), "TERM was sent long ago");
}

#[test]
fn a_cancel_of_a_tree_that_a_time_limit_ends_sends_no_second_term() {
    for signalled_before in [false, true] {
        let (wishes, runner) = running();
        wishes.terminate();
        if signalled_before {
            wishes.signalled(Action::Terminate);
        }
        let cancel = signal(&wishes, Control::Cancel);
        assert_eq!(is_answered(&wishes, cancel), signalled_before);
        wishes.signalled(Action::Terminate);
        assert!(is_answered(&wishes, cancel));
        assert_eq!(end(&wishes), Some(EndWish::Cancel));
        assert_eq!(runner.got(), [Action::Terminate]);
    }
}

#[test]
fn a_repeated_cancel_is_not_answered_by_the_pause_before_it() {
    let (wishes, runner) = running();
    signal(&wishes, Control::Pause);
    runner.fill(true);
    signal(&wishes, Control::Cancel);
    let cancel = signal(&wishes, Control::Cancel);
    wishes.signalled(Action::Pause);
    assert!(!is_answered(&wishes, cancel), "no TERM was sent");
    runner.fill(false);
    wishes.resend();
    wishes.signalled(Action::Terminate);
    assert!(is_answered(&wishes, cancel));
    assert_eq!(runner.got(), [Action::Pause, Action::Terminate]);
}

#[test]
fn a_queued_execution_refuses_a_pause_and_its_cancel_is_answered_by_the_end() {
    let wishes = Wishes::new(true);
    assert_eq!(wishes.apply(Control::Pause), Err(State::Queued));
    assert_eq!(wishes.apply(Control::Resume), Ok(AnswerAfter::Nothing));
    assert_eq!(wishes.apply(Control::Stop), Ok(AnswerAfter::Nothing));
    assert!(
        wishes.leave_queue(),
        "a stop or a refused pause does not keep it from starting"
    );
    assert!(!wishes.newest.borrow().paused);
    let wishes = Wishes::new(true);
    assert_eq!(
        wishes.apply(Control::Cancel),
        Ok(AnswerAfter::End { accepted: true })
    );
    assert!(!wishes.leave_queue(), "no process may start");
}

#[test]
fn a_control_before_the_start_is_the_first_command() {
    for (control, expected) in [
        (Control::Pause, &[Action::Pause][..]),
        (Control::Cancel, &[Action::Terminate]),
        (Control::Stop, &[Action::Terminate]),
        (Control::Resume, &[]),
    ] {
        let (wishes, runner) = (Wishes::new(true), Runner::default());
        assert!(wishes.leave_queue());
        let revision = signal(&wishes, control);
        assert!(!is_answered(&wishes, revision));
        wishes.run(runner.send());
        assert_eq!(runner.got(), expected, "{control:?}");
        assert_eq!(is_answered(&wishes, revision), expected.is_empty());
    }
}

#[test]
fn a_cancel_counts_until_the_end_is_decided() {
    let (wishes, _runner) = running();
    wishes.exited();
    assert_eq!(wishes.apply(Control::Cancel), Ok(AnswerAfter::Nothing));
    assert_eq!(wishes.seal(), Some(EndWish::Cancel));
    let (wishes, _runner) = running();
    wishes.exited();
    assert_eq!(wishes.seal(), None);
    for control in [Control::Cancel, Control::Pause, Control::Resume] {
        assert_eq!(
            wishes.apply(control),
            Ok(AnswerAfter::End { accepted: false })
        );
    }
    assert_eq!(end(&wishes), None, "the end is decided");
}

#[test]
fn waiting_controls_are_answered_when_the_cli_exits_or_the_end_is_published() {
    let (wishes, _runner) = running();
    let pause = signal(&wishes, Control::Pause);
    wishes.exited();
    assert!(is_answered(&wishes, pause));
    let wishes = Wishes::new(false);
    let resume = signal(&wishes, Control::Resume);
    wishes.seal();
    assert!(!is_answered(&wishes, resume));
    wishes.answer_all();
    assert!(is_answered(&wishes, resume));
}

proptest! {
    /// For all controls and all delays of the runner: the last command matches the merged controls,
    /// and every control is answered.
    #[test]
    fn the_last_command_matches_the_merged_controls(
        steps in prop::collection::vec((0..5_usize, any::<bool>()), 1..40),
    ) {
        let (wishes, runner) = running();
        let mut model = Wish::default();
        let mut answered = 0;
        for (step, full) in steps {
            runner.fill(full);
            let controls = [Control::Pause, Control::Resume, Control::Cancel, Control::Stop];
            if let Some(control) = controls.get(step) {
                model.merge(*control);
                prop_assert_eq!(wishes.apply(*control), Ok(AnswerAfter::Signal(model.revision)));
            } else if let Some(action) = runner.got().get(answered) {
                wishes.signalled(*action);
                answered += 1;
            }
        }
        runner.fill(false);
        wishes.resend();
        for action in &runner.got()[answered..] {
            wishes.signalled(*action);
        }
        prop_assert_eq!(*wishes.newest.borrow(), model);
        prop_assert!(is_answered(&wishes, model.revision));
        if model.revision > 0 {
            prop_assert_eq!(runner.got().last().copied(), Some(model.action()));
        }
    }
}
