//! Cancels that arrive while an execution ends.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::execution::Control;
use crate::execution::phase::Input;
use crate::execution::progress::Timers;
use crate::execution::wish::{AnswerAfter, EndWish};
use crate::registry::record::begin;
use crate::service::testing::{accepted, end, open, others, owner, status};
use crate::times::Times;

#[tokio::test]
async fn a_cancel_before_the_end_is_recorded_also_cancels_the_continuation() {
    for (asked, state) in [
        (&[][..], State::Interrupted),
        (&[Control::Resume, Control::Cancel], State::Cancelled),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let service = open(dir.path());
        let id = accepted(&service, State::Running);
        let (mut owner, _ticket) = owner(&service, id, asked);
        let second = Duration::from_secs(1);
        let timers = Timers::new(Instant::now(), second, second, None);
        let limits = &service.engine.settings.limits;
        let mut machine = Machine::new(
            status(&service, id),
            timers,
            owner.times,
            limits,
            second,
            false,
            false,
        );
        let now = Instant::now();
        machine.apply(Input::Wished(Some(EndWish::Stop)), now);
        machine.apply(Input::TermSent, now);
        machine.apply(Input::Done(Exit::Signal(15)), now);
        // The run has no output.
        let writer = owner.entry.writer(spool::EventsStorage::Raw).unwrap();
        writer.finish();
        let marks = *owner.entry.marks().unwrap().borrow();
        let finished = FinishedRun {
            machine,
            marks,
            runner_failure: None,
            unkillable: Vec::new(),
        };
        let decided = ended(&mut owner, finished).await;
        service.finish(&mut owner, decided).await;
        let last = status(&service, id);
        assert_eq!(last.state, state, "{asked:?}");
        let others = others(&service, id);
        let [next] = others[..] else {
            panic!("{others:?}")
        };
        if state == State::Interrupted {
            assert_eq!(last.continued_by, Some(next));
            assert_eq!(status(&service, next).state, State::Queued);
        } else {
            assert_eq!((last.reason, last.continued_by), (None, None));
            assert_eq!(end(&service, next).await.state, State::Cancelled);
        }
    }
}

/// The wall clock was set back during the run, or before the start.
#[tokio::test]
async fn the_times_of_an_execution_never_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path());
    let id = accepted(&service, State::Running);
    let (mut owner, _ticket) = owner(&service, id, &[]);
    let hours = jiff::SignedDuration::from_hours(2);
    let mut running = status(&service, id);
    running.created_at += hours;
    running.started_at = running.started_at.map(|at| at + hours);
    owner.times = Times::following(&running);
    let decided = failed_to_start(&mut owner, running, EndedBy::Itself, "no such file");
    service.finish(&mut owner, decided).await;
    let last = status(&service, id);
    assert!(last.started_at >= Some(last.created_at), "{last:?}");
    assert!(last.ended_at >= last.started_at, "{last:?}");
    let next = others(&service, id);
    assert!(next.is_empty());
    // The clock was set back before the start.
    let mut queued = status(&service, id);
    queued.created_at += hours;
    let times = Times::following(&queued);
    begin(&mut queued, times.now());
    assert!(queued.started_at >= Some(queued.created_at), "{queued:?}");
}

#[tokio::test]
async fn a_cancel_after_the_decision_is_answered_with_the_recorded_end() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path());
    let id = accepted(&service, State::Running);
    let (mut owner, _ticket) = owner(&service, id, &[]);
    let mut ended = status(&service, id);
    ended.state = State::Completed;
    let wishes = Arc::clone(&owner.wishes);
    assert_eq!(wishes.seal(), None);
    assert_eq!(
        wishes.apply(Control::Cancel),
        Ok(AnswerAfter::End { accepted: false })
    );
    let decided = Ended {
        status: ended,
        context: None,
        digest_is_due: false,
    };
    service.finish(&mut owner, decided).await;
    assert_eq!(status(&service, id).state, State::Completed);
}
