//! The registry's decisions: each is made once.

use futures::FutureExt;
use protocol::{Body, ExecutionId, State, Status};
use spool::Entry;

use super::record::{Accepted, Chain, Record, first_status};
use super::*;
use crate::config::Permissions;
use spool::Owner;

fn open(dir: &Path) -> Registry {
    limited(dir, Limits::default())
}

fn limited(dir: &Path, limits: Limits) -> Registry {
    Registry::open(dir, &limits).unwrap().0
}

fn lock(registry: &Registry, id: ExecutionId) -> IdLock {
    registry.lock_id(id).now_or_never().expect("a free id")
}

fn request(prompt: &str) -> Accepted {
    Accepted {
        principal: None,
        body: Body::new(prompt),
        permissions: Permissions::default(),
        conversation: "c".to_owned(),
        forked_from: None,
        idle_timeout_ms: 1000,
        chain: Chain::default(),
        trace: None,
    }
}

fn accept(registry: &Registry, id: ExecutionId, prompt: &str) -> Result<Entry, NotAccepted> {
    let accepted = request(prompt);
    let status = first_status(id, &accepted);
    let digest = accepted.body.digest();
    registry.accept(&lock(registry, id), &accepted, digest, &status)
}

fn recorded(entry: &Entry) -> Status {
    Record::decode(&entry.status().unwrap()).unwrap().status
}

fn ended(entry: &Entry, state: State) -> Status {
    let mut status = recorded(entry);
    status.state = state;
    status
}

#[test]
fn an_id_is_accepted_once() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    let id = ExecutionId::random();
    assert!(matches!(registry.find(id), Ok(Lookup::Unknown)));
    let first = accept(&registry, id, "x").unwrap();
    for prompt in ["x", "y"] {
        let again = accept(&registry, id, prompt);
        assert!(matches!(again, Err(NotAccepted::Exists)), "{prompt}");
    }
    let found = registry.find(id).unwrap().into_option().unwrap();
    assert_eq!(found.body_digest(), first.body_digest());
    assert_eq!(registry.unfinished().unwrap(), [id]);
}

#[test]
fn a_burned_id_is_not_accepted_before_or_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    let id = ExecutionId::random();
    registry.burn(&lock(&registry, id), Owner::NONE).unwrap();
    registry.burn(&lock(&registry, id), Owner::NONE).unwrap();
    assert!(registry.is_burned(id, Owner::NONE));
    assert!(matches!(
        accept(&registry, id, "x"),
        Err(NotAccepted::Burned)
    ));
    drop(registry);
    let registry = open(dir.path());
    registry.recover_burned().unwrap();
    assert!(registry.is_burned(id, Owner::NONE));
    assert!(matches!(
        accept(&registry, id, "x"),
        Err(NotAccepted::Burned)
    ));
    assert_eq!(registry.unfinished().unwrap(), []);
}

#[test]
fn a_refused_burn_of_an_accepted_or_deleted_id_uses_no_slot_of_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        queued: 1,
        ..Limits::default()
    };
    let registry = limited(dir.path(), limits);
    let id = ExecutionId::random();
    let entry = accept(&registry, id, "x").unwrap();
    let burned = registry.burn(&lock(&registry, id), Owner::NONE);
    assert!(matches!(burned, Err(NotBurned::Exists)), "{burned:?}");
    let end = ended(&entry, State::Completed);
    assert_eq!(
        registry.finish(&entry, &end, None).unwrap(),
        Finish::Recorded
    );
    registry.delete(id).unwrap();
    let burned = registry.burn(&lock(&registry, id), Owner::NONE);
    assert!(matches!(burned, Err(NotBurned::Deleted)), "{burned:?}");
    let other = ExecutionId::random();
    registry.burn(&lock(&registry, other), Owner::NONE).unwrap();
    let third = ExecutionId::random();
    let burned = registry.burn(&lock(&registry, third), Owner::NONE);
    assert!(
        matches!(
            burned,
            Err(NotBurned::QueueFull(QueueFull::Queue { length: 1 }))
        ),
        "{burned:?}"
    );
    assert!(matches!(registry.find(third), Ok(Lookup::Unknown)));
}

#[test]
fn an_id_has_one_lock_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    let id = ExecutionId::random();
    let held = lock(&registry, id);
    assert!(registry.lock_id(id).now_or_never().is_none());
    assert!(registry.wait_for_id_locks().now_or_never().is_none());
    drop(held);
    assert!(registry.lock_id(id).now_or_never().is_some());
    assert!(registry.wait_for_id_locks().now_or_never().is_some());
}

#[test]
fn the_first_end_stands_and_can_be_amended() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    let id = ExecutionId::random();
    let entry = accept(&registry, id, "x").unwrap();
    let first = ended(&entry, State::Completed);
    let second = ended(&entry, State::Interrupted);
    let finish = |status| registry.finish(&entry, status, None).unwrap();
    assert_eq!(finish(&first), Finish::Recorded);
    assert_eq!(finish(&second), Finish::EarlierStands);
    assert_eq!(recorded(&entry), first);
    let next = ExecutionId::random();
    let add = |status: &mut Status| status.continued_by = Some(next);
    registry.amend(&entry, add).unwrap();
    assert_eq!(finish(&second), Finish::EarlierStands);
    let mut amended = first;
    add(&mut amended);
    assert_eq!(recorded(&entry), amended);
    assert_eq!(registry.unfinished().unwrap(), []);
}

