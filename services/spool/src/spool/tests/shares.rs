//! Tests of the shares of an execution.

use super::*;
use crate::SHARES_BYTES_MAX;

#[test]
fn shares_survive_a_restart_and_are_replaced_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = create(&spool, 1);
    assert!(entry.shares().unwrap().is_empty());
    for shares in [&b"first, which is longer"[..], b"second", b""] {
        entry.write_shares(shares).unwrap();
        assert_eq!(entry.shares().unwrap(), shares);
        assert_eq!(spool.shares_of(id(1)).unwrap(), shares);
    }
    assert!(!spool.store.shares_path(id(1)).exists());
    entry.write_shares(b"").unwrap();
    entry.write_shares(b"third").unwrap();
    drop((entry, spool));
    let spool = open(&dir);
    assert_eq!(spool.shares_of(id(1)).unwrap(), b"third");
    assert_eq!(
        spool.get(id(1)).unwrap().unwrap().shares().unwrap(),
        b"third"
    );
    assert_eq!(listed(&spool), [1]);
    assert!(spool.shares_of(id(2)).unwrap().is_empty(), "an unknown id");
}

#[test]
fn shares_of_an_ended_execution_can_be_written_and_end_with_its_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = ended(&spool, 1);
    entry.write_shares(b"shares").unwrap();
    spool.delete(id(1)).unwrap();
    assert!(spool.shares_of(id(1)).unwrap().is_empty());
    assert_eq!(entry.shares().unwrap_err().kind(), io::ErrorKind::NotFound);
    let late = entry.write_shares(b"late").unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::NotFound);
    assert!(!spool.store.folder(id(1)).exists());
    assert_eq!(fs::read_dir(dir.path().join("staging")).unwrap().count(), 0);
    // A later execution with the same id starts without shares.
    let month = Duration::from_secs(31 * 24 * 3600);
    spool.expire(SystemTime::now() + month).unwrap();
    let next = create(&spool, 1);
    let late = entry.write_shares(b"late").unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::NotFound);
    assert!(next.shares().unwrap().is_empty());
}

#[test]
fn shares_that_are_too_long_leave_the_old_ones() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = create(&spool, 1);
    let longest = vec![b'x'; SHARES_BYTES_MAX];
    entry.write_shares(&longest).unwrap();
    let longer = entry.write_shares(&[&longest[..], b"x"].concat());
    assert_eq!(longer.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(entry.shares().unwrap(), longest);
}

/// A changed expiry or role would open more than the owner shared.
#[test]
fn damaged_shares_open_nothing_until_they_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let (entry, other) = (create(&spool, 1), create(&spool, 2));
    let path = spool.store.shares_path(id(1));
    entry.write_shares(b"shares").unwrap();
    let whole = fs::read(&path).unwrap();
    let mut damages: Vec<Vec<u8>> = (0..whole.len()).map(|len| whole[..len].to_vec()).collect();
    damages.extend((0..whole.len()).map(|at| {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        changed
    }));
    damages.push([&whole[..], b"x"].concat());
    damages.push(vec![0; 4096]);
    damages.push(vec![b'x'; 1 << 20]);
    other.write_shares(b"shares").unwrap();
    damages.push(fs::read(spool.store.shares_path(id(2))).unwrap());
    for damaged in damages {
        fs::write(&path, &damaged).unwrap();
        let error = entry.shares().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{damaged:?}");
        assert!(spool.shares_of(id(1)).is_err());
    }
    entry.write_shares(b"new").unwrap();
    assert_eq!(entry.shares().unwrap(), b"new");
}

#[test]
fn a_staged_leftover_is_removed_at_the_start_and_does_not_prevent_a_write() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = create(&spool, 1);
    entry.write_shares(b"old").unwrap();
    let staged = spool.store.staged_shares_path(id(1));
    // As after a crash before the rename.
    fs::write(&staged, b"a part of the new sha").unwrap();
    drop((entry, spool));
    let spool = open(&dir);
    assert!(!staged.exists());
    assert_eq!(spool.shares_of(id(1)).unwrap(), b"old");
    fs::write(&staged, b"a longer leftover than the new shares").unwrap();
    let entry = spool.get(id(1)).unwrap().unwrap();
    entry.write_shares(b"new").unwrap();
    assert_eq!(entry.shares().unwrap(), b"new");
    assert!(!staged.exists());
}

#[test]
fn a_failed_write_of_shares_leaves_the_old_ones_and_no_staged_file() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = create(&spool, 1);
    entry.write_shares(b"old").unwrap();
    let path = spool.store.shares_path(id(1));
    let kept = dir.path().join("kept");
    fs::rename(&path, &kept).unwrap();
    // A rename cannot replace a folder.
    fs::create_dir(&path).unwrap();
    assert!(entry.write_shares(b"new").is_err());
    assert!(!spool.store.staged_shares_path(id(1)).exists());
    fs::remove_dir(&path).unwrap();
    fs::rename(&kept, &path).unwrap();
    assert_eq!(entry.shares().unwrap(), b"old");
}

#[test]
fn the_repair_of_an_execution_keeps_its_shares() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = ended(&spool, 1);
    let folder = spool.store.folder(id(1));
    let bytes = disk_bytes(&folder);
    entry.write_shares(b"shares").unwrap();
    drop((entry, spool));
    let record = File::options()
        .write(true)
        .open(folder.join("record"))
        .unwrap();
    record.write_all_at(&[0xff], 10).unwrap();
    fs::remove_file(folder.join("events")).unwrap();
    fs::remove_file(dir.path().join("index")).unwrap();
    let spool = open(&dir);
    assert_eq!(listed(&spool), [1]);
    let entry = spool.restore(id(1), |_| None).unwrap().unwrap();
    assert_eq!(entry.shares().unwrap(), b"shares");
    assert_eq!(disk_bytes(&folder), bytes);
    spool
        .expire(SystemTime::now() + Duration::from_secs(7200))
        .unwrap();
    assert!(!folder.exists());
}

#[test]
fn a_deletion_that_a_crash_interrupted_removes_the_shares() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    ended(&spool, 1).write_shares(b"shares").unwrap();
    let record = spool.store.folder(id(1)).join("record");
    fs::rename(record, spool.store.tombstone_path(id(1))).unwrap();
    drop(spool);
    let spool = open(&dir);
    assert!(spool.shares_of(id(1)).unwrap().is_empty());
    assert!(!spool.store.folder(id(1)).exists());
}

#[test]
fn readers_of_shares_see_each_version_whole_while_writers_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = create(&spool, 1);
    let version = |n: u8| vec![n; 100 * usize::from(n)];
    entry.write_shares(&version(1)).unwrap();
    std::thread::scope(|scope| {
        let writers = [1..=20_u8, 21..=40].map(|versions| {
            let entry = entry.clone();
            scope.spawn(move || {
                for n in versions {
                    entry.write_shares(&version(n)).unwrap();
                }
            })
        });
        while !writers
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            let shares = spool.shares_of(id(1)).unwrap();
            assert_eq!(shares, version(shares[0]));
        }
    });
}
