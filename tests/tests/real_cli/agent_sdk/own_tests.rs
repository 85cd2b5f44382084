//! The SDK's own tests, unmodified, through `ccb-claude` and both services.
//!
//! The plugin `tests/agent_sdk/own_tests/through_services.py` moves the tests' stand-ins for the
//! CLI behind the services. The file `refused.txt` beside it names the tests that cannot pass, with
//! the reason.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use cc_tests::harness::{Stack, StackOptions, binary};
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use super::program::python;

const PATIENCE: Duration = Duration::from_secs(500);
/// The fewest tests that must pass with a CLI behind the services.
const PASSED_MIN: usize = 100;
/// The most tests that may be run once more.
const AGAIN_MAX: usize = 5;
/// The folder of the plugin.
const PLUGIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/agent_sdk/own_tests");
/// The files whose tests have a stand-in for the CLI.
const FILES: [&str; 12] = [
    "client",
    "close_cancellation",
    "integration",
    "option_warnings",
    "query",
    "run_end_subprocess",
    "sdk_mcp_integration",
    "session_resume",
    "streaming_client",
    "tool_callbacks",
    "transcript_mirror",
    "verbatim_prompts",
];

/// The result of one test. The plugin says what the numbers count.
#[derive(Debug, Deserialize)]
struct Outcome {
    outcome: String,
    reason: String,
    up: u64,
    down: u64,
    scripts: u64,
    late: u64,
}

impl Outcome {
    /// Returns whether the test passed, and everything that its stand-in for the CLI did passed
    /// through the services.
    fn counts(&self) -> bool {
        let used = self.scripts > 0 || self.up + self.down > 0;
        self.outcome == "passed" && used && self.late == 0
    }
}

/// Returns the names of the tests that cannot pass. The parameters of a test are not named.
fn refused() -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(PLUGIN).join("refused.txt")).expect("the file");
    let lines = text.lines().filter(|line| !line.starts_with(['#', ' ']));
    lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns a stack whose CLI is the launcher of the plugin, in this folder.
async fn stack(folder: &Path) -> Stack {
    let launcher = folder.join("launcher.py");
    std::fs::copy(Path::new(PLUGIN).join("launcher.py"), &launcher).expect("a copy");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&launcher, executable).expect("it becomes executable");
    let options = StackOptions {
        claude_bin: Some(launcher),
        ..StackOptions::default()
    };
    let options = options
        .api("--claude-version=any")
        .api("--permission-ceiling=bypassPermissions")
        .api("--tools-ceiling=*");
    Stack::with(options).await
}

/// Runs tests of the SDK: files, or the names of tests. Returns the result of each test.
async fn pytest(stack: &Stack, folder: &Path, tests: &[String]) -> BTreeMap<String, Outcome> {
    let environment = Path::new(python()).ancestors().nth(2);
    let mut command = Command::new(python());
    command
        .args(["-B", "-m", "pytest", "-p", "through_services"])
        .args(["-p", "no:cacheprovider", "--quiet", "--tb=short"])
        .args(tests)
        .current_dir(environment.expect("a folder").join("sdk"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("PYTHONPATH", PLUGIN)
        .env("CCB_CLAUDE", binary("ccb-claude"))
        .env("CCB_URL", format!("ws://{}/ws", stack.ws_addr()))
        .env("CCB_FOLDER", folder)
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await;
    let output = output.expect("pytest ends in time").expect("pytest starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    let results = std::fs::read(folder.join("results.json"));
    let results = results.unwrap_or_else(|error| panic!("no results: {error}\n{printed}"));
    serde_json::from_slice(&results).expect("results")
}

#[tokio::test]
async fn at_least_100_of_the_sdks_own_tests_pass_through_the_services() {
    let folder = tempfile::tempdir().expect("a folder");
    let stack = stack(folder.path()).await;
    let files = FILES.map(|name| format!("tests/test_{name}.py"));
    let mut results = pytest(&stack, folder.path(), &files).await;

    let refused = refused();
    let is_refused = |name: &str| {
        let name = name.split('[').next().unwrap_or_default();
        refused.iter().any(|refused| refused == name)
    };
    let failed = |results: &BTreeMap<String, Outcome>| -> Vec<String> {
        let failed = results
            .iter()
            .filter(|(_, result)| result.outcome == "failed");
        let names = failed.map(|(name, _)| name.clone());
        names.filter(|name| !is_refused(name)).collect()
    };
    // The tests expect answers of their stand-ins within milliseconds, which a busy machine misses.
    let again = failed(&results);
    if !again.is_empty() {
        println!("once more: {again:?}");
        assert!(again.len() <= AGAIN_MAX, "{results:#?}");
        results.extend(pytest(&stack, folder.path(), &again).await);
    }
    if let Some(name) = failed(&results).first() {
        panic!("{name}: {}", results[name].reason);
    }
    let counted = results.iter().filter(|(name, _)| !is_refused(name));
    let counted = counted.filter(|(_, result)| result.counts()).count();
    println!(
        "{counted} of {} tests passed through the services",
        results.len()
    );
    assert!(counted >= PASSED_MIN, "only {counted} tests");
    stack.assert_quiet();
}
