//! Burned ids: races, slots of the queue, expiry.

use std::time::Duration;

use protocol::{Body, State};

use super::*;
use crate::access::Caller;
use crate::service::testing::{accepted, end, open, open_with, status};

async fn accept(service: &Arc<Service>, id: ExecutionId) -> Result<bool, ProblemType> {
    let accepted = service
        .accept(&Caller::anyone(), id, Body::new("x"), ())
        .await;
    accepted
        .map(|accepted| accepted.created)
        .map_err(|problem| problem.kind)
}

async fn burn(service: &Arc<Service>, id: ExecutionId) -> Result<Option<State>, ProblemType> {
    match service
        .cancel_or_burn(&Caller::anyone(), id, Cancel::Now)
        .await
    {
        Ok(Burn::Burned) => Ok(None),
        Ok(Burn::Cancelled(status)) => Ok(Some(status.state())),
        Err(problem) => Err(problem.kind),
    }
}

/// docs/protocol.md, "Calls": `ifUnknown=burn`.
#[tokio::test]
async fn a_burn_during_an_acceptance_leaves_a_cancelled_execution_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path());
    for _ in 0..50 {
        let id = ExecutionId::random();
        let (put, cancel) = tokio::join!(accept(&service, id), burn(&service, id));
        match put {
            Ok(_) => {
                let Ok(Some(_)) = cancel else {
                    panic!("the execution was accepted, and its cancel answered {cancel:?}")
                };
                assert_eq!(end(&service, id).await.state, State::Cancelled);
            }
            Err(kind) => {
                assert_eq!(kind, ProblemType::CancelledBeforeAccepted);
                assert_eq!(cancel, Ok(None));
                assert!(service.live(id).is_none());
            }
        }
    }
}

/// docs/protocol.md, "Limits": `queued` counts burned ids.
#[tokio::test]
async fn burned_ids_use_slots_of_the_queue_until_they_expire() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--queued=2"];
    let service = open_with(dir.path(), &flags);
    let [first, second, third] = std::array::from_fn(|_| ExecutionId::random());
    assert_eq!(burn(&service, first).await, Ok(None));
    assert_eq!(accept(&service, second).await, Ok(true));
    assert_eq!(burn(&service, third).await, Err(ProblemType::QueueFull));
    assert_eq!(accept(&service, third).await, Err(ProblemType::QueueFull));
    // Neither a repeated burn nor a cancel of a known id uses a second slot.
    assert_eq!(burn(&service, first).await, Ok(None));
    assert!(burn(&service, second).await.is_ok());
    end(&service, second).await;
    assert_eq!(burn(&service, third).await, Ok(None));
    drop(service);
    // After a restart, the burned ids use slots again.
    let service = open_with(dir.path(), &flags);
    service.recover().unwrap();
    let other = ExecutionId::random();
    assert_eq!(accept(&service, other).await, Err(ProblemType::QueueFull));
    let refused = Err(ProblemType::CancelledBeforeAccepted);
    assert_eq!(accept(&service, first).await, refused);
    let later = SystemTime::now() + Duration::from_secs(3700);
    service.expire_burned(later).await;
    assert_eq!(accept(&service, other).await, Ok(true));
    assert_eq!(accept(&service, first).await, Ok(true));
}

/// docs/protocol.md, "Calls": `ifUnknown=burn`.
#[tokio::test]
async fn a_burn_of_a_known_id_is_an_ordinary_cancel_and_a_deleted_one_stays_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let before = open(dir.path());
    let [running, queued] = [State::Running, State::Queued].map(|s| accepted(&before, s));
    drop(before);
    let service = open(dir.path());
    service.recover().unwrap();
    assert_eq!(burn(&service, running).await, Ok(Some(State::Interrupted)));
    assert!(burn(&service, queued).await.unwrap().is_some());
    end(&service, queued).await;
    assert_eq!(status(&service, queued).state, State::Cancelled);
    service.delete(&Caller::anyone(), running).await.unwrap();
    assert_eq!(burn(&service, running).await, Err(ProblemType::Deleted));
    assert_eq!(accept(&service, running).await, Err(ProblemType::Deleted));
    assert!(service.engine.registry.burned_ids() == 0);
}
