//! Requests that schemathesis generates from the OpenAPI document, well formed and malformed. It
//! compares each answer with the document.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use cc_tests::harness::{Stack, StackOptions, Tokens};
use tokio::process::Command;

/// The time limit of one run, which takes 30 s on a busy machine.
const LIMIT: Duration = Duration::from_secs(400);
/// The seed of all choices, so that each run sends the same requests.
const SEED: &str = "1";
/// The most generated requests of one operation and phase.
const EXAMPLES: &str = "8";

/// The fewest requests of one run; there are about 1,150.
const LEAST_CASES: u32 = 500;

/// Returns the path of the schemathesis that `scripts/lib/schemathesis` prepares.
fn schemathesis() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/lib/schemathesis");
        let output = std::process::Command::new(script).output();
        let output = output.expect("scripts/lib/schemathesis starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "no schemathesis: {errors}");
        let path = String::from_utf8(output.stdout).expect("a path");
        PathBuf::from(path.trim())
    });
    path.clone()
}

/// Runs schemathesis against the claude-api of a stack, with these further arguments.
///
/// # Panics
/// If it finds a difference, or does not end in time.
async fn run(stack: &Stack, arguments: &[String]) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/schemathesis/config.toml");
    let run = Command::new(schemathesis())
        .args(["--no-color", "--config-file", config, "run"])
        .arg(stack.api.url("/openapi.json"))
        .args(["--seed", SEED, "--max-examples", EXAMPLES])
        .args(arguments)
        .env("SCHEMATHESIS_HOOKS", "lines")
        // The folder of the sources gets no compiled file.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env(
            "PYTHONPATH",
            concat!(env!("CARGO_MANIFEST_DIR"), "/schemathesis"),
        )
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, run).await;
    let output = output.expect("schemathesis ends").expect("it starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{errors}");
    // A run that tests nothing succeeds too.
    let (before, _) = printed.split_once(" generated, ").expect("a summary");
    let count = before.split_whitespace().last();
    let count: u32 = count.expect("a count").parse().expect("a number");
    assert!(count >= LEAST_CASES, "{count} cases: {printed}");
}

/// The options of a stack whose executions end soon, whatever their bodies ask for.
fn options() -> StackOptions {
    StackOptions::default()
        .one_bridge()
        .api("--idle-timeout-ms=1000")
        .api("--stalled-ms=1000")
        .api("--running-executions=32")
}

#[tokio::test]
async fn schemathesis_finds_nothing_without_tokens() {
    let stack = Stack::with(options()).await;
    run(&stack, &[]).await;
    stack.assert_quiet();
}

#[tokio::test]
async fn schemathesis_finds_nothing_with_tokens() {
    let tokens = Tokens::default().with("ci", "admin", &[]);
    let header = format!("Authorization: Bearer {}", tokens.secret("ci"));
    let stack = Stack::with(options().tokens(tokens)).await;
    run(&stack, &["--header".to_owned(), header]).await;
    stack.assert_quiet();
}
