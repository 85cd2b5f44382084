//! Tests that a kill loses no byte that a reader has seen.

#![allow(clippy::disallowed_methods, reason = "a test ends what it starts")]
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use spool::{Entry, EventsStorage, Owner, Spool, SpoolLimits};
use uuid::Uuid;

const DIR: &str = "SPOOL_TEST_KILL_DIR";
const ID: Uuid = Uuid::from_u128(1);
const KEPT_BYTES: u64 = 256 << 10;

fn open(dir: &std::path::Path) -> Spool {
    let limits = SpoolLimits {
        kept_bytes: KEPT_BYTES,
        kept_lines: 0,
        events_bytes: 256 << 10,
        retention: Duration::from_secs(3600),
        retention_bytes: 1 << 40,
    };
    Spool::open(dir, limits).unwrap().0
}

fn line(n: u64) -> String {
    format!("{n} ü字😀 {}\n", "x".repeat((n % 4000) as usize))
}

async fn kept(entry: &Entry, kept_from: u64, len: u64) -> Vec<u8> {
    let mut reader = entry.reader(kept_from).unwrap();
    let mut kept = Vec::new();
    while (kept.len() as u64) < len - kept_from {
        kept.extend_from_slice(&reader.next(1 << 16).await.unwrap().unwrap());
    }
    kept
}

#[tokio::test]
async fn published_output_survives_a_kill() {
    for lines in [1, 40, 333, 1500] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "writes_until_killed", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let seen: u64 = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .filter_map(|line| {
                line.unwrap()
                    .strip_prefix("seen ")
                    .map(|len| len.parse().unwrap())
            })
            .nth(lines)
            .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let spool = open(dir.path());
        assert_eq!(spool.unfinished().unwrap(), [ID]);
        let entry = spool.get(ID).unwrap().unwrap();
        let marks = *entry.marks().unwrap().borrow();
        assert!(
            marks.len >= seen,
            "{seen} bytes were seen, {} are left",
            marks.len
        );
        assert!(!marks.ended);
        // Whole characters of the last write may follow the mark: then more is kept, never less.
        let least = marks.len.min(KEPT_BYTES - KEPT_BYTES / 32 - 3);
        assert!(
            marks.len - marks.kept_from >= least
                && (marks.kept_from == 0 || marks.len > KEPT_BYTES),
            "{marks:?}: more was freed than the cap says"
        );
        let mut all = Vec::new();
        for n in 0.. {
            if all.len() as u64 >= marks.len {
                break;
            }
            all.extend_from_slice(line(n).as_bytes());
        }
        all.truncate(marks.len as usize);
        assert_eq!(marks.crc32, crc32fast::hash(&all));
        assert!(kept(&entry, marks.kept_from, marks.len).await == all[marks.kept_from as usize..]);
        // As the start does with an interrupted execution.
        spool.end(&entry, b"{\"state\":\"interrupted\"}").unwrap();
        let mut reader = entry.reader(marks.len).unwrap();
        assert!(reader.next(1).await.unwrap().is_none());
    }
}

#[test]
#[ignore = "runs inside published_output_survives_a_kill"]
fn writes_until_killed() {
    let spool = open(&PathBuf::from(std::env::var_os(DIR).unwrap()));
    let entry = spool
        .create(ID, b"body", [1; 32], b"{}", Owner::NONE)
        .unwrap();
    let mut writer = entry.writer(EventsStorage::Raw).unwrap();
    let marks = entry.marks().unwrap();
    // Bounded, in case the kill never happens.
    for n in 0..50_000 {
        writer.append_events(&[b'e'; 3000]);
        writer.append(line(n).as_bytes());
        let len = marks.borrow().len;
        if writeln!(std::io::stdout(), "seen {len}").is_err() {
            break;
        }
    }
}
