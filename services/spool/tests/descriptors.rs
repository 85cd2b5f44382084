//! A process that runs out of file descriptors.

#![allow(clippy::disallowed_methods, reason = "a test ends what it starts")]
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{
    fs::File,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use spool::{Owner, Spool, SpoolLimits};
use uuid::Uuid;

const DIR: &str = "SPOOL_TEST_DESCRIPTORS_DIR";

#[test]
fn an_acceptance_without_free_descriptors_is_complete_or_absent() {
    let dir = tempfile::tempdir().unwrap();
    let out = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 64 && exec \"$0\" --ignored --exact without_free_descriptors --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&out.stdout);
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(
        out.status.success() && stdout.contains("1 passed"),
        "{stdout}{stderr}"
    );
}

#[test]
#[ignore = "runs inside an_acceptance_without_free_descriptors_is_complete_or_absent"]
fn without_free_descriptors() {
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
    let limits = SpoolLimits {
        kept_bytes: 1 << 20,
        kept_lines: 0,
        events_bytes: 1 << 20,
        retention: Duration::from_secs(3600),
        retention_bytes: 1 << 40,
    };
    let (spool, _) = Spool::open(&dir, limits).unwrap();
    for id in (1..=100).map(Uuid::from_u128) {
        let folder = dir.join("executions").join(id.to_string());
        let done = AtomicBool::new(false);
        let created = thread::scope(|scope| {
            // Opens every free descriptor as soon as the execution's folder is renamed.
            scope.spawn(|| {
                let mut opened = Vec::new();
                while !done.load(Ordering::SeqCst) {
                    if opened.is_empty() && !folder.exists() {
                        thread::yield_now();
                    } else if let Ok(file) = File::open("/dev/null") {
                        opened.push(file);
                    }
                }
            });
            let created = spool.create(id, b"body", [1; 32], b"{}", Owner::NONE);
            done.store(true, Ordering::SeqCst);
            created
        });
        if let Err(error) = created {
            assert!(
                spool.get(id).unwrap().is_none(),
                "the execution exists after: {error}"
            );
            spool
                .create(id, b"body", [1; 32], b"{}", Owner::NONE)
                .unwrap();
        }
        assert_eq!(spool.get(id).unwrap().unwrap().body().unwrap(), b"body");
    }
}
