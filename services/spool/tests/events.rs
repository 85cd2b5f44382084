//! Tests that an `EventsReader` returns the CLI's exact stdout in format `events`: for any bytes,
//! from any offset, and with any sizes of writes and reads. The fuzz corpus of event lines is one
//! of the inputs.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::time::Duration;

use proptest::prelude::*;
use protocol::Patch;
use renderer::EventsOutput;
use spool::{Entry, EventsExtent, EventsStorage, Owner, ReadError, Spool, SpoolLimits};
use uuid::Uuid;

fn spool(dir: &tempfile::TempDir) -> Spool {
    let limits = SpoolLimits {
        kept_bytes: 1 << 30,
        kept_lines: 0,
        events_bytes: 1 << 30,
        retention: Duration::from_secs(3600),
        retention_bytes: 1 << 40,
    };
    Spool::open(dir.path(), limits).unwrap().0
}

/// Writes stdout as claude-api does, in chunks of `chunk` bytes.
fn written(spool: &Spool, stdout: &[u8], chunk: usize) -> Entry {
    let id = Uuid::new_v4();
    let entry = spool
        .create(id, b"body", [0; 32], b"{}", Owner::NONE)
        .unwrap();
    let mut writer = entry.writer(EventsStorage::InOutput).unwrap();
    let mut events = EventsOutput::new();
    let (mut bytes, mut patches) = (Vec::new(), Vec::new());
    let mut flush = |bytes: &mut Vec<u8>, patches: &mut Vec<Patch>| {
        writer.append_patches(patches);
        patches.clear();
        writer.append(bytes);
        bytes.clear();
    };
    for chunk in stdout.chunks(chunk) {
        events.push(chunk, &mut bytes, &mut patches);
        flush(&mut bytes, &mut patches);
    }
    events.finish(&mut bytes, &mut patches);
    flush(&mut bytes, &mut patches);
    writer.finish();
    entry
}

/// Writes stdout, and reads the events in pieces of at most `max` bytes.
async fn write_and_read(spool: &Spool, stdout: &[u8], chunk: usize, max: usize) -> Vec<u8> {
    let entry = written(spool, stdout, chunk);
    let mut reader = entry.events_reader().unwrap();
    let mut all = Vec::new();
    while let Some(piece) = reader.next(max).await.unwrap() {
        assert!(!piece.is_empty() && piece.len() <= max);
        all.extend_from_slice(&piece);
    }
    all
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

/// Generates text and garbage with torn characters.
fn mixed() -> impl Strategy<Value = Vec<u8>> {
    let text = "[a\n\r\"é中\u{1F600}\u{10FFFF}]{0,12}".prop_map(String::into_bytes);
    let likely = [0xE4, 0xF0, 0x9F, 0xED, 0xA0];
    let byte = prop_oneof![prop::sample::select(likely.to_vec()), any::<u8>()];
    let garbage = prop::collection::vec(byte, 0..6);
    prop::collection::vec(prop_oneof![text, garbage], 0..20).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_events_reader_returns_the_exact_stdout(
        stdout in mixed(), chunk in 1_usize..20, max in 1_usize..20,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let spool = spool(&dir);
        let read = runtime().block_on(write_and_read(&spool, &stdout, chunk, max));
        prop_assert_eq!(read, stdout);
    }

    #[test]
    fn events_from_any_offset_are_the_rest_of_stdout(
        stdout in mixed(), chunk in 1_usize..20, max in 1_usize..20,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let spool = spool(&dir);
        let entry = written(&spool, &stdout, chunk);
        let whole = EventsExtent { kept_from: 0, len: stdout.len() as u64, ended: true };
        for offset in 0..=stdout.len() {
            let (mut reader, extent) = entry.events_from(Some(offset as u64)).unwrap();
            prop_assert_eq!(extent, whole);
            let read = runtime().block_on(async {
                let mut rest = Vec::new();
                while let Some(piece) = reader.next(max).await.unwrap() {
                    rest.extend_from_slice(&piece);
                }
                rest
            });
            prop_assert_eq!(&read, &stdout[offset..], "from {}", offset);
        }
        let beyond = entry.events_from(Some(whole.len + 1));
        let is_beyond = matches!(beyond, Err(ReadError::Beyond { len }) if len == whole.len);
        prop_assert!(is_beyond);
    }
}

#[test]
fn the_events_reader_returns_the_exact_fuzz_corpus() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(&dir);
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/event_lines");
    let mut seen = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        let stdout = std::fs::read(file.unwrap().path()).unwrap();
        for (chunk, max) in [(7, 1000), (4096, 5)] {
            let read = runtime().block_on(write_and_read(&spool, &stdout, chunk, max));
            assert_eq!(read, stdout);
        }
        seen += 1;
    }
    assert!(seen > 10, "{seen} files");
}
