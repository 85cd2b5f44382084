//! Recovery at a start, after a kill of the service.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use futures::FutureExt;
use protocol::{Reason, State, Status};

use super::*;
use crate::access::{Caller, Right};
use crate::execution::policy::EndContext;
use crate::registry::record::CliProcess;
use crate::service::supervise::Work;
use crate::service::testing::{
    accepted, continuation, entry, open, open_with_runner, others, owner, status,
};

/// Stops a service and waits until nothing holds its spool any more.
async fn close(service: Arc<Service>) {
    service.stop().await;
    while Arc::strong_count(&service) > 1 {
        tokio::task::yield_now().await;
    }
}

fn cancel(service: &Service, id: ExecutionId) {
    entry(service, id).note_cancel().unwrap();
}

#[tokio::test]
async fn an_execution_with_an_accepted_cancel_is_neither_run_nor_continued() {
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
    let next = end.continued_by.expect("the policy continues it");
    assert!(service.live(waits).is_some() && service.live(next).is_some());
    assert_eq!(service.engine.registry.counts(), (2, 0));
}

#[tokio::test]
async fn an_accepted_cancel_also_cancels_the_policys_continuation() {
    let dir = tempfile::tempdir().unwrap();
    let before = open(dir.path());
    let old = accepted(&before, State::Running);
    let next = continuation(&before, old);
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

/// Returns the status as each call shows it: by id, in the list, in a follow stream.
async fn shown(service: &Arc<Service>, id: ExecutionId) -> [Status; 3] {
    let get = async |path: String| {
        let request = http::Request::get(path)
            .header("host", "localhost")
            .body(axum::body::Body::empty())
            .unwrap();
        let answer = crate::http::router(Arc::clone(service));
        let answer = tower::ServiceExt::oneshot(answer, request).await.unwrap();
        let code = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await;
        (code, bytes.unwrap())
    };
    let parse = |(code, bytes): (http::StatusCode, bytes::Bytes)| {
        assert_eq!(code, 200, "{}", String::from_utf8_lossy(&bytes));
        serde_json::from_slice::<Status>(&bytes).unwrap()
    };
    let by_id = parse(get(format!("/v1/executions/{id}")).await);
    let followed = parse(get(format!("/v1/executions/{id}?follow=true")).await);
    let (_, list) = get("/v1/executions".to_owned()).await;
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    let listed = list["executions"].as_array().unwrap().iter();
    let listed = listed
        .map(|status| serde_json::from_value::<Status>(status.clone()).unwrap())
        .find(|status| status.execution_id == id)
        .expect("the execution is in the list");
    [by_id, listed, followed]
}

fn record(service: &Service, id: ExecutionId) -> std::fs::File {
    let dir = &service.engine.settings.args.spool_dir;
    let path = dir.join("executions").join(id.to_string()).join("record");
    std::fs::File::options().write(true).open(path).unwrap()
}

/// The position of the status slots in a record, and the size of a slot (see the spool's layout).
const SLOTS_AT: u64 = 4096;
const SLOT_BYTES: u64 = 72 * 1024;

#[tokio::test]
async fn a_live_execution_with_a_damaged_record_is_interrupted_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let before = open(dir.path());
    let [header, body, output] =
        [State::Running, State::Queued, State::Running].map(|state| accepted(&before, state));
    // A second status: one damaged slot leaves another.
    for id in [header, body, output] {
        let entry = entry(&before, id);
        entry.write_status(&entry.status().unwrap(), true).unwrap();
    }
    record(&before, header).write_all_at(&[0xff], 0).unwrap();
    let body_at = SLOTS_AT + 3 * SLOT_BYTES;
    record(&before, body)
        .write_all_at(&[0xff], body_at)
        .unwrap();
    let folder = before.engine.settings.args.spool_dir.join("executions");
    std::fs::remove_file(folder.join(output.to_string()).join("output")).unwrap();
    drop(before);
    let service = open(dir.path());
    service.recover().unwrap();
    for (damaged, id) in [("header", header), ("body", body), ("output", output)] {
        for status in shown(&service, id).await {
            assert_eq!(status.state, State::Interrupted, "{damaged}");
            assert_eq!(status.reason, Some(Reason::ServiceStopped), "{damaged}");
            assert_eq!((status.exit_code, status.continued_by), (None, None));
            assert!(
                status.ended_at.is_some() && status.crc32.is_some(),
                "{damaged}"
            );
        }
        assert!(service.live(id).is_none());
        // A PUT with the same body finds the execution, and it can be deleted.
        if damaged != "body" {
            let again = protocol::Body {
                on_interrupt: protocol::OnInterrupt::Continue,
                ..protocol::Body::new("x")
            };
            let again = service.accept(&Caller::anyone(), id, again, ()).await;
            assert!(again.is_ok_and(|again| !again.created), "{damaged}");
        }
        service.delete(&Caller::anyone(), id).await.unwrap();
    }
}

