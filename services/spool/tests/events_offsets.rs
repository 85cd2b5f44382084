//! Tests of events that are kept in the output, and of offsets in the events.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::time::Duration;

use protocol::Patch;
use spool::{Entry, EventsExtent, EventsStorage, Owner, ReadError, Spool, SpoolLimits};
use tempfile::TempDir;
use uuid::Uuid;

fn limits(kept_bytes: u64, events_bytes: u64) -> SpoolLimits {
    SpoolLimits {
        kept_bytes,
        kept_lines: 0,
        events_bytes,
        retention: Duration::from_secs(3600),
        retention_bytes: 1 << 40,
    }
}

fn open(dir: &TempDir, kept_bytes: u64) -> Spool {
    Spool::open(dir.path(), limits(kept_bytes, 1 << 20))
        .unwrap()
        .0
}

fn entry(spool: &Spool) -> Entry {
    spool
        .create(Uuid::from_u128(1), b"body", [0; 32], b"{}", Owner::NONE)
        .unwrap()
}

/// Writes a chunk as the caller does in format `events`: replaces invalid bytes, then appends the
/// patches and the output.
fn feed(writer: &mut spool::Writer, chunk: &[u8]) {
    let mut offset = writer.marks().len;
    let mut output = Vec::new();
    let mut patches = Vec::new();
    for part in chunk.utf8_chunks() {
        output.extend_from_slice(part.valid().as_bytes());
        offset += part.valid().len() as u64;
        if !part.invalid().is_empty() {
            patches.push(Patch {
                offset,
                len: 3,
                original: part.invalid().to_vec(),
            });
            output.extend_from_slice("\u{fffd}".as_bytes());
            offset += 3;
        }
    }
    writer.append_patches(&patches);
    writer.append(&output);
}

#[tokio::test]
async fn events_are_rebuilt_from_the_output_and_its_patches() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, 1 << 20);
    let entry = entry(&spool);
    let mut live = entry.events_reader().unwrap();
    let live = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(bytes) = live.next(5).await.unwrap() {
            all.extend_from_slice(&bytes);
        }
        all
    });
    let chunks: [&[u8]; 5] = [
        b"{}\n",
        b"\xff",
        b"a\xfe\xfdb \xef\xbf\xbd true one\n",
        b"\xf0\x9f\x98",
        b"no newline",
    ];
    let mut writer = entry.writer(EventsStorage::InOutput).unwrap();
    for chunk in chunks {
        feed(&mut writer, chunk);
        tokio::task::yield_now().await;
    }
    writer.append_patches(&[Patch {
        offset: writer.marks().len,
        len: 1,
        original: Vec::new(),
    }]);
    writer.append(b"\n");
    writer.finish();
    assert_eq!(live.await.unwrap(), chunks.concat());
    let mut reader = entry.reader(0).unwrap();
    let mut output = Vec::new();
    while let Some(bytes) = reader.next(100).await.unwrap() {
        output.extend_from_slice(&bytes);
    }
    assert_eq!(
        String::from_utf8(output).unwrap(),
        format!("{}\n", String::from_utf8_lossy(&chunks.concat()))
    );
    spool.end(&entry, b"{}").unwrap();
    drop((entry, spool));
    let spool = open(&dir, 1 << 20);
    let mut ended = spool
        .get(Uuid::from_u128(1))
        .unwrap()
        .unwrap()
        .events_reader()
        .unwrap();
    let mut all = Vec::new();
    while let Some(bytes) = ended.next(1000).await.unwrap() {
        all.extend_from_slice(&bytes);
    }
    assert_eq!(all, chunks.concat());
}

/// Reads all events from an offset to the present end.
async fn events_now(entry: &Entry, offset: Option<u64>) -> (Vec<u8>, EventsExtent) {
    let (mut reader, extent) = entry.events_from(offset).unwrap();
    reader.end_after(extent.len - offset.unwrap_or(extent.kept_from));
    let mut all = Vec::new();
    while let Some(bytes) = reader.next(5).await.unwrap() {
        all.extend_from_slice(&bytes);
    }
    (all, extent)
}

