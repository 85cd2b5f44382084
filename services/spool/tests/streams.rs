//! Tests of readers, writers and events through the public API.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::time::Duration;

use spool::{Entry, EventsStorage, Marks, Owner, ReadError, Reader, Spool, SpoolLimits, sha256};
use tempfile::TempDir;
use uuid::Uuid;

fn open(dir: &TempDir, kept_bytes: u64) -> Spool {
    let limits = SpoolLimits {
        kept_bytes,
        kept_lines: 0,
        events_bytes: 1 << 20,
        retention: Duration::from_secs(3600),
        retention_bytes: 1 << 40,
    };
    Spool::open(dir.path(), limits).unwrap().0
}

fn entry(spool: &Spool) -> Entry {
    spool
        .create(Uuid::from_u128(1), b"body", [0; 32], b"{}", Owner::NONE)
        .unwrap()
}

/// Returns text without repetition, with characters of all lengths.
fn text(n: usize) -> String {
    (0..n).map(|n| format!("{n} ü字😀\n")).collect()
}

async fn read_all(mut reader: Reader, max: usize) -> Result<Vec<u8>, ReadError> {
    let mut all = Vec::new();
    while let Some(bytes) = reader.next(max).await? {
        assert!(!bytes.is_empty() && bytes.len() <= max);
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_returns_exactly_the_output_from_its_offset() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, 1 << 30);
    let entry = entry(&spool);
    let mut writer = entry.writer(EventsStorage::Raw).unwrap();
    let output = text(300_000);
    let mut readers = Vec::new();
    let mut appended = 0;
    let mut step = 1;
    while appended < output.len() {
        let mut end = (appended + step).min(output.len());
        while !output.is_char_boundary(end) {
            end += 1;
        }
        writer.append(&output.as_bytes()[appended..end]);
        appended = end;
        step = step * 3 % 20_011 + 1;
        if readers.len() < 24 {
            // From offsets all over the output, including its end.
            let offset = (appended * readers.len() / 23) as u64;
            let reader = entry.reader(offset.min(appended as u64)).unwrap();
            let from = reader.offset() as usize;
            readers.push((
                from,
                tokio::spawn(read_all(reader, 1009 + readers.len() * 4001)),
            ));
            tokio::task::yield_now().await;
        }
    }
    let marks = writer.marks();
    assert_eq!(
        marks,
        Marks {
            len: output.len() as u64,
            kept_from: 0,
            crc32: crc32fast::hash(output.as_bytes()),
            ended: false,
            aborted: false
        }
    );
    let live_digest = tokio::spawn({
        let entry = entry.clone();
        async move { sha256(&entry).await }
    });
    writer.finish();
    assert!(readers.len() >= 20);
    for (from, reader) in readers {
        assert!(
            reader.await.unwrap().unwrap() == output.as_bytes()[from..],
            "from {from}"
        );
    }
    let expected = ring::digest::digest(&ring::digest::SHA256, output.as_bytes());
    assert_eq!(live_digest.await.unwrap().unwrap(), expected.as_ref());
    assert!(entry.marks().unwrap().borrow().ended);
    let end = output.len() as u64;
    assert!(matches!(entry.reader(end + 1), Err(ReadError::Beyond { len }) if len == end));
    assert_eq!(
        read_all(entry.reader(output.len() as u64).unwrap(), 9)
            .await
            .unwrap(),
        b""
    );
}

#[tokio::test]
async fn a_dropped_writer_aborts_its_readers_and_the_next_writer_continues() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, 1 << 20);
    let entry = entry(&spool);
    let mut reader = entry.reader(0).unwrap();
    let mut writer = entry.writer(EventsStorage::Raw).unwrap();
    writer.append(b"half");
    drop(writer);
    assert_eq!(
        reader.next(100).await.unwrap().unwrap(),
        "half",
        "the written bytes come before the abort"
    );
    assert!(matches!(reader.next(100).await, Err(ReadError::Aborted)));
    assert_eq!(sha256(&entry).await, None);
    let mut writer = entry.writer(EventsStorage::Raw).unwrap();
    writer.append(b" and half");
    writer.finish();
    assert_eq!(reader.next(100).await.unwrap().unwrap(), " and half");
    assert!(reader.next(100).await.unwrap().is_none());
    let expected = crc32fast::hash(b"half and half");
    assert_eq!(entry.marks().unwrap().borrow().crc32, expected);
}