#[tokio::test]
async fn an_ended_execution_with_a_damaged_status_is_shown_as_interrupted() {
    type Damage = fn(&Service, ExecutionId);
    let damages: [(&str, Damage); 5] = [
        ("the header", |service, id| {
            record(service, id).write_all_at(&[0xff], 0).unwrap();
        }),
        ("every status", |service, id| {
            let zeros = vec![0; 3 * SLOT_BYTES as usize];
            record(service, id).write_all_at(&zeros, SLOTS_AT).unwrap();
        }),
        ("the terminal status", |service, id| {
            let second = SLOTS_AT + SLOT_BYTES;
            record(service, id).write_all_at(&[0; 64], second).unwrap();
        }),
        ("a cut record", |service, id| {
            record(service, id).set_len(100).unwrap();
        }),
        ("a status of another form", |service, id| {
            let entry = entry(service, id);
            service.engine.registry.overwrite_end(&entry, b"{}");
        }),
    ];
    for (damaged, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        let before = open(dir.path());
        let id = accepted(&before, State::Running);
        let entry = entry(&before, id);
        let mut ended = status(&before, id);
        ended.state = State::Completed;
        ended.ended_at = Some(crate::times::now());
        let json = Record::encode(&ended, None, before.engine.status_bytes());
        before.engine.registry.overwrite_end(&entry, &json);
        drop(entry);
        damage(&before, id);
        drop(before);
        let service = open(dir.path());
        service.recover().unwrap();
        let mut shown = shown(&service, id).await;
        // The SHA-256 may be added between two reads.
        shown.iter_mut().for_each(|status| status.sha256 = None);
        if damaged == "the header" {
            // The status is intact.
            assert_eq!(shown[0].state, State::Completed);
        } else {
            assert_eq!(shown[0].state, State::Interrupted, "{damaged}");
            let error = shown[0].error.as_ref().expect("an error");
            assert_eq!(error.code, "record_damaged", "{damaged}");
        }
        assert!(shown[0].ended_at >= Some(shown[0].created_at), "{damaged}");
        assert_eq!(shown[0], shown[1], "{damaged}");
        assert_eq!(
            shown[0], shown[2],
            "{damaged}: each call shows the same end"
        );
        service.delete(&Caller::anyone(), id).await.unwrap();
    }
}

/// Recovery used to create a second continuation if the first had already ended.
#[tokio::test]
async fn a_continuation_that_ended_before_the_end_that_it_follows_is_the_only_one() {
    let dir = tempfile::tempdir().unwrap();
    let before = open(dir.path());
    let old = accepted(&before, State::Running);
    let entry = entry(&before, old);
    let mut end = status(&before, old);
    end.state = State::Interrupted;
    let known = EndContext {
        asked: true,
        resets_at: None,
    };
    let continuation = before
        .create_continuation(&entry, &mut end, known)
        .expect("the policy continues it");
    let next = end.continued_by.unwrap();
    // A client cancels the continuation, and a kill follows before the old execution's end is on
    // disk.
    let live = before.enqueue(continuation);
    let cancelled = live.control(crate::execution::Control::Cancel).await;
    cancelled.unwrap();
    live.ended().await.unwrap();
    drop((entry, live));
    close(before).await;
    let service = open(dir.path());
    service.recover().unwrap();
    assert_eq!(others(&service, old), [next], "a second one was created");
    let end = status(&service, old);
    assert_eq!(
        (end.state, end.continued_by),
        (State::Interrupted, Some(next))
    );
}

/// Recovery used to name the cancelled continuation in `continuedBy`.
#[tokio::test]
async fn a_cancelled_continuation_is_not_named_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let before = open(dir.path());
    let old = accepted(&before, State::Running);
    let entry = entry(&before, old);
    let mut end = status(&before, old);
    end.state = State::Interrupted;
    let known = EndContext {
        asked: true,
        resets_at: None,
    };
    let continuation = before
        .create_continuation(&entry, &mut end, known)
        .expect("the policy continues it");
    let next = end.continued_by.unwrap();
    // The note of the old execution's cancel failed, and a kill follows before its end is on disk.
    before.cancel_continuation(continuation).await;
    drop(entry);
    close(before).await;
    let service = open(dir.path());
    service.recover().unwrap();
    let end = status(&service, old);
    assert_eq!((end.state, end.continued_by), (State::Cancelled, None));
    assert_eq!(others(&service, old), [next]);
    assert_eq!(status(&service, next).state, State::Cancelled);
}

