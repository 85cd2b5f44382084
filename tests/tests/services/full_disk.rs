//! A full disk, when an execution is to be accepted and while one runs: the spool is a small tmpfs
//! in a mount namespace of claude-api's own. The tests need root or user namespaces; without either
//! they fail and say so.

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
    metrics,
    startup::{health, reason},
    support::{PATIENCE, accept, assert_problem, ended, id, path, send, until},
};

/// Shell script that mounts the spool, starts a filler in the background, and becomes the service.
/// The filler fills and empties the disk when files outside request it; it also keeps the namespace
/// alive while the service is killed. The filler's parent exits first, so that the service does not
/// take the filler for an orphan.
const INSIDE: &str = r#"set -e
mount -t tmpfs -o size=40m none "$1"
tell="$2"; spool="$1"; shift 2
( setsid sh -c '
    echo $$ > "$1/filler.new"; mv "$1/filler.new" "$1/filler"
    wait_for() { until [ -e "$1" ]; do [ -d "$2" ] || exit 0; sleep 0.05; done; }
    wait_for "$1/fill" "$1"; cat /dev/zero > "$2/filler"; : > "$1/full"
    wait_for "$1/free" "$1"; rm "$2/filler"; : > "$1/freed"
  ' sh "$tell" "$spool" >/dev/null 2>&1 </dev/null & )
exec "$@""#;
/// Deltas of the execution that writes more than the disk has room for (3 MB), and the bytes of
/// each.
const DELTAS: usize = 400;
const DELTA_BYTES: usize = 8192;

struct Full {
    api: Service,
    bridge: Service,
    /// claude-api's options without the namespace.
    plain: ServiceOptions,
    folder: TempDir,
}

impl Full {
    async fn start() -> Self {
        Self::start_on("spool").await
    }

    /// Starts both services with this folder of the stack on the small disk.
    async fn start_on(small: &str) -> Self {
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
        for path in [folder.path().join(small), tell, plain.program.clone()] {
            arguments.push(path.to_string_lossy().into_owned());
        }
        arguments.extend(plain.arguments.clone());
        let api = Service::start(ServiceOptions {
            program: PathBuf::from("unshare"),
            arguments,
            ..plain.clone()
        })
        .await;
        let bridge = Service::start(bridge_options(folder.path(), api.addr(), &options)).await;
        Self {
            api,
            bridge,
            plain,
            folder,
        }
    }

    /// Kills claude-api and starts it again with the same disk on the same port.
    async fn crash_api(&mut self) {
        let port = self.api.addr().port();
        self.api.kill();
        let filler = fs::read_to_string(self.folder.path().join("tell/filler")).expect("a pid");
        let mut arguments = vec!["--target".to_owned(), filler.trim().to_owned()];
        if !rustix::process::geteuid().is_root() {
            arguments.extend(["--user", "--preserve-credentials"].map(str::to_owned));
        }
        arguments.extend(["--mount", "--"].map(str::to_owned));
        arguments.push(self.plain.program.to_string_lossy().into_owned());
        let same_port = format!("--port={port}");
        let own = self.plain.arguments.iter().cloned();
        arguments.extend(own.map(|argument| match argument.as_str() {
            "--port=0" => same_port.clone(),
            _ => argument,
        }));
        self.api = Service::start(ServiceOptions {
            program: PathBuf::from("nsenter"),
            arguments,
            ..self.plain.clone()
        })
        .await;
    }

    /// Requests a change of the disk by the file `request`, and waits for the file `done`.
    async fn change_disk(&self, request: &str, done: &str) {
        let tell = self.folder.path().join("tell");
        fs::write(tell.join(request), "").expect("written");
        let done = tell.join(done);
        eventually("the disk to change", PATIENCE, || {
            done.exists().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_full_spool_refuses_executions_and_recovers() {
    let stack = Full::start().await;
    let http = Http::new(stack.api.addr());
    let bridge = Http::new(stack.bridge.addr());
    health(&bridge, "/health/ready", 200).await;
    let earlier = id();
    accept(&http, &earlier, "@say before", json!({})).await;
    assert_eq!(ended(&http, &earlier).await["state"], "completed");
    stack.change_disk("fill", "full").await;
    let refused = id();
    let body = json!({"prompt": "@say x".repeat(1000)}).to_string();
    let answer = send(&http, Method::PUT, &path(&refused, ""), body.clone()).await;
    assert_problem(&answer, 507, "spool-unwritable", "a full disk");
    let mut client = ws::Client::connect(stack.bridge.addr()).await;
    let request = client.call(
        "execute",
        json!({"prompt": "@say x".repeat(1000), "executionId": refused}),
    );
    // The refusal is immediate: only a lost connection is retried for 60 s.
    let error = tokio::time::timeout(Duration::from_secs(10), request)
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
    let kept = http.output(&earlier, 0).await.expect("an output");
    assert_eq!(kept.bytes, b"before");
    stack.change_disk("free", "freed").await;
    let answer = send(&http, Method::PUT, &path(&refused, ""), body).await;
    assert_eq!(answer.0, 201, "{}", answer.2);
    assert_eq!(ended(&http, &refused).await["state"], "completed");
    health(&bridge, "/health/ready", 200).await;
    client.finish().await;
}

/// Returns the output without its gaps.
fn without_gaps(output: &[u8], gaps: &[(u64, u64)]) -> Vec<u8> {
    let (mut left, mut at) = (Vec::new(), 0);
    for (from, to) in gaps {
        left.extend_from_slice(&output[at..*from as usize]);
        at = *to as usize;
    }
    left.extend_from_slice(&output[at..]);
    left
}

#[tokio::test]
async fn output_lost_to_a_full_disk_is_a_gap_and_the_end_is_recorded() {
    let mut stack = Full::start().await;
    let http = Http::new(stack.api.addr());
    let go = stack.folder.path().join("go");
    let mut client = ws::Client::connect(stack.bridge.addr()).await;
    // One block, so that no separator is between its texts.
    let prompt = format!(
        "@block 1000000000\n@say before\n@wait {}\n@volume {DELTAS} {DELTA_BYTES}\n@say after",
        go.display()
    );
    let (talker, victim) = (client.start(&prompt).await, id());
    accept(&http, &victim, "@say so far\n@tool 600", json!({})).await;
    client.wait_output(&talker, 6).await;
    until(&http, &victim, "so far", |status| {
        status["outputBytes"] == 6
    })
    .await;
    stack.change_disk("fill", "full").await;
    fs::write(&go, "").expect("written");

    let filling = "x".repeat(DELTA_BYTES - 14);
    let deltas = (1..=DELTAS).map(|number| format!("{number:012} {filling}\n"));
    let expected = format!("before{}after", deltas.collect::<String>()).into_bytes();
    let truth = (
        &json!(expected.len()),
        &json!(format!("{:08x}", crc32fast::hash(&expected))),
    );
    let (output, end) = client.wait_terminal(&talker).await;
    assert_eq!(end["status"], "COMPLETED", "{end}");
    assert_eq!((&end["outputBytes"], &end["crc32"]), truth, "{end}");
    let gaps = client.gaps(&talker);
    assert!(!gaps.is_empty(), "nothing was lost: {end}");
    assert!(
        output == without_gaps(&expected, &gaps),
        "other bytes; {gaps:?}"
    );
    let notice = client.wait_notice("disk_full").await;
    assert_eq!(notice["executionId"], *talker);
    let lost = end["warnings"].as_array().expect("warnings").iter();
    let lost = lost.filter_map(|warning| warning["data"]["lostBytes"].as_u64());
    let lost = lost.max().unwrap_or_default();
    assert!(lost > 0, "{}", end["warnings"]);
    let page = metrics::page(stack.api.addr()).await;
    let dropped = page.sum("claude_api_dropped_bytes_total", &[("track", "output")]);
    assert_eq!(dropped, lost as f64, "{}", end["warnings"]);
    let page = health(&http, "/health/ready", 503).await;
    reason(&page, "no-room");

    // The disk is still full.
    let before = http.status(&talker).await.expect("a status");
    stack.crash_api().await;
    let after = http.status(&talker).await.expect("a status");
    for name in ["state", "outputBytes", "crc32", "endedAt", "warnings"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert_eq!((&after["outputBytes"], &after["crc32"]), truth, "{after}");
    let interrupted = ended(&http, &victim).await;
    assert_eq!(
        (&interrupted["state"], &interrupted["outputBytes"]),
        (&json!("interrupted"), &json!(6)),
        "{interrupted}"
    );
    let mut late = ws::Client::connect(stack.bridge.addr()).await;
    late.attach(&talker, None).await.expect("attached");
    let (kept, _) = late.wait_terminal(&talker).await;
    let kept_from = after["keptFrom"].as_u64().expect("an offset");
    assert!(kept_from > 0, "{after}");
    assert_eq!(late.gaps(&talker), [(0, kept_from)]);
    assert!(
        kept == without_gaps(&expected, &[(0, kept_from)]),
        "other bytes"
    );
    late.attach(&victim, None).await.expect("attached");
    assert_eq!(late.wait_terminal(&victim).await.0, b"so far");
    health(&http, "/health/ready", 503).await;
    stack.change_disk("free", "freed").await;
    health(&http, "/health/ready", 200).await;
    late.finish().await;
    client.finish().await;
    stack.api.assert_quiet();
    stack.bridge.assert_quiet();
}

/// The execution was `completed` without a warning, and its conversation could not
/// be continued.
#[tokio::test]
async fn a_full_disk_of_the_clis_home_is_reported_by_ready_and_by_the_execution() {
    let stack = Full::start_on("home/.claude").await;
    let http = Http::new(stack.api.addr());
    health(&http, "/health/ready", 200).await;
    let warned = |end: &serde_json::Value| {
        let warnings = end["warnings"].as_array().expect("warnings").iter();
        let codes = warnings.map(|warning| warning["code"].clone());
        codes.filter(|code| code == "transcript_missing").count()
    };
    let run = async |prompt: &str| {
        let id = id();
        accept(&http, &id, prompt, json!({})).await;
        let end = ended(&http, &id).await;
        assert_eq!(end["state"], "completed", "{end}");
        end
    };
    assert_eq!(warned(&run("@say with room").await), 0);
    stack.change_disk("fill", "full").await;
    let end = run("@say without").await;
    assert_eq!(warned(&end), 1, "{end}");
    let page = health(&http, "/health/ready", 503).await;
    let no_room = reason(&page, "no-room");
    assert!(
        no_room["message"].to_string().contains("home/.claude"),
        "{no_room}"
    );
    stack.change_disk("free", "freed").await;
    health(&http, "/health/ready", 200).await;
    assert_eq!(warned(&run("@say again").await), 0);
    stack.api.assert_quiet();
}
