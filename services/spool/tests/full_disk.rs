//! A real full disk: a small tmpfs in the test's own mount namespace, which ends with the process.

#![allow(clippy::disallowed_methods, reason = "a test ends what it starts")]

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use spool::{EventsStorage, Owner, Spool, SpoolError, SpoolLimits};
use uuid::Uuid;

const DISK: &str = "SPOOL_TEST_FULL_DISK";

/// Runs the other test of this file on a disk of 8 MiB. Works without root in a user namespace. On
/// a machine that allows neither, the test fails with a message; it is never skipped.
#[test]
fn a_full_disk_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=8m none \"$1\" \
        && exec \"$2\" --ignored --exact on_a_full_disk --nocapture";
    let run = |namespaces: &[&str]| {
        Command::new("unshare")
            .args(namespaces)
            .args(["sh", "-c", script, "sh"])
            .args([dir.path(), &std::env::current_exe().unwrap()])
            .env(DISK, dir.path())
            .output()
            .unwrap()
    };
    let proof = "a full disk was met";
    let mut report = String::new();
    for namespaces in [
        &["--mount"][..],
        &["--user", "--map-root-user", "--mount"][..],
    ] {
        let out = run(namespaces);
        let stdout = String::from_utf8_lossy(&out.stdout).into_owned();
        if out.status.success() && stdout.contains(proof) {
            return;
        }
        report += &format!(
            "unshare {namespaces:?}: {}\n{stdout}{}\n",
            out.status,
            String::from_utf8_lossy(&out.stderr)
        );
        if stdout.contains("running 1 test") {
            break;
        }
    }
    panic!(
        "could not make a full disk (needs root or user namespaces), or the test on it \
         failed:\n{report}"
    );
}

/// Fills the rest of the disk.
fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("filler");
    File::create(&path).expect("a name for the filler");
    fill_more(&path);
    path
}

/// Fills the rest of the disk again, after something was removed.
fn fill_more(filler: &Path) {
    let mut file = File::options()
        .append(true)
        .open(filler)
        .expect("the filler");
    while file.write(&[1; 4096]).is_ok() {}
}

#[test]
#[ignore = "runs inside a_full_disk_is_survived"]
fn on_a_full_disk() {
    let disk = PathBuf::from(std::env::var_os(DISK).expect("started by a_full_disk_is_survived"));
    let limits = SpoolLimits {
        kept_bytes: 1 << 30,
        kept_lines: 0,
        events_bytes: 1 << 30,
        retention: Duration::from_secs(3600),
        retention_bytes: 1 << 40,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (spool, warnings) = Spool::open(&disk.join("spool"), limits.clone()).unwrap();
    assert!(
        warnings.iter().any(|warning| warning.contains("tmpfs")),
        "{warnings:?}"
    );
    let id = Uuid::from_u128(1);
    let entry = spool
        .create(id, b"body", [1; 32], b"{\"state\":\"queued\"}", Owner::NONE)
        .unwrap();
    let mut writer = entry.writer(EventsStorage::Raw).unwrap();

    // Write three times the size of the disk, events and output in turn.
    let mut all: Vec<u8> = Vec::new();
    let (mut freed, mut met) = (0, 0);
    for n in 0..6000 {
        let line = format!("{n} {}\n", "字".repeat(1000));
        writer.append_events(&[b'e'; 1000]);
        let done = writer.append(line.as_bytes());
        assert_eq!(done.lost, 0, "freeing the oldest bytes makes room");
        all.extend_from_slice(line.as_bytes());
        freed += done.freed;
        met += u32::from(done.disk_full);
    }
    assert!(freed > 0 && met > 0);
    let check = |entry: &spool::Entry| {
        let marks = *entry.marks().unwrap().borrow();
        assert_eq!(marks.len, all.len() as u64);
        assert_eq!(marks.crc32, crc32fast::hash(&all));
        let mut reader = entry.reader(marks.kept_from).unwrap();
        let mut kept = Vec::new();
        while kept.len() < (marks.len - marks.kept_from) as usize {
            kept.extend_from_slice(&runtime.block_on(reader.next(1 << 16)).unwrap().unwrap());
        }
        assert!(kept == all[marks.kept_from as usize..]);
        kept.len()
    };
    assert!(check(&entry) > 1 << 20);

    entry.write_shares(b"shares").unwrap();
    let filler = fill(&disk);
    assert!(spool.check_writable(1).is_err());
    let refused = entry.write_shares(&[b'x'; 60_000]);
    assert!(refused.is_err());
    assert_eq!(entry.shares().unwrap(), b"shares");
    entry.write_shares(b"").unwrap();
    assert!(entry.shares().unwrap().is_empty());
    // The removed file freed one block.
    fill_more(&filler);
    let refused = spool.create(Uuid::from_u128(2), b"body", [2; 32], b"{}", Owner::NONE);
    assert!(matches!(refused, Err(SpoolError::Unwritable { .. })));
    assert!(spool.get(Uuid::from_u128(2)).unwrap().is_none());
    for n in 0..5 {
        let status = format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(60_000));
        entry.write_status(status.as_bytes(), true).unwrap();
        assert_eq!(entry.status().unwrap(), status.as_bytes());
    }
    writer.finish();
    spool.end(&entry, b"{\"state\":\"failed\"}").unwrap();
    check(&entry);
    drop((entry, spool));

    // The next start, while the disk is still full.
    let (spool, _) = Spool::open(&disk.join("spool"), limits).unwrap();
    let entry = spool.get(id).unwrap().unwrap();
    assert_eq!(entry.status().unwrap(), b"{\"state\":\"failed\"}");
    check(&entry);
    assert_eq!(spool.page(None, 10, None).unwrap().ids, [id]);
    drop(entry);
    spool.delete(id).unwrap();
    assert_eq!(spool.tombstone(id).unwrap().digest, [1; 32]);
    spool.check_writable(1 << 20).unwrap();
    assert!(spool.expire(SystemTime::now()).unwrap().is_empty());
    spool
        .create(Uuid::from_u128(2), b"body", [2; 32], b"{}", Owner::NONE)
        .unwrap();
    std::fs::remove_file(filler).unwrap();
    // Proves to the outer test that this test ran to its end.
    println!("a full disk was met");
}
