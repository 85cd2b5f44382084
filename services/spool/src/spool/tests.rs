//! Tests of acceptance, lists, deletion, retention and the start after a crash.

use std::{
    fs,
    os::unix::fs::FileExt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

use super::*;
use crate::{
    events::EventsStorage,
    folder::disk_bytes,
    index::{EndFacts, Index, Row},
    layout::SLOTS_AT,
    marks::Marks,
    store::name,
};

mod burned;
mod damage;
mod lease;
mod old_format;
mod owner;
mod power_cut;
mod shares;

const LIMITS: SpoolLimits = SpoolLimits {
    kept_bytes: 1 << 20,
    kept_lines: 0,
    events_bytes: 1 << 20,
    retention: Duration::from_secs(3600),
    retention_bytes: u64::MAX,
};

fn open(dir: &TempDir) -> Spool {
    open_with(dir, LIMITS)
}

fn open_with(dir: &TempDir, limits: SpoolLimits) -> Spool {
    Spool::open(dir.path(), limits).unwrap().0
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn create(spool: &Spool, n: u128) -> Entry {
    create_for(spool, n, Owner::NONE)
}

fn create_for(spool: &Spool, n: u128, owner: Owner) -> Entry {
    spool
        .create(
            id(n),
            format!("body {n}").as_bytes(),
            [n as u8; 32],
            b"{\"state\":\"queued\"}",
            owner,
        )
        .unwrap()
}

fn ended(spool: &Spool, n: u128) -> Entry {
    ended_for(spool, n, Owner::NONE)
}

fn ended_for(spool: &Spool, n: u128, owner: Owner) -> Entry {
    let entry = create_for(spool, n, owner);
    spool.end(&entry, b"{\"state\":\"completed\"}").unwrap();
    entry
}

fn listed(spool: &Spool) -> Vec<u128> {
    listed_for(spool, None)
}

fn listed_for(spool: &Spool, owner: Option<Owner>) -> Vec<u128> {
    spool
        .page(None, 1000, owner)
        .unwrap()
        .ids
        .iter()
        .map(Uuid::as_u128)
        .collect()
}

#[test]
fn an_accepted_execution_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = create(&spool, 1);
    entry
        .write_status(b"{\"state\":\"running\"}", true)
        .unwrap();
    drop((entry, spool));
    let spool = open(&dir);
    let entry = spool.get(id(1)).unwrap().unwrap();
    assert_eq!(entry.body().unwrap(), b"body 1");
    assert_eq!(entry.body_digest(), [1; 32]);
    assert_eq!(entry.status().unwrap(), b"{\"state\":\"running\"}");
    assert!(!entry.is_terminal());
    assert!(spool.get(id(2)).unwrap().is_none());
    assert!(matches!(
        spool.create(id(1), b"other", [2; 32], b"{}", Owner::NONE),
        Err(SpoolError::Exists { digest, .. }) if digest == [1; 32]
    ));
    assert_eq!(entry.body().unwrap(), b"body 1");
}

#[test]
fn leftovers_of_a_failed_acceptance_do_not_prevent_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    fs::create_dir(spool.store.staging(id(1))).unwrap();
    fs::write(spool.store.staging(id(1)).join("record"), b"cut").unwrap();
    assert_eq!(create(&spool, 1).body().unwrap(), b"body 1");
}

#[test]
fn a_second_process_cannot_open_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    assert!(matches!(
        Spool::open(dir.path(), LIMITS),
        Err(SpoolError::InUse(_))
    ));
    drop(spool);
    open(&dir);
}

#[test]
fn a_deleted_execution_leaves_a_tombstone_for_30_days() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = create(&spool, 7);
    assert!(matches!(spool.delete(id(7)), Err(SpoolError::Live)));
    assert!(matches!(spool.delete(id(8)), Err(SpoolError::Unknown(_))));
    spool.end(&entry, b"{}").unwrap();
    spool.delete(id(7)).unwrap();
    spool.delete(id(7)).unwrap();
    assert_eq!(entry.status().unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(spool.end(&entry, b"{}").is_err());
    drop((entry, spool));
    let spool = open(&dir);
    assert!(spool.get(id(7)).unwrap().is_none());
    assert_eq!(spool.tombstone(id(7)).unwrap().digest, [7; 32]);
    assert!(matches!(
        spool.create(id(7), b"again", [7; 32], b"{}", Owner::NONE),
        Err(SpoolError::Deleted { digest, .. }) if digest == [7; 32]
    ));
    assert!(
        fs::metadata(spool.store.tombstone_path(id(7)))
            .unwrap()
            .len()
            <= SLOTS_AT
    );
    assert_eq!(
        fs::read_dir(dir.path().join("executions")).unwrap().count(),
        0
    );
    let day = Duration::from_secs(24 * 3600);
    spool.expire(SystemTime::now() + 29 * day).unwrap();
    assert!(spool.tombstone(id(7)).is_some());
    spool.expire(SystemTime::now() + 31 * day).unwrap();
    assert_eq!(spool.tombstone(id(7)), None);
    create(&spool, 7);
}

