//! What comes while the end is being written.

use super::*;
use crate::execution::live::Control;
use crate::execution::task::begin;
use crate::execution::timers::Timers;
use crate::execution::times::Times;
use crate::execution::wish::Answer;
use crate::service::testing::{accepted, end, open, others, owner, status};

#[tokio::test]
async fn a_cancel_beside_the_end_counts_and_takes_the_continuation_with_it() {
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
        let limits = &service.settings.limits;
        let mut machine = Machine::new(status(&service, id), timers, limits, second, false);
        machine.by = EndedBy::Stop;
        // It wrote nothing.
        let writer = owner.entry.writer(spool::EventsKept::Raw).unwrap();
        writer.finish();
        let marks = *owner.entry.marks().unwrap().borrow();
        let left = End {
            machine,
            marks,
            spawn_failed: None,
            runner_failure: None,
            exit: (None, Some(15)),
            unkillable: Vec::new(),
            spawned: true,
        };
        ended(&mut owner, left).await;
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

/// Field case C18: the wall clock was set back in the run, or before the start.
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
    failed_to_start(&mut owner, running, EndedBy::Itself, "no such file").await;
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

/// ENGINE A8: behind the decision a cancel changes nothing, waits for the record, and is answered
/// with the end.
#[tokio::test]
async fn a_cancel_behind_the_decision_is_answered_with_the_recorded_end() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path());
    let id = accepted(&service, State::Running);
    let (mut owner, _ticket) = owner(&service, id, &[]);
    let mut ended = status(&service, id);
    ended.state = State::Completed;
    let wishes = Arc::clone(&owner.wishes);
    assert_eq!(wishes.seal(), None);
    assert_eq!(
        wishes.ask(Control::Cancel),
        Ok(Answer::End { accepted: false })
    );
    close(&mut owner, ended, true, None).await;
    assert_eq!(status(&service, id).state, State::Completed);
}

/// With eight executions whose processes outlived SIGKILL, the end of another one whose runner was
/// killed was recorded after 15 s.
#[tokio::test]
async fn one_sweep_goes_on_for_all_and_none_who_asked_is_forgotten() {
    let sweeps = Sweeps::default();
    let (at_once, most, swept) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let sweep = || async {
        let now = at_once.fetch_add(1, Ordering::SeqCst) + 1;
        most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        at_once.fetch_sub(1, Ordering::SeqCst);
        // Something is left the first time.
        swept.fetch_add(1, Ordering::SeqCst) > 0
    };
    let go_on = || sweeps.go_on(Duration::from_millis(1), &sweep);
    let late = async {
        // In the middle of the second sweep, which may not have seen what this one left.
        while swept.load(Ordering::SeqCst) == 0 || at_once.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        go_on().await;
    };
    tokio::join!(go_on(), go_on(), go_on(), late);
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert_eq!(swept.load(Ordering::SeqCst), 3);
    go_on().await;
    assert_eq!(swept.load(Ordering::SeqCst), 4, "a later one begins anew");
}
