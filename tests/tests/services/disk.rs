//! A spool whose disk is full when an execution is to be accepted: a small tmpfs in a mount namespace of
//! claude-api's own. It takes root or user namespaces; without either the test fails and says so.

use std::{fs, path::PathBuf, time::Duration};

use cc_tests::{
    harness::{
        Service, ServiceOptions, StackOptions, eventually,
        stack::{api_options, bridge_options},
    },
    http::Http,
    ws,
};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    start::{health, reason},
    support::{PATIENCE, accept, assert_problem, ended, id, path, send},
};

/// Mounts the spool, leaves somebody behind who fills and empties it when told by files outside, and becomes
/// the service. The filler's parent is gone before, so that the service does not take it for an orphan.
const INSIDE: &str = r#"set -e
mount -t tmpfs -o size=40m none "$1"
tell="$2"; spool="$1"; shift 2
( setsid sh -c '
    wait_for() { until [ -e "$1" ]; do [ -d "$2" ] || exit 0; sleep 0.05; done; }
    wait_for "$1/fill" "$1"; cat /dev/zero > "$2/filler"; : > "$1/full"
    wait_for "$1/free" "$1"; rm "$2/filler"; : > "$1/freed"
  ' sh "$tell" "$spool" >/dev/null 2>&1 </dev/null & )
exec "$@""#;

struct Full {
    api: Service,
    bridge: Service,
    folder: TempDir,
}

impl Full {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tell = folder.path().join("tell");
        fs::create_dir(&tell).expect("a folder");
        let options = StackOptions::default();
        let plain = api_options(folder.path(), &options);
        let namespaces = if rustix::process::geteuid().is_root() {
            vec!["--mount"]
        } else {
            vec!["--user", "--map-root-user", "--mount"]
        };
        let mut arguments: Vec<String> = namespaces.into_iter().map(str::to_owned).collect();
        arguments.extend(["sh", "-c", INSIDE, "sh"].map(str::to_owned));
        for path in [folder.path().join("spool"), tell, plain.program.clone()] {
            arguments.push(path.to_string_lossy().into_owned());
        }
        arguments.extend(plain.arguments.clone());
        let api = Service::start(ServiceOptions {
            program: PathBuf::from("unshare"),
            arguments,
            ..plain
        })
        .await;
        let bridge = Service::start(bridge_options(folder.path(), api.addr(), &options)).await;
        Self {
            api,
            bridge,
            folder,
        }
    }

    async fn tell(&self, what: &str, done: &str) {
        let tell = self.folder.path().join("tell");
        fs::write(tell.join(what), "").expect("written");
        let done = tell.join(done);
        eventually("the disk to change", PATIENCE, || {
            done.exists().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_full_spool_refuses_and_recovers() {
    let stack = Full::start().await;
    let http = Http::new(stack.api.addr());
    let bridge = Http::new(stack.bridge.addr());
    health(&bridge, "/health/ready", 200).await;
    let before = id();
    accept(&http, &before, "@say before", json!({})).await;
    assert_eq!(ended(&http, &before).await["state"], "completed");
    stack.tell("fill", "full").await;
    let refused = id();
    let body = json!({"prompt": "@say x".repeat(1000)}).to_string();
    let answer = send(&http, Method::PUT, &path(&refused, ""), body.clone()).await;
    assert_problem(&answer, 507, "spool-unwritable", "a full disk");
    let mut client = ws::Client::connect(stack.bridge.addr()).await;
    let asked = client.call(
        "execute",
        json!({"prompt": "@say x".repeat(1000), "executionId": refused}),
    );
    // At once: it is not retried for the 60 s that a lost connection would be.
    let error = tokio::time::timeout(Duration::from_secs(10), asked)
        .await
        .expect("at once")
        .expect_err("refused");
    assert_eq!(
        (&error["code"], &error["data"]["accepted"]),
        (&json!(-32005), &json!(false)),
        "{error}"
    );
    assert_eq!(error["data"]["executionId"], *refused);
    let page = health(&http, "/health/ready", 503).await;
    let known = |code: &&str| page.to_string().contains(code);
    let code = ["spool-unwritable", "no-room"].into_iter().find(known);
    reason(&page, code.unwrap_or("no-room"));
    health(&http, "/health/live", 200).await;
    let answer = send(&http, Method::GET, &path(&refused, ""), "").await;
    assert_problem(&answer, 404, "not-found", "nothing is recorded");
    let kept = http.output(&before, 0).await.expect("an output");
    assert_eq!(kept.bytes, b"before");
    stack.tell("free", "freed").await;
    let answer = send(&http, Method::PUT, &path(&refused, ""), body).await;
    assert_eq!(answer.0, 201, "{}", answer.2);
    assert_eq!(ended(&http, &refused).await["state"], "completed");
    health(&bridge, "/health/ready", 200).await;
    client.finish().await;
}
