//! Tests of the owners of executions: lists, deletion and damage.

use proptest::{prelude::*, sample::Index as Choice};

use super::*;
use crate::index::Slot;

fn record_of(spool: &Spool, n: u128) -> File {
    File::options()
        .write(true)
        .open(spool.store.folder(id(n)).join("record"))
        .unwrap()
}

fn damage_header(spool: &Spool, n: u128) {
    record_of(spool, n).write_all_at(&[0xff], 10).unwrap();
}

fn damage_row(dir: &TempDir, sequence: u64) {
    let index = File::options()
        .write(true)
        .open(dir.path().join("index"))
        .unwrap();
    index.write_all_at(&[9], 64 * sequence + 6).unwrap();
}

fn owner_in_row(spool: &Spool, sequence: u64) -> Owner {
    match spool.store.index().at(sequence).unwrap() {
        Slot::Row(row) => row.owner,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_owner_survives_a_restart_the_end_and_the_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let a = Owner::of("a");
    let spool = open(&dir);
    drop(create_for(&spool, 1, a));
    drop(spool);
    let spool = open(&dir);
    let entry = spool.get(id(1)).unwrap().unwrap();
    assert_eq!((entry.owner(), owner_in_row(&spool, 0)), (a, a));
    spool.end(&entry, b"{}").unwrap();
    assert_eq!(owner_in_row(&spool, 0), a, "the end writes the row again");
    let again = spool.create(id(1), b"body", [1; 32], b"{}", Owner::of("b"));
    assert!(matches!(again, Err(SpoolError::Exists { owner, .. }) if owner == a));
    spool.delete(id(1)).unwrap();
    drop((entry, spool));
    let spool = open(&dir);
    let tombstone = spool.tombstone(id(1)).unwrap();
    assert_eq!((tombstone.digest, tombstone.owner), ([1; 32], a));
    let again = spool.create(id(1), b"body", [1; 32], b"{}", Owner::of("b"));
    assert!(matches!(again, Err(SpoolError::Deleted { owner, .. }) if owner == a));
}

#[test]
fn a_list_before_an_execution_of_another_owner_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let (a, b) = (Owner::of("a"), Owner::of("b"));
    for (n, owner) in [(1, a), (2, b), (3, a), (4, b)] {
        ended_for(&spool, n, owner);
    }
    spool.delete(id(4)).unwrap();
    damage_header(&spool, 2);
    for n in [2, 4] {
        let refused = spool.page(Some(id(n)), 10, Some(a));
        assert!(
            matches!(&refused, Err(SpoolError::UnknownBefore(before)) if *before == id(n)),
            "{n}: {refused:?}"
        );
        assert!(spool.page(Some(id(n)), 10, Some(b)).is_ok(), "{n}");
        assert!(spool.page(Some(id(n)), 10, None).is_ok(), "{n}");
    }
    let before = |n, owner| spool.page(Some(id(n)), 10, owner).unwrap().ids;
    assert_eq!(before(3, Some(a)), [id(1)]);
    assert_eq!(before(4, Some(b)), [id(2)]);
    assert_eq!(before(3, None), [id(2), id(1)]);
}

#[test]
fn missing_folders_of_another_owner_do_not_shorten_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let (a, b) = (Owner::of("a"), Owner::of("b"));
    for n in 1..=6 {
        ended_for(&spool, n, if n % 2 == 0 { a } else { b });
    }
    for n in [1, 3, 5] {
        fs::remove_dir_all(spool.store.folder(id(n))).unwrap();
    }
    let page = spool.page(None, 2, Some(a)).unwrap();
    assert_eq!((page.ids, page.next), (vec![id(6), id(4)], Some(id(4))));
    let page = spool.page(Some(id(4)), 2, Some(a)).unwrap();
    assert_eq!((page.ids, page.next), (vec![id(2)], None));
}

#[test]
fn a_damaged_header_is_restored_with_the_owner_of_its_row() {
    let a = Owner::of("a");
    let damages: [fn(&Spool); 3] = [
        |spool| damage_header(spool, 1),
        |spool| record_of(spool, 1).set_len(100).unwrap(),
        |spool| record_of(spool, 1).set_len(0).unwrap(),
    ];
    for (case, damage) in damages.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(&dir);
        ended_for(&spool, 1, a);
        damage(&spool);
        drop(spool);
        let spool = open(&dir);
        let entry = spool.restore(id(1), |_| None).unwrap().unwrap();
        assert_eq!(entry.owner(), a, "case {case}");
        drop((entry, spool));
        let entry = open(&dir).get(id(1));
        if let Ok(Some(entry)) = entry {
            assert_eq!(entry.owner(), a, "case {case}");
        }
    }
}

