//! Both services with the real CLI: hooks before and after an execution.

mod failing;
mod hanging;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use cc_tests::{harness::eventually, harness::processes, http::Http, ws};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PATIENCE, pause::World};

const MOMENTS: [&str; 2] = ["before", "after"];

/// Script of the hook at both moments. It acts as the execution's metadata says under the name of
/// the moment.
const SCRIPT: &str = r#"
moment=${0##*/}
status=$(cat)
case "$status" in
*"\"$moment\":\"slow\""*)
    : >"$DIR/$moment.slow"; until [ -e "$DIR/go" ]; do sleep 0.05; done ;;
*"\"$moment\":\"fail\""*)
    echo "no room for this" >&2; exit 3 ;;
*"\"$moment\":\"huge\""*)
    head -c 30000000 /dev/zero; head -c 10000000 /dev/zero | tr '\000' e >&2
    echo "last words" >&2; exit 4 ;;
*"\"$moment\":\"endless\""*)
    exec env HOOK_MARK="$MARK-$moment" sh -c '
        trap "" TERM; setsid sleep 1000 & sleep 1000 & : >"$0"; wait; sleep 1000' \
        "$DIR/$moment.endless" ;;
esac
"#;

/// Limit for an execution of the real CLI, which takes seconds, on a very busy machine. The time
/// limit of hooks that hang is far above it, so an execution that waited for one takes longer.
const USUAL: Duration = PATIENCE;

/// Both services with the real CLI and [`SCRIPT`] as both hooks, in one mode.
struct Hooked {
    world: World,
    folder: TempDir,
    mode: &'static str,
    /// Prefix of the mark in the environment of each process of an endless hook; the moment
    /// follows.
    mark: String,
}

impl Hooked {
    /// Starts both services; `limit_ms` is the time limit of a hook.
    async fn start(mode: &'static str, limit_ms: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = uuid::Uuid::new_v4().to_string();
        let script = format!("DIR={}\nMARK={mark}{SCRIPT}", folder.path().display());
        let before = hook(folder.path(), "before", &script);
        let after = hook(folder.path(), "after", &script);
        let world = World::new(&[
            ("CLAUDE_API_HOOK_BEFORE", &before.to_string_lossy()),
            ("CLAUDE_API_HOOK_BEFORE_MODE", mode),
            ("CLAUDE_API_HOOK_AFTER", &after.to_string_lossy()),
            ("CLAUDE_API_HOOK_AFTER_MODE", mode),
            ("CLAUDE_API_HOOK_TIMEOUT_MS", limit_ms),
            ("CLAUDE_API_RUNNING_EXECUTIONS", "16"),
            // A hook must not hold the only permit for starts.
            ("CLAUDE_API_SIMULTANEOUS_STARTS", "1"),
            ("CLAUDE_API_SHUTDOWN_MS", "4000"),
            ("CLAUDE_API_KILL_MS", "200"),
            // On a busy machine a CLI may end late, which is not under test.
            ("CLAUDE_API_LINGER_MS", "60000"),
        ])
        .await;
        Self {
            world,
            folder,
            mode,
            mark,
        }
    }