#[tokio::test]
async fn an_abort_and_a_terminal_status_wake_a_waiting_reader() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, 1 << 20);
    let entry = entry(&spool);
    let writer = entry.writer(EventsStorage::Raw).unwrap();
    let reader = tokio::spawn(read_all(entry.reader(0).unwrap(), 10));
    tokio::task::yield_now().await;
    drop(writer);
    assert!(matches!(reader.await.unwrap(), Err(ReadError::Aborted)));
    spool.end(&entry, b"{}").unwrap();
    assert_eq!(read_all(entry.reader(0).unwrap(), 10).await.unwrap(), b"");
    assert!(
        entry.writer(EventsStorage::Raw).is_err(),
        "nothing is written after the end"
    );
}

#[tokio::test]
async fn the_end_of_a_queued_execution_ends_its_readers() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, 1 << 20);
    let entry = entry(&spool);
    let output = tokio::spawn(read_all(entry.reader(0).unwrap(), 10));
    let mut events = entry.events_reader().unwrap();
    let events = tokio::spawn(async move { events.next(10).await });
    tokio::task::yield_now().await;
    spool.end(&entry, b"{}").unwrap();
    assert_eq!(output.await.unwrap().unwrap(), b"");
    assert!(events.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn a_reader_overtaken_by_freeing_gets_the_kept_range() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, 64 * 1024);
    let entry = entry(&spool);
    let mut writer = entry.writer(EventsStorage::Raw).unwrap();
    let output = text(20_000);
    writer.append(&output.as_bytes()[..12]);
    let mut reader = entry.reader(0).unwrap();
    assert_eq!(
        reader.next(5).await.unwrap().unwrap(),
        &output.as_bytes()[..5]
    );
    for piece in output[12..].split_inclusive('\n') {
        writer.append(piece.as_bytes());
    }
    let Err(ReadError::NotKept { kept_from, len }) = reader.next(5).await else {
        panic!("expected NotKept")
    };
    assert_eq!(len, output.len() as u64);
    assert!(len - kept_from <= 64 * 1024 && kept_from > 0);
    let freed = entry.reader(kept_from - 1);
    assert!(matches!(freed, Err(ReadError::NotKept { kept_from: at, .. }) if at == kept_from));
    writer.finish();
    assert_eq!(sha256(&entry).await, None, "freed output has no digest");
    let kept = read_all(entry.reader(kept_from).unwrap(), 1000)
        .await
        .unwrap();
    assert_eq!(
        std::str::from_utf8(&kept).unwrap(),
        &output[kept_from as usize..]
    );
    spool.end(&entry, b"{}").unwrap();
    drop((entry, reader, spool));
    let spool = open(&dir, 64 * 1024);
    let marks = *spool
        .get(Uuid::from_u128(1))
        .unwrap()
        .unwrap()
        .marks()
        .unwrap()
        .borrow();
    let crc32 = crc32fast::hash(output.as_bytes());
    assert_eq!(
        marks,
        Marks {
            len,
            kept_from,
            crc32,
            ended: true,
            aborted: false
        },
        "the same after a start"
    );
}

#[tokio::test]
async fn raw_events_are_returned_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, 1 << 20);
    let entry = entry(&spool);
    let mut live = entry.events_reader().unwrap();
    let live = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(bytes) = live.next(7).await.unwrap() {
            all.extend_from_slice(&bytes);
        }
        all
    });
    tokio::task::yield_now().await;
    let raw = b"{\"a\":1}\n\xff\xfe not utf-8\n\n";
    let mut writer = entry.writer(EventsStorage::Raw).unwrap();
    writer.append_events(&raw[..9]);
    tokio::task::yield_now().await;
    writer.append_events(&raw[9..]);
    writer.append(b"text");
    writer.finish();
    assert_eq!(live.await.unwrap(), raw);
}