#[test]
fn a_living_execution_is_neither_amended_nor_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    let id = ExecutionId::random();
    let entry = accept(&registry, id, "x").unwrap();
    let before = recorded(&entry);
    let early = registry.amend(&entry, |status| status.state = State::Completed);
    assert_eq!(early.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(recorded(&entry), before);
    assert!(matches!(registry.delete(id), Err(NotDeleted::Living)));
    assert!(matches!(registry.find(id), Ok(Lookup::Found(_))));
    let unknown = registry.delete(ExecutionId::random());
    assert!(matches!(unknown, Err(NotDeleted::Unknown)));
}

#[test]
fn a_deleted_id_is_refused_before_and_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    let id = ExecutionId::random();
    let entry = accept(&registry, id, "x").unwrap();
    let end = ended(&entry, State::Completed);
    assert_eq!(
        registry.finish(&entry, &end, None).unwrap(),
        Finish::Recorded
    );
    registry.delete(id).unwrap();
    registry.delete(id).unwrap();
    drop((entry, registry));
    let registry = open(dir.path());
    assert!(matches!(registry.find(id), Ok(Lookup::Deleted(_))));
    assert!(matches!(
        accept(&registry, id, "x"),
        Err(NotAccepted::Deleted)
    ));
    assert_eq!(registry.page(None, 10, None).unwrap().ids, []);
}

#[test]
fn an_intact_end_stands_and_a_damaged_end_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    let id = ExecutionId::random();
    let missing = registry.end_damaged(id, |_| panic!("there is none"));
    assert!(matches!(missing, Ok(DamageOutcome::Missing)));
    let entry = accept(&registry, id, "x").unwrap();
    let end = ended(&entry, State::Completed);
    assert_eq!(
        registry.finish(&entry, &end, None).unwrap(),
        Finish::Recorded
    );
    let intact = registry.end_damaged(id, |_| panic!("the end is intact"));
    assert!(matches!(intact, Ok(DamageOutcome::Intact(_))));
    registry.overwrite_end(&entry, b"{}");
    let outcome = registry.end_damaged(id, |remains| {
        let mut status = remains.record.status.clone();
        assert_eq!((status.state, remains.cancelled), (State::Queued, false));
        status.state = State::Interrupted;
        Ok(status)
    });
    assert!(matches!(outcome, Ok(DamageOutcome::Ended(..))));
    assert_eq!(recorded(&entry).state, State::Interrupted);
}

#[test]
fn a_lookup_that_fails_does_not_answer_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    let id = ExecutionId::random();
    drop(accept(&registry, id, "x").unwrap());
    let record = dir.path().join(format!("executions/{id}/record"));
    let length = record.metadata().unwrap().len();
    std::fs::write(&record, vec![0xff; usize::try_from(length).unwrap()]).unwrap();
    let Err(RegistryError::Damaged { id: damaged, .. }) = registry.find(id) else {
        panic!("the lookup succeeded")
    };
    assert_eq!(damaged, id);
    assert!(matches!(
        accept(&registry, id, "x"),
        Err(NotAccepted::Failed(_))
    ));
}

#[test]
fn a_policys_continuation_is_noted_in_the_old_record_before_it_exists() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    let old = accept(&registry, ExecutionId::random(), "x").unwrap();
    let accepted = request("y");
    let taken = ExecutionId::random();
    accept(&registry, taken, "z").unwrap();
    // The creation fails, but the note of its id is on disk.
    let refused = registry.accept_continuation(&old, &accepted, &first_status(taken, &accepted));
    assert!(matches!(refused, Err(NotAccepted::Exists)));
    assert_eq!(recorded(&old).continued_by, Some(taken));
    let next = first_status(ExecutionId::random(), &accepted);
    let entry = registry
        .accept_continuation(&old, &accepted, &next)
        .unwrap();
    assert_eq!(recorded(&old).continued_by, Some(next.execution_id));
    assert_eq!(recorded(&entry), next);
    assert_eq!(entry.body_digest(), accepted.body.digest());
}

#[test]
fn an_execution_is_accepted_as_running_only_with_a_permit() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    let admit = || {
        let reservation = registry.reserve(Owner::NONE, Some("lane")).unwrap();
        let id_lock = lock(&registry, ExecutionId::random());
        registry.admit(&id_lock, reservation, &request("x"))
    };
    let mut first = admit();
    let mut second = admit();
    assert_eq!(first.status.state, State::Running);
    assert_eq!(second.status.state, State::Queued);
    assert!(first.ticket.may_run() && !second.ticket.may_run());
    drop(first);
    assert!(second.ticket.may_run());
}
