//! A power cut before the promise may leave any part of an acceptance; after it, everything.

use super::*;
use crate::layout::BODY_AT;

/// What is on disk of the record when its first `len` bytes are, the rest zeros or not there at
/// all.
fn cut(folder: &Path, len: u64, zeros: bool) {
    let file = File::options()
        .write(true)
        .open(folder.join("record"))
        .unwrap();
    let whole = file.metadata().unwrap().len();
    file.set_len(len).unwrap();
    if zeros {
        file.set_len(whole).unwrap();
    }
}

fn remove(folder: &Path, name: &str) {
    fs::remove_file(folder.join(name)).unwrap();
}

fn lose_row(dir: &TempDir, sequence: u64) {
    let index = Index::open(&dir.path().join("index")).unwrap();
    index.clear(sequence).unwrap();
}

/// 1 is promised, 2 is hurt so before its promise; `row`: 2 is in the index.
fn assert_never_accepted(what: &str, row: bool, hurt: impl Fn(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    create(&spool, 1);
    create(&spool, 2);
    let folder = spool.store.folder(id(2));
    drop(spool);
    hurt(&folder);
    if !row {
        lose_row(&dir, 1);
    }
    for start in 0..2 {
        let spool = open(&dir);
        assert!(!folder.exists(), "{what}, start {start}");
        assert!(spool.get(id(2)).unwrap().is_none(), "{what}");
        assert_eq!(spool.unfinished().unwrap(), [id(1)], "{what}");
        assert_eq!(listed(&spool), [1], "{what}");
    }
    let spool = open(&dir);
    create(&spool, 2);
    assert_eq!(listed(&spool), [2, 1], "{what}");
}

#[test]
fn what_is_left_of_an_acceptance_is_none() {
    let lengths = [
        0,
        1,
        511,
        512,
        4096,
        4100,
        4128,
        70_000,
        BODY_AT,
        BODY_AT + 5,
    ];
    for row in [true, false] {
        for (len, zeros) in lengths
            .into_iter()
            .flat_map(|len| [(len, true), (len, false)])
        {
            let what = format!("record cut at {len}, zeros {zeros}, row {row}");
            assert_never_accepted(&what, row, |folder| cut(folder, len, zeros));
        }
        for name in ["record", "output", "events"] {
            let what = format!("no name {name}, row {row}");
            assert_never_accepted(&what, row, |folder| remove(folder, name));
        }
        let what = format!("no folder, row {row}");
        assert_never_accepted(&what, row, |folder| fs::remove_dir_all(folder).unwrap());
    }
}

#[test]
fn what_was_promised_is_there_without_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    for n in 1..=5 {
        create(&spool, n);
    }
    ended(&spool, 6);
    drop(spool);
    for sequence in [2, 4, 5] {
        lose_row(&dir, sequence);
    }
    // A row whose folder went, and the clearing of it did not come to disk.
    fs::remove_dir_all(dir.path().join("executions").join(name(id(1)))).unwrap();
    for start in 0..2 {
        let spool = open(&dir);
        assert_eq!(listed(&spool), [6, 5, 4, 3, 2], "start {start}");
        assert_eq!(
            spool.unfinished().unwrap(),
            [id(2), id(3), id(4), id(5)],
            "start {start}"
        );
        let entry = spool.get(id(5)).unwrap().unwrap();
        assert_eq!(entry.body().unwrap(), b"body 5");
    }
    let spool = open(&dir);
    create(&spool, 7);
    assert_eq!(listed(&spool)[0], 7);
}

#[test]
fn what_was_promised_and_is_damaged_stays() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = create(&spool, 1);
    entry
        .write_status(b"{\"state\":\"running\"}", true)
        .unwrap();
    let folder = spool.store.folder(id(1));
    drop((entry, spool));
    cut(&folder, BODY_AT, false);
    let spool = open(&dir);
    assert_eq!(spool.unfinished().unwrap(), [id(1)], "its end can be told");
    let again = spool.create(id(1), b"again", [1; 32], b"{}");
    assert!(matches!(again, Err(SpoolError::Exists { .. })), "I4");
}