#[test]
fn the_start_finishes_a_deletion_that_a_crash_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    ended(&spool, 1);
    ended(&spool, 2);
    fs::rename(
        spool.store.folder(id(1)).join("record"),
        spool.store.tombstone_path(id(1)),
    )
    .unwrap();
    drop(spool);
    let spool = open(&dir);
    assert_eq!(spool.tombstone(id(1)).unwrap().digest, [1; 32]);
    assert!(!spool.store.folder(id(1)).exists());
    assert_eq!(listed(&spool), [2]);
}

#[test]
fn an_acceptance_interrupted_before_its_rename_is_discarded() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    create(&spool, 1);
    // As after a crash just before the rename: everything else is done.
    create(&spool, 2);
    fs::rename(spool.store.folder(id(2)), spool.store.staging(id(2))).unwrap();
    drop(spool);
    let spool = open(&dir);
    assert!(spool.get(id(2)).unwrap().is_none());
    assert_eq!(spool.unfinished().unwrap(), [id(1)]);
    assert_eq!(listed(&spool), [1]);
    create(&spool, 2);
    assert_eq!(listed(&spool), [2, 1]);
}

#[test]
fn pages_cover_the_whole_list_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    for n in 1..=10 {
        ended(&spool, n);
    }
    spool.delete(id(5)).unwrap();
    let mut before = None;
    let mut all = Vec::new();
    loop {
        let page = spool.page(before, 3, None).unwrap();
        assert_eq!(page.ids.len(), 3);
        all.extend(page.ids.iter().map(Uuid::as_u128));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(all, [10, 9, 8, 7, 6, 4, 3, 2, 1]);
    assert!(matches!(
        spool.page(Some(id(99)), 3, None),
        Err(SpoolError::UnknownBefore(_))
    ));
    let after_deleted = spool.page(Some(id(5)), 2, None).unwrap();
    assert_eq!(
        after_deleted.ids,
        [id(4), id(3)],
        "a list continues after an execution that was deleted in the meantime"
    );
}

#[test]
fn the_start_repairs_a_damaged_index() {
    let damage: [fn(&Path); 4] = [
        |index| fs::remove_file(index).unwrap(),
        |index| {
            File::options()
                .write(true)
                .open(index)
                .unwrap()
                .set_len(100)
                .unwrap()
        },
        |index| {
            File::options()
                .write(true)
                .open(index)
                .unwrap()
                .write_all_at(&[9], 70)
                .unwrap()
        },
        |index| {
            File::options()
                .write(true)
                .open(index)
                .unwrap()
                .write_all_at(&[0; 64], 128)
                .unwrap()
        },
    ];
    for damage in damage {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(&dir);
        for n in 1..=4 {
            if n % 2 == 0 {
                ended(&spool, n)
            } else {
                create(&spool, n)
            };
        }
        drop(spool);
        damage(&dir.path().join("index"));
        let spool = open(&dir);
        assert_eq!(listed(&spool), [4, 3, 2, 1]);
        assert_eq!(spool.unfinished().unwrap(), [id(1), id(3)]);
        create(&spool, 5);
        assert_eq!(listed(&spool), [5, 4, 3, 2, 1]);
    }
}

#[test]
fn a_terminal_status_counts_even_if_its_row_is_not_updated() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    ended(&spool, 1);
    // The row from before the end, as after a kill between the two writes.
    spool
        .store
        .index()
        .put(
            0,
            &Row {
                id: id(1),
                owner: Owner::NONE,
                ended: None,
            },
        )
        .unwrap();
    drop(spool);
    let spool = open(&dir);
    assert!(spool.unfinished().unwrap().is_empty());
    assert_eq!(
        spool
            .expire(SystemTime::now() + Duration::from_secs(7200))
            .unwrap(),
        [id(1)]
    );
}