/// Recovery used to continue an execution whose inherited cancel it could not record.
#[tokio::test]
async fn an_inherited_cancel_counts_even_if_its_note_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path());
    let id = accepted(&service, State::Queued);
    let mut ownerless = service.read_ownerless(id).unwrap();
    ownerless.cancelled = true;
    let mut continuation = None;
    let recorded = service.interrupt(ownerless, Reason::ServiceStopped, &mut continuation);
    recorded.unwrap();
    assert!(continuation.is_none(), "it is continued");
    assert_eq!(status(&service, id).state, State::Cancelled);
    assert!(others(&service, id).is_empty());
}

#[tokio::test]
async fn a_sha256_that_a_stop_prevented_is_added_after_a_read_of_the_status() {
    let dir = tempfile::tempdir().unwrap();
    let before = open(dir.path());
    let id = accepted(&before, State::Running);
    let entry = entry(&before, id);
    let mut writer = entry.writer(spool::EventsStorage::Raw).unwrap();
    writer.append(b"abc");
    writer.finish();
    let mut ended = status(&before, id);
    ended.state = State::Completed;
    ended.output_bytes = 3;
    let json = Record::encode(&ended, None, before.engine.status_bytes());
    before.engine.registry.overwrite_end(&entry, &json);
    drop((entry, before));
    let service = open(dir.path());
    service.recover().unwrap();
    let view = service
        .find(&Caller::anyone(), id, Right::View)
        .await
        .unwrap();
    let ask = async {
        loop {
            let status = service.whole_status(&view).await.unwrap();
            if let Some(digest) = status.sha256 {
                return digest;
            }
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(20);
    let digest = tokio::time::timeout(limit, ask).await.expect("a SHA-256");
    assert!(digest.starts_with("ba7816bf8f01cfea"), "{digest}");
}

#[tokio::test]
async fn only_the_user_of_the_service_may_read_its_files() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path());
    let settings = &service.engine.settings.args;
    let root = &settings.workspace_root;
    let workspace = crate::cli::workspace(root, None, "one").unwrap();
    service.engine.conversations.add("c", "one", None).unwrap();
    let notes = settings.spool_dir.join("conversations");
    for path in [
        &settings.spool_dir,
        root,
        &workspace,
        &notes,
        &notes.join("c"),
    ] {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
}

/// The sweep used to run while the runner was alive, and the lane was free while the process tree
/// was alive.
#[tokio::test]
async fn the_end_of_a_panicked_owner_is_recorded_after_its_runner_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    // This runner sweeps slowly after its control socket has closed.
    let (runner, swept) = (dir.path().join("runner"), dir.path().join("swept"));
    let text = format!(
        "#!/bin/sh\ncat >/dev/null\nsleep 0.5\ntouch {}\n",
        swept.display()
    );
    std::fs::write(&runner, text).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&runner, executable).unwrap();
    let service = open_with_runner(dir.path(), &[], runner);
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
                sandbox: None,
            };
            let handle = owner.engine.runners.start(spec).await.unwrap();
            owner.runner = Some(handle.control.clone());
            panic!("planted, with {handle:?}");
        }
        .boxed()
    };
    Arc::clone(&service).supervise(owner, ticket, work).await;
    assert!(swept.exists(), "the lane is free while the runner is alive");
    let end = status(&service, id);
    assert_eq!(
        (end.state, end.reason),
        (State::Interrupted, Some(Reason::RunnerDied))
    );
}

/// The continuation used to stay on disk without an owner until the next start.
#[tokio::test]
async fn a_continuation_is_queued_even_if_the_end_that_it_follows_cannot_be_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path());
    let old = accepted(&service, State::Running);
    let mut continuation = None;
    let mut ownerless = service.read_ownerless(old).unwrap();
    // The record is too large for a status slot; only the write of the end uses it.
    ownerless.record.cli = Some(CliProcess {
        pid: 1,
        start_ticks: 0,
        boot_id: "x".repeat(spool::STATUS_BYTES_MAX),
    });
    let recorded = service.interrupt(ownerless, Reason::RunnerDied, &mut continuation);
    assert!(recorded.is_err(), "the end was recorded");
    let live = service.enqueue(continuation.expect("a continuation"));
    let mut second = None;
    let ownerless = service.read_ownerless(old).unwrap();
    service
        .interrupt(ownerless, Reason::RunnerDied, &mut second)
        .unwrap();
    assert!(second.is_none(), "the execution is continued twice");
    let end = status(&service, old);
    assert_eq!(
        (end.state, end.continued_by),
        (State::Interrupted, Some(live.id))
    );
    assert_eq!(others(&service, old), [live.id]);
}
