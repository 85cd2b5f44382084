//! Test of the modes of the spool's files. It has its own test binary because the umask belongs to
//! the process.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

use rustix::{fs::Mode, process::umask};
use spool::{EventsStorage, Owner, Spool, SpoolLimits};
use uuid::Uuid;

const LIMITS: SpoolLimits = SpoolLimits {
    kept_bytes: 1 << 20,
    kept_lines: 0,
    events_bytes: 1 << 20,
    retention: Duration::from_secs(3600),
    retention_bytes: u64::MAX,
};

/// Collects the paths that users other than the owner may access, each with its mode.
fn open_to_others(path: &Path, found: &mut Vec<String>) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        found.push(format!("{} {mode:o}", path.display()));
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            open_to_others(&entry.unwrap().path(), found);
        }
    }
}

fn assert_private(dir: &Path) {
    let mut found = Vec::new();
    open_to_others(dir, &mut found);
    assert!(found.is_empty(), "other users may access {found:#?}");
}

fn widen(path: &Path) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            widen(&entry.unwrap().path());
        }
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    } else {
        fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    }
}

#[test]
fn only_the_owner_may_read_a_new_or_existing_spool() {
    umask(Mode::empty());
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("spool");
    let (spool, _) = Spool::open(&dir, LIMITS).unwrap();
    for n in 1..=2 {
        let entry = spool
            .create(Uuid::from_u128(n), b"body", [1; 32], b"{}", Owner::NONE)
            .unwrap();
        let mut writer = entry.writer(EventsStorage::Raw).unwrap();
        writer.append(b"text");
        writer.append_events(b"events");
        writer.finish();
        entry.write_shares(b"shares").unwrap();
        spool.end(&entry, b"{}").unwrap();
    }
    spool.delete(Uuid::from_u128(1)).unwrap();
    spool.burn(Uuid::from_u128(3), Owner::of("a")).unwrap();
    assert_private(&dir);
    // As an earlier version left the spool.
    drop(spool);
    File::create(dir.join("staging").join("left over")).unwrap();
    widen(&dir);
    let (spool, _) = Spool::open(&dir, LIMITS).unwrap();
    assert_private(&dir);
    drop(spool);
}