fn set_end(spool: &Spool, sequence: u64, n: u128, at: SystemTime, bytes: u64) {
    let at_ms = at.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    spool
        .store
        .index()
        .put(
            sequence,
            &Row {
                id: id(n),
                owner: Owner::NONE,
                ended: Some(EndFacts { at_ms, bytes }),
            },
        )
        .unwrap();
}

#[test]
fn retention_deletes_by_age_then_by_size_and_keeps_live_executions() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open_with(
        &dir,
        SpoolLimits {
            retention_bytes: 10 << 20,
            ..LIMITS
        },
    );
    let now = SystemTime::now();
    create(&spool, 1);
    for n in 2..=6 {
        ended(&spool, n);
    }
    let ago = |seconds| now - Duration::from_secs(seconds);
    set_end(&spool, 1, 2, ago(10), 4 << 20);
    set_end(&spool, 2, 3, ago(4000), 1);
    set_end(&spool, 3, 4, ago(30), 4 << 20);
    set_end(&spool, 4, 5, ago(20), 4 << 20);
    set_end(&spool, 5, 6, ago(40), 1 << 20);
    // 3 is too old. Then 6 and 4, which ended first, go until the rest and the live one fit.
    assert_eq!(spool.measured_bytes(), 0, "nothing is measured yet");
    assert_eq!(spool.expire(now).unwrap(), [id(3), id(6), id(4)]);
    assert_eq!(listed(&spool), [5, 2, 1]);
    let live_bytes = disk_bytes(&spool.store.folder(id(1)));
    assert_eq!(spool.measured_bytes(), (8 << 20) + live_bytes);
    assert_eq!(spool.tombstone(id(4)).unwrap().digest, [4; 32]);
    assert!(spool.expire(now).unwrap().is_empty());
}

#[test]
fn one_owner_cannot_push_out_the_executions_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let limits = SpoolLimits {
        retention_bytes: 10 << 20,
        ..LIMITS
    };
    let spool = Spool::open(dir.path(), limits).unwrap().0;
    let now = SystemTime::now();
    for n in 1..6 {
        // The oldest execution belongs to the owner who uses little.
        let owner = Owner::of(if n == 1 { "quiet" } else { "loud" });
        ended(&spool, n);
        let row = Row {
            id: id(n),
            owner,
            ended: Some(EndFacts {
                at_ms: now.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64 - 100 + n as u64,
                bytes: 3 << 20,
            }),
        };
        spool.store.index().put(n as u64 - 1, &row).unwrap();
    }
    assert_eq!(spool.expire(now).unwrap(), [id(2), id(3)]);
    assert_eq!(listed(&spool), [5, 4, 1]);
}

#[test]
fn retention_deletes_more_executions_than_one_batch() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    for n in 1..=300 {
        ended(&spool, n);
    }
    let deleted = spool
        .expire(SystemTime::now() + Duration::from_secs(7200))
        .unwrap();
    assert_eq!(deleted.len(), 300);
    assert!(listed(&spool).is_empty());
}

#[test]
fn concurrent_acceptances_of_one_id_accept_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let accepted: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8_u8)
            .map(|n| {
                let spool = spool.clone();
                scope.spawn(
                    move || match spool.create(id(1), &[n], [n; 32], b"{}", Owner::NONE) {
                        Ok(_) => 1,
                        Err(SpoolError::Exists { .. }) => 0,
                        Err(other) => panic!("{other}"),
                    },
                )
            })
            .collect();
        tries.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(accepted, 1);
    assert_eq!(listed(&spool), [1]);
}

#[test]
fn users_of_an_id_share_one_entry_which_closes_with_the_last_user() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = create(&spool, 1);
    let again = spool.get(id(1)).unwrap().unwrap();
    assert!(entry.is_same(&again));
    let writer = entry.writer(EventsStorage::Raw).unwrap();
    assert_eq!(
        again.writer(EventsStorage::Raw).err().unwrap().kind(),
        io::ErrorKind::ResourceBusy
    );
    drop(writer);
    assert_eq!(
        again.writer(EventsStorage::InOutput).err().unwrap().kind(),
        io::ErrorKind::InvalidInput
    );
    drop(again.writer(EventsStorage::Raw).unwrap());
    drop((entry, again));
    assert!(spool.open.is_empty());
}

