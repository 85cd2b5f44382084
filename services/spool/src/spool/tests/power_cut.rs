//! Tests of power cuts. Before the promise, any part of an acceptance may remain; after it, nothing
//! is lost.

use super::*;
use crate::layout::BODY_AT;

/// Leaves only the first `len` bytes of the record; the rest becomes zeros or is missing.
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

/// Accepts executions 1 and 2 and damages 2 as a power cut before its promise would. `row` says
/// whether 2 is in the index.
fn assert_never_accepted(label: &str, row: bool, damage: impl Fn(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    create(&spool, 1);
    create(&spool, 2);
    let folder = spool.store.folder(id(2));
    drop(spool);
    damage(&folder);
    if !row {
        lose_row(&dir, 1);
    }
    for start in 0..2 {
        let spool = open(&dir);
        assert!(!folder.exists(), "{label}, start {start}");
        assert!(spool.get(id(2)).unwrap().is_none(), "{label}");
        assert_eq!(spool.unfinished().unwrap(), [id(1)], "{label}");
        assert_eq!(listed(&spool), [1], "{label}");
    }
    let spool = open(&dir);
    create(&spool, 2);
    assert_eq!(listed(&spool), [2, 1], "{label}");
}

#[test]
fn parts_of_an_unpromised_acceptance_are_removed() {
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
            let label = format!("record cut at {len}, zeros {zeros}, row {row}");
            assert_never_accepted(&label, row, |folder| cut(folder, len, zeros));
        }
        for name in ["record", "output", "events"] {
            let label = format!("no name {name}, row {row}");
            assert_never_accepted(&label, row, |folder| remove(folder, name));
        }
        let label = format!("no folder, row {row}");
        assert_never_accepted(&label, row, |folder| fs::remove_dir_all(folder).unwrap());
    }
}

#[test]
fn a_promised_execution_survives_the_loss_of_its_row() {
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
    // A row whose folder was removed, but the cleared row did not reach the disk.
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
fn a_damaged_but_promised_execution_stays() {
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
    assert_eq!(
        spool.unfinished().unwrap(),
        [id(1)],
        "the execution can still be ended"
    );
    let again = spool.create(id(1), b"again", [1; 32], b"{}", Owner::NONE);
    assert!(matches!(again, Err(SpoolError::Exists { .. })));
}
