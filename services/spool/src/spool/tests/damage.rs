//! Tests that one damaged file on disk does not affect other executions.

use super::*;
use crate::{layout::BODY_AT, track::tests::read_only};

fn record_of(spool: &Spool, n: u128) -> File {
    File::options()
        .read(true)
        .write(true)
        .open(spool.store.folder(id(n)).join("record"))
        .unwrap()
}

type Damage = fn(&Spool, u128);

/// Kinds of damage to an ended entry.
const DAMAGES: [(&str, Damage); 5] = [
    ("a header byte", |spool, n| {
        record_of(spool, n).write_all_at(&[0xff], 10).unwrap();
    }),
    ("every status", |spool, n| {
        let zeros = vec![0; (BODY_AT - SLOTS_AT) as usize];
        record_of(spool, n).write_all_at(&zeros, SLOTS_AT).unwrap();
    }),
    ("the terminal status", |spool, n| {
        let second = SLOTS_AT + 72 * 1024;
        record_of(spool, n).write_all_at(&[0; 64], second).unwrap();
    }),
    ("a cut record", |spool, n| {
        record_of(spool, n).set_len(100).unwrap();
    }),
    ("no record", |spool, n| {
        fs::remove_file(spool.store.folder(id(n)).join("record")).unwrap();
    }),
];

#[test]
fn retention_removes_a_damaged_entry_and_the_ones_after_it() {
    for (label, damage) in DAMAGES {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(&dir);
        for n in 1..=3 {
            ended(&spool, n);
        }
        damage(&spool, 1);
        drop(spool);
        let spool = open(&dir);
        let deleted = spool.expire(SystemTime::now() + Duration::from_secs(7200));
        assert_eq!(listed(&spool), [0; 0], "{label}: {deleted:?}");
        assert_eq!(deleted.unwrap(), [id(1), id(2), id(3)], "{label}");
        assert!(spool.tombstone(id(1)).is_some(), "{label}");
        let folders = fs::read_dir(dir.path().join("executions")).unwrap();
        assert_eq!(folders.count(), 0, "{label}");
        let again = spool.create(id(1), b"again", [1; 32], b"{}", Owner::NONE);
        assert!(matches!(again, Err(SpoolError::Deleted { .. })), "{label}");
    }
}

/// The entry that cannot be removed stays; all others are removed.
#[test]
fn an_entry_that_cannot_be_removed_stops_neither_the_start_nor_retention() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    for n in 1..=3 {
        ended(&spool, n);
    }
    spool.delete(id(3)).unwrap();
    // An interrupted deletion whose leftovers cannot be removed.
    let uncut = File::options()
        .write(true)
        .open(spool.store.tombstone_path(id(3)))
        .unwrap();
    uncut.set_len(SLOTS_AT + 1).unwrap();
    fs::write(spool.store.folder(id(3)), b"no folder").unwrap();
    // A tombstone that is not a file, and an entry whose tombstone cannot be created.
    fs::create_dir_all(spool.store.tombstone_path(id(9)).join("x")).unwrap();
    fs::create_dir_all(spool.store.tombstone_path(id(1)).join("x")).unwrap();
    drop(spool);
    let (spool, _) = Spool::open(dir.path(), LIMITS).expect("the start");
    let deleted = spool.expire(SystemTime::now() + Duration::from_secs(7200));
    assert_eq!(listed(&spool), [1], "{deleted:?}");
    let later = SystemTime::now() + Duration::from_secs(31 * 24 * 3600);
    let _ = spool.expire(later);
    assert_eq!(spool.tombstone(id(2)), None, "its 30 days are over");
}

/// Without this, the execution's output would stay on disk.
#[test]
fn retention_finishes_a_deletion_that_failed_after_its_tombstone() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let folder = spool.store.folder(id(1));
    drop(ended(&spool, 1));
    fs::rename(folder.join("record"), spool.store.tombstone_path(id(1))).unwrap();
    let later = SystemTime::now() + Duration::from_secs(7200);
    spool.expire(later).unwrap();
    assert!(!folder.exists(), "the output stays on disk");
    assert!(
        spool.expire(later).unwrap().is_empty(),
        "every pass removes the execution again"
    );
}

#[test]
fn a_list_continues_after_a_damaged_entry() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    for n in 1..=3 {
        ended(&spool, n);
    }
    record_of(&spool, 2).write_all_at(&[0xff], 10).unwrap();
    let page = spool.page(Some(id(2)), 10, None).expect("a page");
    assert_eq!(page.ids, [id(1)]);
}

/// A deleted id never runs again (docs/protocol.md, "Invariants"), even if its tombstone is
/// damaged.
#[test]
fn a_damaged_tombstone_still_refuses_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    ended(&spool, 1);
    spool.delete(id(1)).unwrap();
    let tombstone = File::options()
        .write(true)
        .open(spool.store.tombstone_path(id(1)))
        .unwrap();
    tombstone.write_all_at(&[0xff], 10).unwrap();
    let again = spool.create(id(1), b"again", [1; 32], b"{}", Owner::NONE);
    assert!(matches!(again, Err(SpoolError::Deleted { .. })));
}

/// A mark that cannot be written stands for a kill before the hole is made.
#[test]
fn recovery_after_a_power_cut_makes_no_hole_before_the_mark() {
    for kept in [EventsStorage::Raw, EventsStorage::InOutput] {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(&dir);
        let entry = create(&spool, 1);
        let mut writer = entry.writer(kept).unwrap();
        writer.append(&[b'a'; 10_000]);
        writer.append_events(&[b'e'; 10_000]);
        writer.finish();
        spool.end(&entry, b"{}").unwrap();
        let folder = spool.store.folder(id(1));
        drop((entry, spool));
        // The power cut lost the ends of the files.
        for name in ["output", "events"] {
            let file = File::options().write(true).open(folder.join(name)).unwrap();
            file.set_len(file.metadata().unwrap().len().min(5000))
                .unwrap();
        }
        let spool = open(&dir);
        let record = read_only(&folder.join("record"));
        let header = Header::read(&record).unwrap();
        let slots = Slots::load(&record).unwrap();
        let entry = Entry::new(
            Arc::clone(&spool.store),
            Arc::clone(&spool.open),
            folder,
            header,
            record,
            slots,
        );
        assert!(entry.reader(0).is_err(), "the mark cannot be written");
        drop(entry);
        let entry = spool.get(id(1)).unwrap().unwrap();
        let marks = *entry.marks().unwrap().borrow();
        assert_eq!(
            (marks.kept_from, marks.len),
            (10_000, 10_000),
            "{kept:?}: readers would get NULs"
        );
        drop((entry, spool));
        // The same for the events, at the start after the one that made the hole.
        let spool = open(&dir);
        let entry = spool.get(id(1)).unwrap().unwrap();
        let read = async { entry.events_reader().unwrap().next(1 << 20).await };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let events = runtime.block_on(read);
        assert!(
            !matches!(&events, Ok(Some(bytes)) if bytes.contains(&0)),
            "{kept:?}: NULs"
        );
    }
}

#[test]
fn a_pass_of_retention_checks_a_bounded_number_of_tombstones() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let folder = dir.path().join("tombstones");
    for n in 1..=2500 {
        File::create(folder.join(name(id(n)))).unwrap();
    }
    let remaining = || fs::read_dir(&folder).unwrap().count();
    let later = SystemTime::now() + Duration::from_secs(31 * 24 * 3600);
    spool.expire(later).unwrap();
    assert!(remaining() >= 1000, "one pass checked all tombstones");
    for _ in 0..3 {
        spool.expire(later).unwrap();
    }
    assert_eq!(remaining(), 0);
}