#[test]
fn a_cancel_note_survives_status_writes_and_a_torn_note_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let (entry, other) = (create(&spool, 1), create(&spool, 2));
    assert!(!entry.is_cancel_noted().unwrap());
    entry.note_cancel().unwrap();
    entry.note_cancel().unwrap();
    let mut writer = entry.writer(EventsStorage::Raw).unwrap();
    writer.append(b"text");
    writer.finish();
    for n in 0..4 {
        let running = format!("{{\"state\":\"running\",\"n\":{n}}}");
        entry.write_status(running.as_bytes(), n % 2 == 0).unwrap();
    }
    drop((entry, other, spool));
    let spool = open(&dir);
    let entry = spool.get(id(1)).unwrap().unwrap();
    assert!(entry.is_cancel_noted().unwrap());
    assert_eq!(entry.status().unwrap(), b"{\"state\":\"running\",\"n\":3}");
    assert_eq!(entry.body().unwrap(), b"body 1");
    let marks = *entry.marks().unwrap().borrow();
    assert_eq!((marks.len, marks.crc32), (4, crc32fast::hash(b"text")));
    assert!(
        !spool
            .get(id(2))
            .unwrap()
            .unwrap()
            .is_cancel_noted()
            .unwrap()
    );
    // As if a power cut had torn the note.
    let record = File::options()
        .write(true)
        .open(spool.store.folder(id(1)).join("record"))
        .unwrap();
    record
        .write_all_at(&[0; 8], crate::layout::CANCEL_AT + 16)
        .unwrap();
    assert!(!entry.is_cancel_noted().unwrap());
    spool.end(&entry, b"{}").unwrap();
    spool.delete(id(1)).unwrap();
    assert!(entry.note_cancel().is_err() && entry.is_cancel_noted().is_err());
}

/// docs/protocol.md, "Calls": `ifUnviewedForMs`.
#[test]
fn an_unviewed_note_survives_a_restart_and_can_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = create(&spool, 1);
    assert_eq!(entry.unviewed_cancel().unwrap(), None);
    entry.set_unviewed_cancel(Some(10_000)).unwrap();
    entry.note_cancel().unwrap();
    drop((entry, spool));
    let spool = open(&dir);
    let entry = spool.get(id(1)).unwrap().unwrap();
    assert_eq!(entry.unviewed_cancel().unwrap(), Some(10_000));
    entry.set_unviewed_cancel(None).unwrap();
    assert_eq!(entry.unviewed_cancel().unwrap(), None);
    assert!(entry.is_cancel_noted().unwrap());
    assert_eq!(entry.body().unwrap(), b"body 1");
}

/// Tools run as the same user and can touch every file.
#[test]
fn a_file_touched_to_an_old_time_does_not_expire() {
    let dir = TempDir::new().unwrap();
    let spool = open(&dir);
    spool.burn(id(1), Owner::NONE).unwrap();
    ended(&spool, 2);
    spool.delete(id(2)).unwrap();
    let years = Duration::from_secs(10 * 365 * 24 * 3600);
    for folder in ["burned", "tombstones"] {
        for entry in fs::read_dir(dir.path().join(folder)).unwrap() {
            let file = File::open(entry.unwrap().path()).unwrap();
            file.set_modified(SystemTime::now() - years).unwrap();
        }
    }
    assert!(spool.expire_burned(SystemTime::now()).unwrap().is_empty());
    spool.expire(SystemTime::now()).unwrap();
    assert!(spool.tombstone(id(2)).is_some());
}

#[test]
fn check_writable_reports_too_little_free_space() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    spool.check_writable(1).unwrap();
    let reason = spool.check_writable(u64::MAX).unwrap_err();
    let noted = format!("has {} bytes left", spool.free_bytes());
    assert!(
        spool.free_bytes() > 0 && reason.contains(&noted),
        "{reason}"
    );
}

#[test]
fn known_marks_do_not_wait_while_the_files_are_being_opened() {
    let dir = tempfile::tempdir().unwrap();
    let entry = create(&open(&dir), 1);
    let mut writer = entry.writer(EventsStorage::Raw).unwrap();
    writer.append(b"four");
    assert_eq!(entry.cached_marks().map(|marks| marks.len), Some(4));
    let opening = entry.open_files();
    assert_eq!(entry.cached_marks(), None);
    drop(opening);
    assert!(entry.cached_marks().is_some());
}

#[test]
fn the_first_end_stays_until_it_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = create(&spool, 1);
    assert!(spool.end(&entry, b"first").unwrap());
    assert!(!spool.end(&entry, b"second").unwrap());
    let late = entry.write_status(b"late", true).unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(entry.status().unwrap(), b"first");
    spool.replace_end(&entry, b"first, and more").unwrap();
    assert_eq!(entry.status().unwrap(), b"first, and more");
    assert!(entry.is_terminal());
}
