//! What a start makes of what a kill left.

use futures::FutureExt;
use protocol::{Reason, State};
use std::time::Duration;

use super::*;
use crate::service::Work;
use crate::service::testing::{accepted, born, open, open_by, owner, status};

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

/// ENGINE A16: the sweep ran while the runner lived, and the lane was free while the tree did.
#[tokio::test]
async fn the_end_of_a_panicked_owner_is_recorded_after_its_runner_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    // A runner that takes its time to sweep once its control socket has closed.
    let (runner, swept) = (dir.path().join("runner"), dir.path().join("swept"));
    let text = format!(
        "#!/bin/sh\ncat >/dev/null\nsleep 0.5\ntouch {}\n",
        swept.display()
    );
    std::fs::write(&runner, text).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&runner, executable).unwrap();
    let service = open_by(dir.path(), &[], runner);
    let id = accepted(&service, State::Running);
    let (owner, ticket) = owner(&service, id, &[]);
    let work: Work = |owner, _| {
        async move {
            let spec = runner::Spec {
                program: "true".into(),
                args: Vec::new(),
                env: Vec::new(),
                cwd: "/".into(),
                stdout_pipe_bytes: 0,
                start_patience: Duration::ZERO,
            };
            let handle = owner.service.runners.start(spec).await.unwrap();
            owner.runner = Some(handle.control.clone());
            panic!("planted, with {handle:?}");
        }
        .boxed()
    };
    Arc::clone(&service).supervise(owner, ticket, work).await;
    assert!(swept.exists(), "the lane is free, and the runner lives");
    let end = status(&service, id);
    assert_eq!(
        (end.state, end.reason),
        (State::Interrupted, Some(Reason::RunnerDied))
    );
}
