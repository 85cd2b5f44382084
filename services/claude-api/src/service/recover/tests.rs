//! What a start makes of what a kill left.

use protocol::{Reason, State};

use super::*;
use crate::service::testing::{accepted, born, open, status};

fn cancel(service: &Service, id: ExecutionId) {
    let entry = service.spool.get(id.uuid()).unwrap().unwrap();
    entry.note_cancel().unwrap();
}

#[tokio::test]
async fn an_accepted_cancel_is_neither_run_nor_continued() {
    let dir = tempfile::tempdir().unwrap();
    let before = open(dir.path());
    let [queued, running, waits, interrupted] =
        [State::Queued, State::Running, State::Queued, State::Running]
            .map(|state| accepted(&before, state));
    cancel(&before, queued);
    cancel(&before, running);
    drop(before);
    let service = open(dir.path());
    service.recover().unwrap();
    for id in [queued, running] {
        let end = status(&service, id);
        assert_eq!(
            (end.state, end.reason, end.exit_code, end.continued_by),
            (State::Cancelled, None, None, None)
        );
        assert!(end.ended_at.is_some() && end.crc32.is_some());
        assert!(service.live(id).is_none(), "it was put into the queue");
    }
    assert_eq!(status(&service, waits).state, State::Queued);
    let end = status(&service, interrupted);
    assert_eq!(
        (end.state, end.reason),
        (State::Interrupted, Some(Reason::ServiceStopped))
    );
    let next = end.continued_by.expect("its policy says so");
    assert!(service.live(waits).is_some() && service.live(next).is_some());
    assert_eq!(service.admission.counts(), (2, 0));
}

#[tokio::test]
async fn an_accepted_cancel_takes_what_a_policy_made_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let before = open(dir.path());
    let old = accepted(&before, State::Running);
    let next = born(&before, old);
    cancel(&before, old);
    drop(before);
    let service = open(dir.path());
    service.recover().unwrap();
    for id in [old, next] {
        let end = status(&service, id);
        assert_eq!((end.state, end.continued_by), (State::Cancelled, None));
        assert!(service.live(id).is_none(), "it was put into the queue");
    }
}