#[test]
fn a_damaged_row_is_restored_with_the_owner_of_its_header() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let (a, b) = (Owner::of("a"), Owner::of("b"));
    for (n, owner) in [(1, a), (2, b), (3, a)] {
        ended_for(&spool, n, owner);
    }
    drop(spool);
    damage_row(&dir, 0);
    damage_row(&dir, 1);
    let spool = open(&dir);
    assert_eq!(listed_for(&spool, Some(a)), [3, 1]);
    assert_eq!(listed_for(&spool, Some(b)), [2]);
}

/// The execution stays for the operator, but no principal may see it.
#[test]
fn an_execution_whose_header_and_row_are_damaged_belongs_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let a = Owner::of("a");
    ended_for(&spool, 1, a);
    ended_for(&spool, 2, a);
    damage_header(&spool, 1);
    drop(spool);
    damage_row(&dir, 0);
    let spool = open(&dir);
    for step in 0..2 {
        assert_eq!(listed(&spool).len(), 2, "step {step}");
        assert_eq!(listed_for(&spool, Some(a)), [2], "step {step}");
        assert!(listed_for(&spool, Some(Owner::NONE)).is_empty());
        let entry = spool.restore(id(1), |_| Some([1; 32])).unwrap().unwrap();
        assert_eq!(entry.owner(), Owner::UNKNOWN, "step {step}");
    }
    let again = spool.create(id(1), b"body 1", [1; 32], b"{}", a);
    assert!(matches!(again, Err(SpoolError::Exists { owner, .. }) if owner == Owner::UNKNOWN));
}

#[test]
fn restore_without_a_row_keeps_the_owner_of_an_intact_header_only() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let a = Owner::of("a");
    for n in 1..=2 {
        ended_for(&spool, n, a);
        spool.store.index().clear(n as u64 - 1).unwrap();
    }
    damage_header(&spool, 2);
    let owner = |n| spool.restore(id(n), |_| None).unwrap().unwrap().owner();
    assert_eq!((owner(1), owner(2)), (a, Owner::UNKNOWN));
}

#[test]
fn the_tombstone_of_a_damaged_execution_has_the_owner_of_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let a = Owner::of("a");
    for n in 1..=3 {
        ended_for(&spool, n, a);
    }
    damage_header(&spool, 1);
    fs::remove_file(spool.store.folder(id(2)).join("record")).unwrap();
    // The statuses of the third are damaged, its header is not.
    record_of(&spool, 3).set_len(1000).unwrap();
    let later = SystemTime::now() + Duration::from_secs(7200);
    assert_eq!(spool.expire(later).unwrap().len(), 3);
    for n in 1..=3 {
        assert_eq!(spool.tombstone(id(n)).unwrap().owner, a, "{n}");
    }
}

#[test]
fn a_damaged_tombstone_belongs_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    ended_for(&spool, 1, Owner::of("a"));
    spool.delete(id(1)).unwrap();
    let path = spool.store.tombstone_path(id(1));
    let tombstone = File::options().write(true).open(path).unwrap();
    tombstone.write_all_at(&[0xff], 80).unwrap();
    let tombstone = spool.tombstone(id(1)).unwrap();
    assert_eq!(
        (tombstone.digest, tombstone.owner),
        ([0; 32], Owner::UNKNOWN)
    );
}

/// Returns all pages of a list, one after the other.
fn pages(spool: &Spool, limit: usize, owner: Option<Owner>) -> Vec<Uuid> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = spool.page(before, limit, owner).unwrap();
        assert!(page.ids.len() <= limit);
        assert!(page.next.is_none() || page.ids.len() == limit);
        all.extend(page.ids);
        before = page.next;
        if before.is_none() {
            return all;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Each list has exactly the executions of its owner, newest first, whatever was deleted.
    #[test]
    fn pages_of_an_owner_are_the_list_of_all_without_the_others(
        owners in proptest::collection::vec(0_usize..3, 1..12),
        deleted in proptest::collection::vec(any::<Choice>(), 0..4),
        limit in 1_usize..5,
        restarts: bool,
    ) {
        let principals = [Owner::NONE, Owner::of("a"), Owner::of("b")];
        let dir = tempfile::tempdir().unwrap();
        let mut spool = open(&dir);
        let mut model = Vec::new();
        for (n, owner) in (1..).zip(&owners) {
            ended_for(&spool, n, principals[*owner]);
            model.insert(0, (id(n), principals[*owner]));
        }
        for choice in deleted {
            if !model.is_empty() {
                let (id, _) = model.remove(choice.index(model.len()));
                spool.delete(id).unwrap();
            }
        }
        if restarts {
            drop(spool);
            spool = open(&dir);
        }
        let all: Vec<_> = model.iter().map(|(id, _)| *id).collect();
        prop_assert_eq!(pages(&spool, limit, None), all);
        for owner in principals {
            let own: Vec<_> = model.iter().filter(|row| row.1 == owner).map(|row| row.0).collect();
            prop_assert_eq!(pages(&spool, limit, Some(owner)), own);
        }
        prop_assert!(pages(&spool, limit, Some(Owner::UNKNOWN)).is_empty());
    }
}
