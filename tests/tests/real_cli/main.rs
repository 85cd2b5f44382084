//! The pinned real CLI against the scripted model: the flags and events that the services rely on.
//! The tests in the modules go through both services or through the bridge.
//!
//! Run with `cargo test -p cc-tests --features real-cli --test real_cli`. `CCB_CLAUDE_BIN` names
//! the binary; its default is where `scripts/up --local` puts it. A missing binary fails every
//! test.

mod agent_sdk;
mod client_control;
mod hooks;
mod interrupt;
mod mcp;
mod pause;
mod questions;
mod repository;
mod sandbox;
mod traces;

use std::{path::PathBuf, process::Stdio, time::Duration};

use cc_tests::{hex, model};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpListener, process::Command};

const PATIENCE: Duration = Duration::from_secs(120);

/// Returns the path of the pinned real CLI.
fn claude() -> PathBuf {
    let path = match std::env::var_os("CCB_CLAUDE_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let home = std::env::var_os("HOME").expect("HOME, or CCB_CLAUDE_BIN, must be set");
            PathBuf::from(home).join(".cache/cc-bridge/cli/2.1.329/claude")
        }
    };
    assert!(
        path.exists(),
        "no CLI at {}: set CCB_CLAUDE_BIN, or run scripts/up --local once",
        path.display()
    );
    path
}

/// The result of one run of the CLI.
struct Run {
    code: Option<i32>,
    events: Vec<Value>,
    /// The transcripts that the CLI wrote.
    transcript: String,
}

impl Run {
    fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events
            .iter()
            .filter(move |event| event["type"] == kind)
    }

    fn result(&self) -> &Value {
        self.of_type("result")
            .last()
            .unwrap_or_else(|| panic!("no result: {:#?}", self.events))
    }

    fn deltas(&self) -> Vec<&str> {
        self.of_type("stream_event")
            .filter_map(|event| event["event"]["delta"]["text"].as_str())
            .collect()
    }

    fn subtypes(&self, name: &str) -> usize {
        self.events
            .iter()
            .filter(|event| event["subtype"] == name)
            .count()
    }
}

