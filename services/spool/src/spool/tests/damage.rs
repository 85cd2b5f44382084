//! One damaged thing on disk stops no work on the others.

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

/// The kinds of damage to an ended entry.
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

/// ENGINE A1.
#[test]
fn retention_removes_a_damaged_entry_and_all_behind_it() {
    for (what, damage) in DAMAGES {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(&dir);
        for n in 1..=3 {
            ended(&spool, n);
        }
        damage(&spool, 1);
        drop(spool);
        let spool = open(&dir);
        let gone = spool.expire(SystemTime::now() + Duration::from_secs(7200));
        assert_eq!(listed(&spool), [0; 0], "{what}: {gone:?}");
        assert_eq!(gone.unwrap(), [id(1), id(2), id(3)], "{what}");
        assert!(spool.tombstone(id(1)).is_some(), "{what}");
        let folders = fs::read_dir(dir.path().join("executions")).unwrap();
        assert_eq!(folders.count(), 0, "{what}");
        let again = spool.create(id(1), b"again", [1; 32], b"{}");
        assert!(matches!(again, Err(SpoolError::Deleted { .. })), "{what}");
    }
}

/// ENGINE A1, its kind: what cannot be removed stays, and all others go.
#[test]
fn an_entry_that_cannot_be_removed_stops_neither_the_start_nor_retention() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    for n in 1..=3 {
        ended(&spool, n);
    }
    spool.delete(id(3)).unwrap();
    // A deletion that was cut off, whose rest cannot be removed.
    let uncut = File::options()
        .write(true)
        .open(spool.store.tombstone_path(id(3)))
        .unwrap();
    uncut.set_len(SLOTS_AT + 1).unwrap();
    fs::write(spool.store.folder(id(3)), b"no folder").unwrap();
    // A tombstone that is no file, and an entry whose tombstone cannot be made.
    fs::create_dir_all(spool.store.tombstone_path(id(9)).join("x")).unwrap();
    fs::create_dir_all(spool.store.tombstone_path(id(1)).join("x")).unwrap();
    drop(spool);
    let (spool, _) = Spool::open(dir.path(), LIMITS).expect("the start");
    let gone = spool.expire(SystemTime::now() + Duration::from_secs(7200));
    assert_eq!(listed(&spool), [1], "{gone:?}");
    let later = SystemTime::now() + Duration::from_secs(31 * 24 * 3600);
    let _ = spool.expire(later);
    assert_eq!(spool.tombstone(id(2)), None, "its 30 days are over");
}

/// ENGINE A1, its kind: a deletion that failed behind its tombstone is finished by the next pass.
#[test]
fn a_deletion_that_failed_behind_its_tombstone_is_finished_by_retention() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let folder = spool.store.folder(id(1));
    drop(ended(&spool, 1));
    fs::rename(folder.join("record"), spool.store.tombstone_path(id(1))).unwrap();
    let later = SystemTime::now() + Duration::from_secs(7200);
    spool.expire(later).unwrap();
    assert!(!folder.exists(), "its output takes room for ever");
    assert!(
        spool.expire(later).unwrap().is_empty(),
        "it is removed each time"
    );
}

/// ENGINE A1, its kind.
#[test]
fn a_list_continues_after_a_damaged_entry() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    for n in 1..=3 {
        ended(&spool, n);
    }
    record_of(&spool, 2).write_all_at(&[0xff], 10).unwrap();
    let page = spool.page(Some(id(2)), 10).expect("a page");
    assert_eq!(page.ids, [id(1)]);
}

/// An id must never run again because its tombstone is damaged (I4).
#[test]
fn a_damaged_tombstone_is_still_a_tombstone() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    ended(&spool, 1);
    spool.delete(id(1)).unwrap();
    let tombstone = File::options()
        .write(true)
        .open(spool.store.tombstone_path(id(1)))
        .unwrap();
    tombstone.write_all_at(&[0xff], 10).unwrap();
    let again = spool.create(id(1), b"again", [1; 32], b"{}");
    assert!(matches!(again, Err(SpoolError::Deleted { .. })));
}

/// ENGINE A9: a kill between the mark and the hole, as a mark that cannot be written.
#[test]
fn a_power_cut_of_the_output_makes_no_hole_before_the_mark() {
    for kept in [EventsKept::Raw, EventsKept::InOutput] {
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
        // The power cut took the ends of the files.
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
            "{kept:?}: NULs are served"
        );
        drop((entry, spool));
        // The events too, at the start behind the one that made the hole.
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

/// ENGINE A18.
#[test]
fn a_pass_of_retention_looks_at_a_bounded_number_of_tombstones() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let folder = dir.path().join("tombstones");
    for n in 1..=2500 {
        File::create(folder.join(name(id(n)))).unwrap();
    }
    let left = || fs::read_dir(&folder).unwrap().count();
    let later = SystemTime::now() + Duration::from_secs(31 * 24 * 3600);
    spool.expire(later).unwrap();
    assert!(left() >= 1000, "one pass looked at all of them");
    for _ in 0..3 {
        spool.expire(later).unwrap();
    }
    assert_eq!(left(), 0);
}
