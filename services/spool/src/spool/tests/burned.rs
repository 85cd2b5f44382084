//! Tests of ids that were cancelled before their execution was accepted.

use std::collections::HashSet;

use super::*;

/// docs/protocol.md, "Calls": `ifUnknown=burn`.
#[test]
fn a_burned_id_is_refused_for_an_hour_across_restarts() {
    let dir = TempDir::new().unwrap();
    let spool = open(&dir);
    spool.burn(id(1), Owner::NONE).unwrap();
    spool.burn(id(1), Owner::NONE).unwrap();
    let now = SystemTime::now();
    let refused = |spool: &Spool| {
        let created = spool.create(id(1), b"body", [1; 32], b"{}", Owner::NONE);
        assert!(matches!(created, Err(SpoolError::Burned)));
        assert!(spool.get(id(1)).unwrap().is_none() && listed(spool).is_empty());
    };
    refused(&spool);
    drop(spool);
    let spool = open(&dir);
    refused(&spool);
    assert_eq!(spool.burned().unwrap(), [(id(1), Owner::NONE)]);
    let minutes = |n: u64| now + Duration::from_secs(60 * n);
    assert!(spool.expire_burned(minutes(59)).unwrap().is_empty());
    refused(&spool);
    assert_eq!(
        spool.expire_burned(minutes(61)).unwrap(),
        [(id(1), Owner::NONE)]
    );
    create(&spool, 1);
}

/// docs/protocol.md, "Calls": `ifUnknown=burn`.
#[test]
fn a_repeated_burn_restarts_its_hour() {
    let dir = TempDir::new().unwrap();
    let spool = open(&dir);
    spool.burn(id(1), Owner::NONE).unwrap();
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    let file = File::open(spool.store.burned_path(id(1), Owner::NONE)).unwrap();
    file.set_modified(now - hour).unwrap();
    spool.burn(id(1), Owner::NONE).unwrap();
    assert!(file.metadata().unwrap().modified().unwrap() >= now);
    assert!(spool.expire_burned(now + hour / 2).unwrap().is_empty());
    assert!(spool.is_burned(id(1), Owner::NONE).unwrap());
}

/// docs/protocol.md, "Calls": `ifUnknown=burn`.
#[test]
fn an_existing_or_deleted_id_cannot_be_burned() {
    let dir = TempDir::new().unwrap();
    let spool = open(&dir);
    ended(&spool, 1);
    assert!(matches!(
        spool.burn(id(1), Owner::NONE),
        Err(SpoolError::Exists { digest, .. }) if digest == [1; 32]
    ));
    spool.delete(id(1)).unwrap();
    assert!(matches!(
        spool.burn(id(1), Owner::NONE),
        Err(SpoolError::Deleted { digest, .. }) if digest == [1; 32]
    ));
    assert!(spool.burned().unwrap().is_empty());
}

/// Any principal can burn any id, so a burn must not stop the execution of another.
#[test]
fn a_burn_refuses_the_id_to_its_owner_only() {
    let dir = TempDir::new().unwrap();
    let (a, b) = (Owner::of("a"), Owner::of("b"));
    let burns = HashSet::from([(id(1), a), (id(2), Owner::NONE), (id(2), b)]);
    let spool = open(&dir);
    for (id, owner) in &burns {
        spool.burn(*id, *owner).unwrap();
    }
    drop(spool);
    let spool = open(&dir);
    let all: Vec<_> = spool.burned().unwrap();
    assert_eq!((all.len(), HashSet::from_iter(all)), (3, burns.clone()));
    for n in 1..=3 {
        for owner in [Owner::NONE, Owner::UNKNOWN, a, b] {
            let burned = spool.is_burned(id(n), owner).unwrap();
            assert_eq!(burned, burns.contains(&(id(n), owner)), "{n}, {owner:?}");
        }
    }
    let create = |n, owner| spool.create(id(n), b"body", [1; 32], b"{}", owner);
    assert!(matches!(create(1, a), Err(SpoolError::Burned)));
    assert!(matches!(create(2, Owner::NONE), Err(SpoolError::Burned)));
    assert_eq!(create(1, b).unwrap().owner(), b);
    assert_eq!(create(2, a).unwrap().owner(), a);
    let later = SystemTime::now() + Duration::from_secs(61 * 60);
    let expired = spool.expire_burned(later).unwrap();
    assert_eq!(HashSet::from_iter(expired), burns);
    assert!(spool.burned().unwrap().is_empty());
}

#[test]
fn a_refused_burn_names_the_owner_of_the_id() {
    let dir = TempDir::new().unwrap();
    let spool = open(&dir);
    let (a, b) = (Owner::of("a"), Owner::of("b"));
    ended_for(&spool, 1, a);
    for other in [a, b, Owner::NONE] {
        let burned = spool.burn(id(1), other);
        assert!(matches!(burned, Err(SpoolError::Exists { owner, .. }) if owner == a));
    }
    spool.delete(id(1)).unwrap();
    for other in [a, b, Owner::NONE] {
        let burned = spool.burn(id(1), other);
        assert!(matches!(burned, Err(SpoolError::Deleted { owner, .. }) if owner == a));
    }
    assert!(spool.burned().unwrap().is_empty());
}