/// Runs one prompt with a scripted model of its own and more arguments.
async fn run(prompt: &str, config: model::Config, more: &[&str]) -> Run {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    let server = tokio::spawn(model::serve(listener, config, std::future::pending()));
    let folder = tempfile::tempdir().expect("a folder");
    let make = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        path
    };
    let mut child = Command::new(claude())
        .args([
            "-p",
            "--input-format",
            "stream-json",
            "--output-format",
            "stream-json",
            "--include-partial-messages",
        ])
        .args([
            "--verbose",
            "--setting-sources",
            "user",
            "--strict-mcp-config",
            "--permission-mode",
            "dontAsk",
        ])
        .args(more)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", make("home"))
        .env("CLAUDE_CONFIG_DIR", make("home/.claude"))
        .envs([("TMPDIR", make("tmp")), ("CLAUDE_CODE_TMPDIR", make("tmp"))])
        .envs([
            ("ANTHROPIC_BASE_URL", base.as_str()),
            ("ANTHROPIC_API_KEY", "a-key"),
            ("LANG", "C.UTF-8"),
        ])
        .envs(
            [
                "DISABLE_TELEMETRY",
                "DISABLE_AUTOUPDATER",
                "DISABLE_ERROR_REPORTING",
            ]
            .map(|name| (name, "1")),
        )
        .envs([
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            ("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1"),
        ])
        .env("CLAUDE_CODE_MAX_RETRIES", "2")
        .current_dir(make("work"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the CLI starts");
    let message = json!({
        "type": "user", "message": {"role": "user", "content": prompt}, "parent_tool_use_id": null,
        "session_id": "x", "client_composed": true,
    });
    let mut stdin = child.stdin.take().expect("piped");
    let send = async move {
        stdin
            .write_all(format!("{message}\n").as_bytes())
            .await
            .expect("the CLI reads its stdin");
    };
    let ran = async { tokio::join!(send, child.wait_with_output()).1 };
    let output = tokio::time::timeout(PATIENCE, ran)
        .await
        .expect("the CLI ends in time")
        .expect("an output");
    server.abort();
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let events = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    let mut transcript = String::new();
    let projects = std::fs::read_dir(folder.path().join("home/.claude/projects"))
        .into_iter()
        .flatten()
        .flatten();
    for file in projects.flat_map(|project| {
        std::fs::read_dir(project.path())
            .into_iter()
            .flatten()
            .flatten()
    }) {
        transcript.push_str(&std::fs::read_to_string(file.path()).unwrap_or_default());
    }
    Run {
        code: output.status.code(),
        events,
        transcript,
    }
}

/// Runs one prompt with the Bash tool allowed.
async fn run_with_bash(prompt: &str) -> Run {
    run(prompt, model::Config::default(), &["--allowedTools=Bash"]).await
}

#[track_caller]
fn assert_success(run: &Run, result: &str) {
    assert_eq!(run.code, Some(0), "{:#?}", run.events);
    assert_eq!(run.result()["is_error"], false);
    assert_eq!(run.result()["result"], result);
    assert_eq!(run.deltas().concat(), result);
}

#[tokio::test]
async fn s2_a_python_command_is_run_by_the_bash_tool() {
    let prompt = "python3 -c \"print('RESULT:::' + str(24 * 7))\"";
    let run = run_with_bash(prompt).await;
    assert_success(&run, "RESULT:::168");
    let tool = run.of_type("user").next().expect("a tool_result");
    assert_eq!(tool["message"]["content"][0]["content"], "RESULT:::168");
    // S4: the CLI's own transcript has the call and its result.
    assert!(run.transcript.contains("\"tool_use\"") && run.transcript.contains("str(24 * 7)"));
    assert!(run.transcript.contains("RESULT:::168"));
}

#[tokio::test]
async fn s2_plain_code_of_several_lines_is_run() {
    let run = run_with_bash("word = \"it's\"\nfor i in range(3):\n    print(i * 7, word)\n").await;
    assert_success(&run, "0 it's\n7 it's\n14 it's");
}

#[tokio::test]
async fn text_arrives_in_deltas_between_init_and_result() {
    let run = run_with_bash("@think 200\n@tokens 3").await;
    assert_success(&run, "word1 word2 word3 ");
    assert_eq!(run.deltas(), ["word1 ", "word2 ", "word3 "]);
    let init = run.of_type("system").next().expect("init");
    assert_eq!(
        (&init["subtype"], &init["claude_code_version"]),
        (&json!("init"), &json!("2.1.329"))
    );
    let last = run.events.last().expect("events");
    assert_eq!(
        (&last["type"], &last["result_index"]),
        (&json!("result"), &json!(0))
    );
}

#[tokio::test]
async fn f6_a_mebibyte_of_prompt_arrives_byte_for_byte() {
    let prompt = format!(
        "@echo-length\n--not-a-flag /cost @/etc/passwd \u{1F600} {}",
        "x".repeat(1 << 20)
    );
    let digest = ring::digest::digest(&ring::digest::SHA256, prompt.as_bytes());
    let expected = format!("bytes={} sha256={}", prompt.len(), hex(digest.as_ref()));
    assert_success(&run_with_bash(&prompt).await, &expected);
}

#[tokio::test]
async fn a_prompt_that_looks_like_a_command_reaches_the_model_verbatim() {
    for prompt in ["/cost", "--version", "@/etc/passwd"] {
        let run = run_with_bash(prompt).await;
        assert_success(
            &run,
            &format!("A scripted answer to a prompt of {} bytes.", prompt.len()),
        );
    }
}

#[tokio::test]
async fn without_permission_a_tool_is_denied_without_a_question() {
    let run = run("python3 -c 'print(6 * 7)'", model::Config::default(), &[]).await;
    assert_eq!(run.code, Some(0));
    assert_eq!(run.result()["permission_denials"][0]["tool_name"], "Bash");
    assert!(!run.deltas().concat().contains("42"));
}

#[tokio::test]
async fn a_failure_of_the_model_is_retried_with_an_event() {
    let run = run_with_bash("@fail 529 times 1\n@say good").await;
    assert_success(&run, "good");
    assert_eq!(run.subtypes("api_retry"), 1);
}

#[tokio::test]
async fn a_broken_stream_is_abandoned_and_retried_once_without_streaming() {
    let run = run_with_bash("@cut 2 times 9\n@tokens 5").await;
    assert_eq!(run.code, Some(0));
    assert_eq!(run.result()["result"], "word1 word2 word3 word4 word5 ");
    assert!(
        run.of_type("stream_event")
            .any(|event| event.get("abandoned_blocks").is_some())
    );
    let whole = run.of_type("assistant").last().expect("the whole answer");
    assert_eq!(
        whole["message"]["content"][0]["text"],
        "word1 word2 word3 word4 word5 "
    );
}

#[tokio::test]
async fn a_stream_that_breaks_after_a_whole_block_is_resumed() {
    let run = run_with_bash("@say first\n@think 200\n@tokens 4\n@cut 6").await;
    assert_eq!(run.code, Some(0));
    assert!(
        run.of_type("user")
            .any(|event| event["isSynthetic"] == true),
        "{:#?}",
        run.events
    );
    assert_eq!(run.result()["result"], "word1 word2 word3 word4 ");
}

#[tokio::test]
async fn a_usage_limit_ends_the_run_without_a_retry() {
    let run = run_with_bash("@usage-limit 60").await;
    assert_eq!(
        (run.code, &run.result()["api_error_status"]),
        (Some(1), &json!(429))
    );
    assert_eq!(run.subtypes("api_retry"), 0);
    assert_eq!(
        run.of_type("assistant").last().expect("a text")["message"]["model"],
        "<synthetic>"
    );
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_a_good_key_works() {
    let only = |key: &str| model::Config {
        accepted_keys: vec![key.to_owned()],
        ..model::Config::default()
    };
    let refused = run("@say no", only("another"), &[]).await;
    assert_eq!(
        (refused.code, &refused.result()["api_error_status"]),
        (Some(1), &json!(401))
    );
    assert_success(&run("@say yes", only("a-key"), &[]).await, "yes");
}

#[tokio::test]
async fn a_prompt_too_long_for_the_model_is_reported() {
    let run = run_with_bash("@too-long").await;
    assert_eq!(
        (run.code, &run.result()["terminal_reason"]),
        (Some(1), &json!("prompt_too_long"))
    );
}
