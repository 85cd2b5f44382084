//! The lease of a writer against the terminal status.

use super::*;
use crate::index::Slot;

#[test]
fn a_terminal_status_leaves_the_end_of_the_output_to_its_writer() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = create(&spool, 1);
    let mut writer = entry.writer(EventsKept::Raw).unwrap();
    spool.end(&entry, b"{}").unwrap();
    let marks = entry.marks().unwrap();
    assert!(!marks.borrow().ended, "the writer may still append");
    writer.append(b"the rest");
    writer.finish();
    let Marks { len, ended, .. } = *marks.borrow();
    assert_eq!((len, ended), (8, true));
}

#[test]
fn the_end_of_a_lease_notes_what_was_written_after_the_terminal_status() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let entry = create(&spool, 1);
    let mut writer = entry.writer(EventsKept::Raw).unwrap();
    spool.end(&entry, b"{}").unwrap();
    let noted = || match spool.store.index().at(0).unwrap() {
        Slot::Row(Row {
            ended: Some(Ended { bytes, .. }),
            ..
        }) => bytes,
        other => panic!("{other:?}"),
    };
    let before = noted();
    writer.append(&[b'x'; 64 << 10]);
    assert_eq!(noted(), before, "nothing is noted while it is written");
    // Some file systems allocate blocks only when they write them.
    let output = spool.store.folder(id(1)).join("output");
    File::open(output).unwrap().sync_all().unwrap();
    writer.finish();
    assert!(noted() > before, "{} after {before}", noted());
}