    fn http(&self) -> Http {
        self.world.stack.http()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn exists(&self, name: &str) {
        let file = self.file(name);
        eventually(name, PATIENCE, || file.exists().then_some(())).await;
    }

    /// Starts an execution in a session of its own; its hook at `moment` acts as `kind`.
    async fn execute(&self, moment: &str, kind: &str) -> (ws::Client, String) {
        let mut client = self.world.client().await;
        let extra = json!({"metadata": {moment: kind}});
        let status = client.execute("@say done", extra).await;
        let id = status["executionId"].as_str().expect("an id").to_owned();
        (client, id)
    }

    /// Asserts that an execution whose hooks do no harm completes within its usual time.
    async fn assert_usual_time(&self) {
        let begun = Instant::now();
        let (client, id) = self.execute("before", "none").await;
        let (output, end) = client.wait_terminal(&id).await;
        let took = begun.elapsed();
        assert_eq!(
            (&output[..], &end["status"], &end["warnings"]),
            (&b"done"[..], &json!("COMPLETED"), &json!([])),
            "{end}"
        );
        assert!(
            took < USUAL,
            "it waited for the hook of another execution: {took:?}"
        );
        client.finish().await;
    }

    /// Asserts whether the CLI ran, by its own record: the transcript of the execution.
    fn assert_ran(&self, id: &str, ran: bool) {
        let projects = fs::read_dir(self.world.path("home/.claude/projects"));
        let mut projects = projects.into_iter().flatten().flatten();
        let recorded = projects.any(|project| project.path().join(format!("{id}.jsonl")).exists());
        assert_eq!(recorded, ran, "whether the CLI of {id} ran");
    }

    /// Asserts that within 5 s no process of an endless hook at this moment is left.
    async fn assert_nothing_left(&self, moment: &str) {
        let mark = format!("{}-{moment}", self.mark);
        processes::assert_none_marked(&mark, Duration::from_secs(5)).await;
    }

    /// Returns the message of a failure: `what` after the name of the hook.
    fn message(&self, moment: &str, what: &str) -> String {
        format!("the {} {moment} hook {what}", self.mode)
    }

    /// Asserts the one warning that a status has.
    #[track_caller]
    fn assert_warned(&self, status: &Value, moment: &str, cause: &str, what: &str) {
        let warnings = status["warnings"].as_array().expect("a list");
        let [warning] = &warnings[..] else {
            panic!("not one warning: {status}");
        };
        let data = json!({"hook": moment, "mode": self.mode, "cause": cause});
        assert_eq!(
            (&warning["code"], &warning["message"], &warning["data"]),
            (
                &json!("hook_failed"),
                &json!(self.message(moment, what)),
                &data
            )
        );
    }
}

fn hook(folder: &Path, name: &str, script: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("set");
    path
}

/// Waits until a hook has written this file; returns its JSON.
async fn wait_json(path: &Path) -> Value {
    let read = || fs::read_to_string(path).ok();
    let patience: Duration = PATIENCE;
    let text = eventually(&path.display().to_string(), patience, read).await;
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn hooks_run_before_and_after_the_real_cli_and_a_refusal_starts_no_cli() {
    let folder = tempfile::tempdir().expect("a folder");
    let end = folder.path().join("end");
    let before = "echo from the hook >made-before; ! grep -q '\"refuse\":\"yes\"'";
    let before = hook(folder.path(), "before", before);
    let after = format!("cat >{0}.new; mv {0}.new {0}", end.display());
    let after = hook(folder.path(), "after", &after);
    let world = World::new(&[
        ("CLAUDE_API_HOOK_BEFORE", &before.to_string_lossy()),
        ("CLAUDE_API_HOOK_BEFORE_MODE", "required"),
        ("CLAUDE_API_HOOK_AFTER", &after.to_string_lossy()),
        ("CLAUDE_API_HOOK_AFTER_MODE", "required"),
    ])
    .await;
    let mut client = world.client().await;

    let (output, status) = client.run("@bash cat made-before").await;
    let output = String::from_utf8_lossy(&output);
    assert_eq!(status["status"], "COMPLETED", "{status}");
    assert!(output.contains("from the hook"), "{output}");
    let seen = wait_json(&end).await;
    assert_eq!(
        (&seen["executionId"], &seen["state"]),
        (&status["executionId"], &json!("completed")),
        "{seen}"
    );

    fs::remove_file(&end).expect("removed");
    let requests = world.requests().await;
    let extra = json!({"metadata": {"refuse": "yes"}});
    let accepted = client.execute("@say never", extra).await;
    let id = accepted["executionId"].as_str().expect("an id").to_owned();
    let (output, status) = client.wait_terminal(&id).await;
    assert_eq!(
        (&status["status"], &status["reason"], &output[..]),
        (&json!("FAILED"), &json!("hook_refused"), &b""[..]),
        "{status}"
    );
    assert_eq!(world.requests().await, requests, "the model got a request");
    assert_eq!(wait_json(&end).await["reason"], "hook_refused");
    client.finish().await;
    world.end();
}
