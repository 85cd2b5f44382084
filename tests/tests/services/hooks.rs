//! Hooks before and after an execution: their input, their failures, and that no other execution
//! waits for them.

mod failing;
mod hanging;

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use cc_tests::{
    harness::{Service, Stack, StackOptions, stack::api_options},
    http::Http,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PATIENCE, accept, ended, exists, id, parsed, path, until};

/// A hook that acts as `metadata.kind` of the execution says.
const SCRIPT: &str = r#"#!/bin/sh
status=$(cat)
case "$status" in
*'"kind":"record"'*)
    printf '%s' "$status" >"$DIR/status"; env >"$DIR/env"
    pwd >"$DIR/pwd.new"; mv "$DIR/pwd.new" "$DIR/pwd" ;;
*'"kind":"slow"'*)
    : >"$DIR/began"; until [ -e "$DIR/go" ]; do sleep 0.05; done ;;
*'"kind":"fail"'*)
    echo "no room for this" >&2; exit 3 ;;
*'"kind":"killed"'*)
    kill -9 $$ ;;
*'"kind":"huge"'*)
    head -c 100000000 /dev/zero; head -c 20000000 /dev/zero | tr '\000' e >&2
    echo "last words" >&2; exit 4 ;;
*'"kind":"endless"'*)
    export HOOK_MARK=$MARK; setsid sleep 1000 & sleep 1000 &
    : >"$DIR/began"; trap '' TERM; wait; sleep 1000 ;;
esac
"#;

/// A stack with the hook of this module at one moment.
struct Hooked {
    stack: Stack,
    /// Folder of the hook and of the files that it writes.
    folder: TempDir,
    /// Mark in the environment of the processes that an endless hook leaves running.
    mark: String,
}

impl Hooked {
    async fn start(moment: &str, mode: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = id();
        let hook = folder.path().join("hook");
        let names = format!("#!/bin/sh\nDIR={}\nMARK={mark}\n", folder.path().display());
        let script = SCRIPT.replacen("#!/bin/sh\n", &names, 1);
        fs::write(&hook, script).expect("written");
        fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).expect("set");
        let mut options = StackOptions::default()
            .api(format!("--hook-{moment}={}", hook.display()))
            .api(format!("--hook-{moment}-mode={mode}"));
        for flag in flags {
            options = options.api(*flag);
        }
        Self {
            stack: Stack::with(options).await,
            folder,
            mark,
        }
    }

    fn http(&self) -> Http {
        self.stack.http()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Accepts an execution whose hook acts as `kind`; returns the id.
    async fn accept(&self, kind: &str, extra: Value) -> String {
        let id = id();
        let mut body = json!({"metadata": {"kind": kind}});
        if let (Value::Object(body), Value::Object(extra)) = (&mut body, extra) {
            body.extend(extra);
        }
        accept(&self.http(), &id, "@say done", body).await;
        id
    }

    /// Waits for the warning of a hook in the status of an execution that has ended.
    async fn warned(&self, id: &str) -> Value {
        let warned = |status: &Value| status["warnings"][0]["code"] == "hook_failed";
        until(&self.http(), id, "warned of", warned).await
    }

    async fn assert_nothing_left(&self, id: &str) {
        self.stack.assert_nothing_left(id).await;
        self.stack.assert_nothing_left(&self.mark).await;
    }
}

#[tokio::test]
async fn a_hook_runs_in_the_workspace_with_the_status_and_without_the_credential() {
    for (moment, state) in [("before", "running"), ("after", "completed")] {
        let hooked = Hooked::start(moment, "required", &[]).await;
        let id = hooked.accept("record", json!({"workspace": "shop"})).await;
        let end = ended(&hooked.http(), &id).await;
        assert_eq!(end["state"], "completed", "{end}");
        exists(&hooked.file("pwd")).await;
        let read = |name| fs::read_to_string(hooked.file(name)).expect("written by the hook");
        let status = parsed(&read("status"));
        assert_eq!(
            (&status["executionId"], &status["state"]),
            (&json!(id), &json!(state)),
            "{status}"
        );
        if moment == "after" {
            assert_eq!(status, end);
        }
        let workspace = hooked.stack.path("workspaces").join("shop");
        assert_eq!(read("pwd").trim(), workspace.to_string_lossy());
        let environment = read("env");
        assert!(environment.contains("\nPATH=") || environment.starts_with("PATH="));
        assert!(!environment.contains("a-key-for-tests"), "{environment}");
        assert_eq!(hooked.http().status(&id).await.expect("a status"), end);
        hooked.stack.assert_quiet();
    }
}

#[tokio::test]
async fn an_execution_that_is_cancelled_in_the_queue_runs_no_hook() {
    let hooked = Hooked::start("after", "required", &[]).await;
    let http = hooked.http();
    let first = id();
    accept(&http, &first, "@silence 60", json!({"lane": "one"})).await;
    let queued = hooked.accept("record", json!({"lane": "one"})).await;
    for id in [&queued, &first] {
        http.call(reqwest::Method::POST, &path(id, "/cancel"), None)
            .await
            .expect("an answer");
        assert_eq!(ended(&http, id).await["state"], "cancelled");
    }
    // A stop waits for all hooks.
    let mut hooked = hooked;
    assert!(hooked.stack.api.stop().await.success());
    assert!(!hooked.file("status").exists());
}

#[tokio::test]
async fn a_missing_hook_is_refused_at_startup_if_required_and_a_warning_if_advisory() {
    for moment in ["before", "after"] {
        let folder = tempfile::tempdir().expect("a folder");
        let advisory = StackOptions::default().api(format!("--hook-{moment}=/nonexistent/hook"));
        let required = advisory
            .clone()
            .api(format!("--hook-{moment}-mode=required"));
        let service = api_options(folder.path(), &required);
        let (status, log) = Service::run_to_end(service, PATIENCE).await;
        assert_eq!(status.code(), Some(64), "{log}");
        assert!(log.contains("/nonexistent/hook"), "{log}");

        let stack = Stack::with(advisory).await;
        let warned = stack.api.lines().iter().any(|line| {
            let message = line["message"].as_str().unwrap_or_default();
            line["level"] == "WARN" && message.contains("/nonexistent/hook")
        });
        assert!(warned, "{}", stack.api.log());
    }
}
