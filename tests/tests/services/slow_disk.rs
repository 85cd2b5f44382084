//! Controls, health and ends while the spool's disk hangs or takes seconds: writes of claude-api
//! wait until the test releases them, or for a time (`slow_disk/shim.c`, built with `cc`).

mod throttled;

use std::{fs, path::PathBuf, process::Command, time::Duration};

use cc_tests::harness::{Stack, StackOptions, eventually, processes};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PATIENCE, accept, ended, exists, id, path, send, until};

/// How long a test watches for an answer that must not arrive while the disk hangs.
const STILL: Duration = Duration::from_millis(500);

/// Both services, and the switches of claude-api's disk.
struct SlowDisk {
    stack: Stack,
    folder: TempDir,
}

impl SlowDisk {
    async fn start(options: StackOptions) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let shim = folder.path().join("shim.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&shim)
            .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/services/slow_disk/shim.c"))
            .arg("-ldl")
            .status()
            .expect("cc, a C compiler");
        assert!(built.success(), "{built}");
        let options = options
            .env("LD_PRELOAD", shim.to_string_lossy())
            .env("SLOW_DISK", folder.path().to_string_lossy());
        let stack = Stack::with(options).await;
        Self { stack, folder }
    }

    /// Makes such calls hang from now on, for example `write-output`.
    fn hang(&self, call: &str) {
        fs::write(self.folder.path().join(call), "").expect("written");
    }

    /// Makes each write, sync and rename of the spool take this long from now on.
    fn throttle(&self, delay: Duration) {
        let delay = delay.as_millis().to_string();
        fs::write(self.folder.path().join("delay"), delay).expect("written");
    }

    /// Makes the disk as fast as before, for the calls from now on.
    fn heal(&self) {
        fs::remove_file(self.folder.path().join("delay")).expect("it was throttled");
    }

    /// Returns how many calls were delayed so far.
    fn delayed(&self) -> u64 {
        let count = fs::metadata(self.folder.path().join("delayed"));
        count.map_or(0, |count| count.len())
    }

    /// Waits until such a call hangs.
    async fn hangs(&self, call: &str) {
        exists(&self.folder.path().join(format!("hung-{call}"))).await;
    }

    /// Releases the hanging calls.
    fn release(&self, call: &str) {
        fs::remove_file(self.folder.path().join(call)).expect("it hung");
    }

    async fn control(&self, id: &str, control: &str) -> Value {
        let (http, path) = (self.stack.http(), path(id, control));
        let call = send(&http, Method::POST, &path, "");
        let (code, _, status) = tokio::time::timeout(PATIENCE, call)
            .await
            .unwrap_or_else(|_| panic!("{control} was not answered while the disk hung"));
        assert_eq!(code, 200, "{status}");
        status
    }
}

fn cli_is_gone(id: &str) -> Option<()> {
    let mut all = processes::marked(id).into_iter();
    all.all(|process| !process.arguments.contains("stand-in-claude"))
        .then_some(())
}

/// While eight output writes hang, HTTP, controls and health work, and a cancel reaches every tree.
#[tokio::test]
async fn hung_output_writes_of_all_running_executions_stop_neither_health_nor_signals() {
    let slow = SlowDisk::start(StackOptions::default().api("--simultaneous-starts=8")).await;
    let http = slow.stack.http();
    let go = slow.stack.path("tmp").join("go");
    let ids: Vec<String> = (0..8).map(|_| id()).collect();
    let prompt = format!("@say a\n@wait {}\n@say b\n@tool 60", go.display());
    for id in &ids {
        accept(&http, id, &prompt, json!({})).await;
        until(&http, id, "at its first byte", |status| {
            status["outputBytes"] == 1
        })
        .await;
    }
    slow.hang("write-output");
    slow.hang("write-events");
    fs::write(&go, "").expect("written");
    slow.hangs("write-events").await;
    let live = tokio::time::timeout(PATIENCE, http.get("/health/live"));
    let (code, _) = live
        .await
        .expect("the disk hangs, /health/live does not answer")
        .expect("an answer");
    assert_eq!(code, 200);
    for id in &ids {
        slow.control(id, "/cancel").await;
    }
    for id in &ids {
        eventually(
            "TERM to reach the CLI while the disk hangs",
            PATIENCE,
            || cli_is_gone(id),
        )
        .await;
    }
    slow.release("write-output");
    slow.release("write-events");
    for id in &ids {
        assert_eq!(ended(&http, id).await["state"], "cancelled");
        slow.stack.assert_nothing_left(id).await;
    }
    slow.stack.assert_quiet();
}

