//! Tests of a writer's lease around the terminal status.

use super::*;
use crate::index::Slot;

#[test]
fn a_terminal_status_does_not_end_an_output_that_has_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = create(&spool, 1);
    let mut writer = entry.writer(EventsStorage::Raw).unwrap();
    spool.end(&entry, b"{}").unwrap();
    let marks = entry.marks().unwrap();
    assert!(!marks.borrow().ended, "the writer may still append");
    writer.append(b"the rest");
    writer.finish();
    let Marks { len, ended, .. } = *marks.borrow();
    assert_eq!((len, ended), (8, true));
}

#[test]
fn a_dropped_lease_updates_the_size_in_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = create(&spool, 1);
    let mut writer = entry.writer(EventsStorage::Raw).unwrap();
    spool.end(&entry, b"{}").unwrap();
    let indexed_bytes = || match spool.store.index().at(0).unwrap() {
        Slot::Row(Row {
            ended: Some(EndFacts { bytes, .. }),
            ..
        }) => bytes,
        other => panic!("{other:?}"),
    };
    let before = indexed_bytes();
    writer.append(&[b'x'; 64 << 10]);
    assert_eq!(
        indexed_bytes(),
        before,
        "the index is not updated while the writer exists"
    );
    // Some file systems allocate blocks only when they write them.
    let output = spool.store.folder(id(1)).join("output");
    File::open(output).unwrap().sync_all().unwrap();
    writer.finish();
    assert!(
        indexed_bytes() > before,
        "{} after {before}",
        indexed_bytes()
    );
}
