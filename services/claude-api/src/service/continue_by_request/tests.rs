//! Continuations by request that are refused.

use std::time::Duration;

use protocol::State;
use uuid::Uuid;

use super::*;
use crate::access::Caller;
use crate::registry::record::Accepted;
use crate::service::testing::{accepted, accepted_as, entry, open, status};

fn continues(id: ExecutionId) -> Body {
    Body {
        continues: Some(id),
        ..Body::new("y")
    }
}

#[tokio::test]
async fn a_continuation_of_an_execution_without_an_end_is_refused_without_a_deadlock() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path());
    // Both ids share one lock: see `Registry::lock_id`.
    let [old, new] = [1, 2].map(|n| ExecutionId::from(Uuid::from_u128(n)));
    accepted_as(&service, old, State::Running, None);
    let caller = Caller::anyone();
    let answer = service.accept(&caller, new, continues(old), ());
    let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;
    let problem = answer.expect("an answer").err().expect("a refusal");
    assert_eq!(problem.kind, ProblemType::WrongState);
}

#[tokio::test]
async fn an_end_that_is_not_on_disk_is_neither_continued_nor_amended() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path());
    let id = accepted(&service, State::Running);
    let entry = entry(&service, id);
    let body: Accepted = serde_json::from_slice(&entry.body().unwrap()).unwrap();
    let mut shown = status(&service, id);
    shown.state = State::Interrupted;
    let ticket = service.engine.registry.restore(id, &body, false);
    service.start_owner(body, entry.clone(), shown, ticket);
    let answer = service
        .accept(&Caller::anyone(), ExecutionId::random(), continues(id), ())
        .await;
    let problem = answer.err().expect("a refusal");
    assert_eq!(problem.kind, ProblemType::WrongState);
    assert!(service.engine.registry.amend(&entry, |_| {}).is_err());
    assert!(!entry.is_terminal());
    assert_eq!(status(&service, id).state, State::Running);
}