#[tokio::test]
async fn a_hung_status_write_delays_no_signal() {
    let slow = SlowDisk::start(StackOptions::default()).await;
    let http = slow.stack.http();
    let (go, id) = (slow.stack.path("tmp").join("go"), id());
    let prompt = format!("@wait {}\n@say a\n@tool 60", go.display());
    accept(&http, &id, &prompt, json!({})).await;
    until(&http, &id, "at its start", |status| {
        !status["model"].is_null()
    })
    .await;
    slow.hang("write-record");
    // The next status write records the request to the model.
    fs::write(&go, "").expect("written");
    slow.hangs("write-record").await;
    slow.control(&id, "/cancel").await;
    eventually(
        "TERM to reach the CLI while the disk hangs",
        PATIENCE,
        || cli_is_gone(&id),
    )
    .await;
    slow.release("write-record");
    assert_eq!(ended(&http, &id).await["state"], "cancelled");
    slow.stack.assert_quiet();
}

#[tokio::test]
async fn a_cancel_after_many_controls_of_a_busy_execution_is_not_lost() {
    let slow = SlowDisk::start(StackOptions::default()).await;
    let http = slow.stack.http();
    let (go, id) = (slow.stack.path("tmp").join("go"), id());
    let prompt = format!("@wait {}\n@say a\n@tool 60", go.display());
    accept(&http, &id, &prompt, json!({})).await;
    until(&http, &id, "at its start", |status| {
        !status["model"].is_null()
    })
    .await;
    slow.hang("write-record");
    fs::write(&go, "").expect("written");
    slow.hangs("write-record").await;
    for _ in 0..20 {
        slow.control(&id, "/resume").await;
    }
    slow.control(&id, "/cancel").await;
    slow.release("write-record");
    assert_eq!(ended(&http, &id).await["state"], "cancelled");
    slow.stack.assert_quiet();
}

#[tokio::test]
async fn a_cancel_during_the_write_of_the_end_is_answered_with_that_end_or_decides_it() {
    let slow = SlowDisk::start(StackOptions::default()).await;
    let http = slow.stack.http();
    let (go, id) = (slow.stack.path("tmp").join("go"), id());
    accept(
        &http,
        &id,
        &format!("@say a\n@wait {}", go.display()),
        json!({}),
    )
    .await;
    until(&http, &id, "at its first byte", |status| {
        status["outputBytes"] == 1
    })
    .await;
    slow.hang("sync-record");
    fs::write(&go, "").expect("written");
    slow.hangs("sync-record").await;
    let cancel = slow.control(&id, "/cancel");
    tokio::pin!(cancel);
    let early = tokio::time::timeout(STILL, &mut cancel).await.ok();
    slow.release("sync-record");
    let answer = match early {
        Some(answer) => answer,
        None => cancel.await,
    };
    let end = ended(&http, &id).await;
    assert!(
        answer["state"] == end["state"] || end["state"] == "cancelled",
        "the cancel was answered {}, and the execution ended {}",
        answer["state"],
        end["state"]
    );
    slow.stack.assert_quiet();
}

/// The cancel of a queued execution is answered with the terminal status once that is recorded.
#[tokio::test]
async fn cancel_of_a_queued_execution_is_answered_after_its_record() {
    let slow = SlowDisk::start(StackOptions::default()).await;
    let http = slow.stack.http();
    let (first, second) = (id(), id());
    accept(&http, &first, "@tool 60", json!({"lane": "one"})).await;
    until(&http, &first, "running", |status| {
        !status["model"].is_null()
    })
    .await;
    accept(&http, &second, "@say x", json!({"lane": "one"})).await;
    slow.hang("sync-record");
    let cancel = slow.control(&second, "/cancel");
    tokio::pin!(cancel);
    let early = tokio::time::timeout(STILL, &mut cancel).await;
    assert!(early.is_err(), "answered before the record: {early:?}");
    slow.release("sync-record");
    assert_eq!(cancel.await["state"], "cancelled");
    slow.control(&first, "/cancel").await;
    assert_eq!(ended(&http, &first).await["state"], "cancelled");
    assert_eq!(slow.stack.spawns(&second), 0);
    slow.stack.assert_quiet();
}