#[tokio::test]
async fn events_of_a_live_execution_can_be_read_to_the_present_end_and_continued() {
    let stdout: &[u8] = b"{}\n\xffa\n\xf0\x9f\x98b\n";
    for kept in [EventsStorage::Raw, EventsStorage::InOutput] {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(&dir, 1 << 20);
        let entry = entry(&spool);
        let (nothing, extent) = events_now(&entry, None).await;
        assert_eq!((nothing.len(), extent.len, extent.ended), (0, 0, false));
        assert!(matches!(
            entry.events_from(Some(1)),
            Err(ReadError::Beyond { len: 0 })
        ));
        let mut writer = entry.writer(kept).unwrap();
        let mut write = |bytes: &[u8]| match kept {
            EventsStorage::Raw => {
                writer.append_events(bytes);
            }
            EventsStorage::InOutput => feed(&mut writer, bytes),
        };
        write(&stdout[..4]);
        let (first, extent) = events_now(&entry, None).await;
        assert_eq!(first, &stdout[..4]);
        let marks = (extent.kept_from, extent.len, extent.ended);
        assert_eq!(marks, (0, 4, false));
        let (mut live, _) = entry.events_from(Some(4)).unwrap();
        write(&stdout[4..]);
        let (rest, extent) = events_now(&entry, Some(4)).await;
        assert_eq!((&*rest, extent.len), (&stdout[4..], stdout.len() as u64));
        writer.finish();
        let mut followed = Vec::new();
        while let Some(bytes) = live.next(5).await.unwrap() {
            followed.extend_from_slice(&bytes);
        }
        assert_eq!(followed, &stdout[4..]);
        let (_, extent) = events_now(&entry, Some(stdout.len() as u64)).await;
        assert!(extent.ended);
    }
}

#[tokio::test]
async fn freed_events_keep_their_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, 64 * 1024);
    let entry = entry(&spool);
    let mut writer = entry.writer(EventsStorage::InOutput).unwrap();
    let mut whole = Vec::new();
    for number in 0..20_000 {
        let line = [format!("{number} ").as_bytes(), b"\xff\xf0\x9f\n"].concat();
        feed(&mut writer, &line);
        whole.extend_from_slice(&line);
    }
    writer.finish();
    let (all, extent) = events_now(&entry, None).await;
    let from = extent.kept_from as usize;
    assert!(from > 0 && extent.len == whole.len() as u64);
    assert!(all == whole[from..]);
    let (rest, _) = events_now(&entry, Some(extent.kept_from + 101)).await;
    assert!(rest == whole[from + 101..]);
    let freed = entry.events_from(Some(extent.kept_from - 1));
    assert!(
        matches!(freed, Err(ReadError::NotKept { kept_from, .. }) if kept_from == extent.kept_from)
    );
}

#[tokio::test]
async fn too_many_patches_move_the_oldest_offset_of_the_events() {
    let dir = tempfile::tempdir().unwrap();
    let small = limits(1 << 20, 100);
    let spool = Spool::open(dir.path(), small.clone()).unwrap().0;
    let entry = entry(&spool);
    let mut writer = entry.writer(EventsStorage::InOutput).unwrap();
    for n in 0..12 {
        feed(&mut writer, &[b'a' + n]);
        feed(&mut writer, b"\xff");
    }
    writer.finish();
    let mut events = entry.events_reader().unwrap();
    let mut all = Vec::new();
    while let Some(bytes) = events.next(1000).await.unwrap() {
        all.extend_from_slice(&bytes);
    }
    let whole: Vec<u8> = (0..12).flat_map(|n| [b'a' + n, 0xff]).collect();
    assert!(
        all.len() >= 2 && all.len() < whole.len() && whole.ends_with(&all),
        "{all:?}"
    );
    // Offsets count the dropped events too, also after a restart.
    let kept_from = (whole.len() - all.len()) as u64;
    spool.end(&entry, b"{}").unwrap();
    drop((entry, events, spool));
    let spool = Spool::open(dir.path(), small).unwrap().0;
    let entry = spool.get(Uuid::from_u128(1)).unwrap().unwrap();
    let (rest, extent) = events_now(&entry, Some(kept_from + 1)).await;
    let range = (extent.kept_from, extent.len);
    assert_eq!(range, (kept_from, whole.len() as u64));
    assert_eq!(rest, &all[1..]);
}
