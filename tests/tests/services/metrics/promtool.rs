//! Pages of both services, read by Prometheus's own checker: `promtool check metrics`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use cc_tests::exposition::Format;
use cc_tests::harness::Stack;
use cc_tests::http::Http;
use reqwest::{Method, header};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{executions, until};
use crate::support::{id, path, send};

/// Returns the path of the promtool that `scripts/lib/promtool` finds or prepares.
fn promtool() -> PathBuf {
    static PROMTOOL: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/lib/promtool");
        let output = std::process::Command::new(script).output();
        let output = output.expect("scripts/lib/promtool starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "no promtool: {errors}");
        let path = String::from_utf8(output.stdout).expect("a path");
        path.trim().into()
    };
    PROMTOOL.get_or_init(find).clone()
}

/// Runs `promtool check metrics` on a page; returns its exit code and what it printed.
async fn check(page: &str) -> (Option<i32>, String) {
    let mut child = Command::new(promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("promtool starts");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin
        .write_all(page.as_bytes())
        .await
        .expect("promtool reads");
    drop(stdin);
    let output = child.wait_with_output().await.expect("promtool ends");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    (output.status.code(), printed)
}

/// Asserts that promtool reports nothing about the page of a service.
async fn assert_clean(addr: SocketAddr, when: &str) {
    // This command reads the text format only.
    let request = Http::new(addr).request(Method::GET, "/metrics");
    let request = request.header(header::ACCEPT, Format::Text.content_type());
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    let page = response.text().await.expect("a page");
    assert!(page.lines().count() > 60, "{when}: {page}");
    let (code, printed) = check(&page).await;
    assert_eq!((code, printed.as_str()), (Some(0), ""), "{when}\n{page}");
}

#[tokio::test]
async fn promtool_accepts_the_pages_of_both_services_fresh_busy_and_after_each_end() {
    let stack = Stack::with(executions::options()).await;
    let (api, bridge) = (stack.api.addr(), stack.bridge.addr());
    for addr in [api, bridge] {
        assert_clean(addr, "fresh").await;
    }
    let mut client = stack.client().await;
    executions::run_each_end(&stack, &mut client).await;
    send(&stack.http(), Method::GET, &path(&id(), ""), "").await;
    let unknown = json!({"executionId": id()});
    client
        .call("status", unknown)
        .await
        .expect_err("there is none");
    let running = client.start("@say x\n@tool 60").await;
    client.wait_output(&running, 1).await;
    let queued = client.start("@say x").await;
    until(api, "claude_api_executions", &[("state", "queued")], 1.0).await;
    for addr in [api, bridge] {
        assert_clean(addr, "busy").await;
    }
    for id in [&queued, &running] {
        client.control("CANCEL", Some(id)).await.expect("accepted");
        client.wait_terminal(id).await;
    }
    client.finish().await;
    for addr in [api, bridge] {
        assert_clean(addr, "at rest").await;
    }
    stack.assert_no_zombies();
}

#[tokio::test]
async fn promtool_is_run_and_names_a_fault() {
    let good = "# HELP a_total All of it.\n# TYPE a_total counter\na_total 1\n";
    assert_eq!(check(good).await, (Some(0), String::new()));
    let (code, printed) = check(&good.replace("a_total", "a_milliseconds")).await;
    assert_eq!(code, Some(3), "{printed}");
    assert!(printed.contains("a_milliseconds"), "{printed}");
}
