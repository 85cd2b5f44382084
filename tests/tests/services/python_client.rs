//! The Python client (`clients/python`) against the real services, from a wheel in an environment
//! of its own with the oldest `websockets` that it supports.

mod environment;
mod questions;

use std::sync::Arc;
use std::time::Duration;

use cc_tests::faults::{Cut, Faults, Pipe};
use cc_tests::harness::{Stack, StackOptions, Tokens};
use cc_tests::hex;
use rand::Rng;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::support::until;
use environment::{Environment, Script};

/// The fewest cuts of the connection in the test with 50 MB.
const CUTS: u64 = 200;
/// Bytes of one connection before its cut: the mean is 50 MB / 250.
const UNCUT_BYTES: std::ops::Range<u64> = 100_000..300_000;
/// Executions that start through connections which are cut early.
const EXECUTES: usize = 30;
/// The fewest cuts of them.
const EARLY_CUTS: u64 = 20;
/// Bytes of one connection before its cut: from the first part of the greeting to the end of the
/// execution.
const EARLY_BYTES: std::ops::Range<u64> = 100..4_000;

/// A task that cuts each connection of the clients after a random count of bytes from the bridge.
/// It ends when it is dropped.
struct Cutter(JoinHandle<()>);

impl Cutter {
    /// Starts to change the faults of the front proxy all the time.
    fn start(stack: &Arc<Stack>, bytes: std::ops::Range<u64>) -> Self {
        let stack = Arc::clone(stack);
        Self(tokio::spawn(async move {
            loop {
                let down = Pipe {
                    cut_after: Some(rand::rng().random_range(bytes.clone())),
                    cut: if rand::rng().random() {
                        Cut::Reset
                    } else {
                        Cut::Close
                    },
                    ..Pipe::default()
                };
                stack.front.as_ref().expect("a proxy").set(Faults {
                    down,
                    ..Faults::default()
                });
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }))
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn proxied() -> Arc<Stack> {
    let options = StackOptions {
        proxy_clients: true,
        ..StackOptions::default()
    };
    Arc::new(Stack::with(options).await)
}

fn url(stack: &Stack) -> String {
    format!("ws://{}/ws", stack.ws_addr())
}

#[tokio::test]
async fn python_client_is_clean_for_ruff_and_mypy() {
    let environment = Environment::get().await;
    environment.tool(&["ruff", "check", "--no-cache"]).await;
    environment
        .tool(&["ruff", "format", "--check", "--no-cache"])
        .await;
    environment.tool(&["mypy", "--cache-dir=/dev/null"]).await;
}

#[tokio::test]
async fn python_client_passes_its_own_tests_with_the_oldest_and_the_newest_websockets() {
    let environment = Environment::get().await;
    let arguments = ["-X", "dev", "-W", "error", "-m", "unittest", "discover"];
    let arguments = [&arguments[..], &["-s", "tests"]].concat();
    let installed = environment.installed(&arguments).output().await;
    assert!(installed.errors.contains("\nOK\n"), "{}", installed.errors);
    let newest = environment.with_sources(&arguments).output().await;
    assert!(newest.errors.contains("\nOK\n"), "{}", newest.errors);
}

#[tokio::test]
async fn python_client_makes_every_request_of_the_protocol() {
    let tokens = Tokens::default().with("ann", "control", &["principal = \"team-a\""]);
    let token = tokens.secret("ann").to_owned();
    let stack = Stack::with(StackOptions::default().tokens(tokens)).await;
    let environment = Environment::get().await;
    let output = environment
        .installed(&["-X", "dev", "-W", "error", "-m", "unittest", "-v"])
        .argument("e2e/test_services.py")
        .variable("CCB_TEST_URL", &url(&stack))
        .variable("CCB_TEST_API", &stack.api.url(""))
        .variable("CCB_TOKEN", &token)
        .output()
        .await;
    assert!(output.errors.contains("\nOK\n"), "{}", output.errors);
    assert!(!format!("{output:?}").contains(&token));
    stack.assert_quiet();
}

#[tokio::test]
async fn programs_of_the_page_about_python_run() {
    // One program asks for Bash.
    let stack = Stack::with(StackOptions::default().api("--allowed-tools=Bash")).await;
    let environment = Environment::get().await;
    let output = environment
        .installed(&["e2e/examples.py", "../../docs/python.md", &url(&stack)])
        .output()
        .await;
    assert!(output.printed.ends_with(" programs\n"), "{output:?}");
}

#[tokio::test]
async fn python_client_receives_50_megabytes_exactly_through_200_cuts() {
    let stack = proxied().await;
    let _cutter = Cutter::start(&stack, UNCUT_BYTES);
    let environment = Environment::get().await;
    let output = environment
        .installed(&["e2e/cuts.py", &url(&stack), "@megabytes 50"])
        .output()
        .await;
    let (id, result) = output.printed.split_once('\n').expect("the id, the result");
    let result: Value = serde_json::from_str(result).expect("a result");
    let cuts = stack.front.as_ref().expect("a proxy").cuts();
    assert!(cuts >= CUTS, "only {cuts} cuts");
    let expected = stack.http().output(id, 0).await.expect("the output");
    assert!(expected.bytes.len() >= 50_000_000);
    let sha256 = ring::digest::digest(&ring::digest::SHA256, &expected.bytes);
    assert_eq!(result["sha256"], hex(sha256.as_ref()));
    assert_eq!(result["bytes"], expected.bytes.len());
    assert_eq!(result["check"], "verified", "{result}");
    assert_eq!(result["gaps"], 0);
    assert_ne!(result["reconnects"], 0);
    assert_eq!(stack.spawns(id), 1);
}

#[tokio::test]
async fn python_client_runs_each_prompt_once_although_its_answers_are_cut() {
    let stack = proxied().await;
    let _cutter = Cutter::start(&stack, EARLY_BYTES);
    let environment = Environment::get().await;
    let output = environment
        .installed(&["e2e/executes.py", &url(&stack), &EXECUTES.to_string()])
        .output()
        .await;
    let ids: Vec<_> = output.printed.lines().collect();
    assert_eq!(ids.len(), EXECUTES);
    for id in ids {
        assert_eq!(stack.spawns(id), 1, "{id}");
    }
    let cuts = stack.front.as_ref().expect("a proxy").cuts();
    assert!(cuts >= EARLY_CUTS, "only {cuts} cuts");
}

/// Starts an execution that waits for a file, with the script that views it.
async fn waiting(stack: &Stack, script: &str, rest: &str) -> (Script, String, std::path::PathBuf) {
    let file = stack.path("go");
    let prompt = format!("@say begun\n@wait {}\n{rest}", file.display());
    let environment = Environment::get().await;
    let mut script = environment.installed(&[script, &url(stack), &prompt]);
    let id = script.line().await;
    until(&stack.http(), &id, "begun", |status| {
        status["outputBytes"] == 5
    })
    .await;
    (script, id, file)
}

#[tokio::test]
async fn python_client_survives_kills_of_the_bridge_and_of_its_connection_to_claude_api() {
    let mut stack = Stack::with(StackOptions::default().proxies()).await;
    let (script, id, file) = waiting(&stack, "e2e/cuts.py", "@say  ended").await;
    stack.crash_bridges().await;
    stack.middle.as_ref().expect("a proxy").cut_now(Cut::Reset);
    stack.crash_bridges().await;
    std::fs::write(file, "").expect("the file");
    let result: Value = serde_json::from_str(&script.output().await.printed).expect("a result");
    assert_eq!(result["check"], "verified", "{result}");
    assert_ne!(result["reconnects"], 0, "{result}");
    assert_eq!(stack.spawns(&id), 1);
}

#[tokio::test]
async fn python_client_sends_its_cancel_policy_to_each_session() {
    let mut options = StackOptions::default().bridge("--disconnect-grace-ms=300");
    options.proxy_clients = true;
    let stack = Stack::with(options).await;
    let (mut script, id, _) = waiting(&stack, "e2e/policy.py", "@say ended").await;
    stack.front.as_ref().expect("a proxy").cut_now(Cut::Reset);
    assert_eq!(script.line().await, "reconnected");
    // Longer than the grace after the first session: the new session views the execution.
    tokio::time::sleep(Duration::from_millis(800)).await;
    let status = stack.http().status(&id).await.expect("a status");
    assert_eq!(status["state"], "running", "{status}");
    // The client dies. Only the new session can have the policy now.
    script.write("die\n").await;
    // Polled: a stream of statuses would be a viewer, and withdraw the cancel.
    until(&stack.http(), &id, "cancelled", |status| {
        status["state"] == "cancelled"
    })
    .await;
}
