//! Tests of scans, disk use and damage.

use super::*;
use crate::owner::Owner;

#[test]
fn both_scans_return_all_rows_over_many_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(&dir.path().join("index")).unwrap();
    let n = 2 * ROWS_AT_ONCE + 7;
    for sequence in 0..n {
        let ended = (sequence % 2 == 0).then_some(EndFacts {
            at_ms: sequence,
            bytes: 9,
        });
        index
            .put(
                sequence,
                &Row {
                    id: Uuid::from_u128(u128::from(sequence) + 1),
                    owner: Owner::NONE,
                    ended,
                },
            )
            .unwrap();
    }
    index.clear(ROWS_AT_ONCE).unwrap();
    let mut forward = Vec::new();
    index
        .scan(|sequence, slot| {
            match slot {
                Slot::Row(row) => {
                    assert_eq!(
                        row.ended.map(|ended| ended.at_ms),
                        (sequence % 2 == 0).then_some(sequence)
                    );
                    forward.push(row.id);
                }
                other => assert_eq!((sequence, other), (ROWS_AT_ONCE, Slot::Free)),
            }
            true
        })
        .unwrap();
    assert_eq!(forward.len() as u64, n - 1);
    let mut back = Vec::new();
    index
        .scan_back(u64::MAX, |row| {
            back.push(row.id);
            true
        })
        .unwrap();
    back.reverse();
    assert_eq!(forward, back);
}

/// Retention scans the index every minute.
#[test]
fn removed_rows_at_the_old_end_are_neither_scanned_nor_kept_on_disk() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let index = Index::open(&path).unwrap();
    let row = |n: u64| Row {
        id: Uuid::from_u128(u128::from(n) + 1),
        owner: Owner::NONE,
        ended: None,
    };
    let n = 20_000;
    for sequence in 0..n {
        index.put(sequence, &row(sequence)).unwrap();
    }
    for sequence in 0..n - 10 {
        index.clear(sequence).unwrap();
    }
    let visited = |index: &Index| {
        let (mut visited, mut rows) = (0, 0);
        let count = |_, slot| {
            visited += 1;
            rows += u64::from(matches!(slot, Slot::Row(_)));
            true
        };
        index.scan(count).unwrap();
        (visited, rows)
    };
    visited(&index);
    let (again, rows) = visited(&index);
    assert_eq!(rows, 10);
    assert!(again < 200, "{again} rows were visited for 10");
    index.sync().unwrap();
    let room = path.metadata().unwrap().blocks() * 512;
    assert!(room < 64 << 10, "{room} bytes for 10 rows");
    // The same holds after a restart, and positions are never reused.
    let index = Index::open(&path).unwrap();
    let (first, rows) = visited(&index);
    assert_eq!(rows, 10);
    assert!(first < 200, "{first} rows were visited for 10");
    assert_eq!(index.positions().unwrap(), n);
    // A scan sees a row that the start adds below the first one.
    index.put(3, &row(3)).unwrap();
    assert_eq!(visited(&index).1, 11);
}

#[test]
fn scan_reports_a_damaged_row() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(&dir.path().join("index")).unwrap();
    index
        .put(
            0,
            &Row {
                id: Uuid::from_u128(1),
                owner: Owner::NONE,
                ended: None,
            },
        )
        .unwrap();
    index.file.write_all_at(&[1], 30).unwrap();
    let mut seen = Vec::new();
    index
        .scan(|_, slot| {
            seen.push(slot);
            true
        })
        .unwrap();
    assert_eq!(seen, [Slot::Damaged]);
}
