//! What comes while the end is being written.

use super::*;
use crate::execution::live::Control;
use crate::execution::timers::Timers;
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
