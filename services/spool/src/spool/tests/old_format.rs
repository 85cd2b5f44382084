//! Tests that files from before executions had owners are read. The bytes were written by that
//! version of the spool.

use super::*;
use crate::{index::Slot, layout::HEADER_BYTES, store::Tombstone};

/// The header of execution 0x102 with the body `body`: its first 76 bytes, and its checksum. All
/// bytes between are zeros.
const HEADER: ([u8; 76], [u8; 4]) = (
    *b"ccspool1\
       \0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\
       \0\0\0\0\0\0\0\0\
       \x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\
       \x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\
       \x04\0\0\0\0\0\0\0\
       \xb2\x0b\xa8\xdb",
    [0x35, 0xc8, 0x53, 0x48],
);

/// The header of the deleted execution 0x304, in the same form.
const TOMBSTONE: ([u8; 76], [u8; 4]) = (
    *b"ccspool1\
       \0\0\0\0\0\0\0\0\0\0\0\0\0\0\x03\x04\
       \x02\0\0\0\0\0\0\0\
       \x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\
       \x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\
       \x06\0\0\0\0\0\0\0\
       \x51\x99\xac\x2a",
    [0x4d, 0x73, 0xf6, 0x32],
);

/// The index: the row of the queued execution 0x102, and the row of the ended execution 0x203.
const INDEX: [u8; 128] = *b"\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\
    \x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
    \0\0\0\0\0\0\0\0\0\0\0\0\x20\x7c\xae\xcd\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x03\
    \x02\0\0\0\0\0\0\0\x18\x0f\x98\x2a\xa2\x01\0\0\
    \0\x80\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\
    \0\0\0\0\0\0\0\0\0\0\0\0\x6f\xa1\x3e\x07";

fn header_bytes((front, check): ([u8; 76], [u8; 4])) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..76].copy_from_slice(&front);
    bytes[HEADER_BYTES - 4..].copy_from_slice(&check);
    bytes
}

#[test]
fn a_header_from_before_owners_is_nobodys() {
    let header = Header {
        id: id(0x102),
        sequence: 0,
        digest: [9; 32],
        body_len: 4,
        body_crc: crc32fast::hash(b"body"),
        owner: Owner::NONE,
    };
    let old = header_bytes(HEADER);
    assert_eq!(Header::decode(&old), Some(header.clone()));
    assert_eq!(header.encode(), old, "nobody's headers do not change");
}

#[test]
fn a_row_from_before_owners_is_nobodys() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    fs::write(&path, INDEX).unwrap();
    let index = Index::open(&path).unwrap();
    let rows = [
        Row {
            id: id(0x102),
            owner: Owner::NONE,
            ended: None,
        },
        Row {
            id: id(0x203),
            owner: Owner::NONE,
            ended: Some(EndFacts {
                at_ms: 0x01a2_2a98_0f18,
                bytes: 0x38000,
            }),
        },
    ];
    for (sequence, row) in (0..).zip(rows) {
        assert_eq!(index.at(sequence).unwrap(), Slot::Row(row));
        index.put(sequence, &row).unwrap();
    }
    assert_eq!(
        fs::read(&path).unwrap(),
        INDEX,
        "nobody's rows do not change"
    );
}

#[test]
fn a_spool_from_before_owners_is_opened_as_nobodys() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    spool
        .create(id(0x102), b"body", [9; 32], b"{}", Owner::NONE)
        .unwrap();
    ended(&spool, 0x203);
    let record = spool.store.folder(id(0x102)).join("record");
    drop(spool);
    let record = File::options().write(true).open(record).unwrap();
    record.write_all_at(&header_bytes(HEADER), 0).unwrap();
    fs::write(dir.path().join("index"), INDEX).unwrap();
    let mut tombstone = header_bytes(TOMBSTONE).to_vec();
    tombstone.resize(SLOTS_AT as usize, 0);
    fs::write(
        dir.path().join("tombstones").join(name(id(0x304))),
        tombstone,
    )
    .unwrap();
    File::create(dir.path().join("burned").join(name(id(0x405)))).unwrap();

    let spool = open(&dir);
    let entry = spool.get(id(0x102)).unwrap().unwrap();
    assert_eq!(entry.owner(), Owner::NONE);
    assert_eq!(entry.body().unwrap(), b"body");
    assert!(entry.shares().unwrap().is_empty());
    assert_eq!(listed_for(&spool, Some(Owner::NONE)), [0x203, 0x102]);
    assert!(listed_for(&spool, Some(Owner::of("a"))).is_empty());
    assert_eq!(
        spool.tombstone(id(0x304)),
        Some(Tombstone {
            digest: [7; 32],
            owner: Owner::NONE
        })
    );
    assert_eq!(spool.burned().unwrap(), [(id(0x405), Owner::NONE)]);
    assert!(spool.is_burned(id(0x405), Owner::NONE).unwrap());
    create_for(&spool, 0x405, Owner::of("a"));
}
