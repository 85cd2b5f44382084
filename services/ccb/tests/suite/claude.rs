//! Tests of the `ccb-claude` process: the relay of both streams.

mod ends;

use std::process::{Output, Stdio};
use std::time::Duration;

use protocol::rpc::{RpcError, code};
use protocol::{ExecutionId, Status};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::ccb::ID;
use crate::fake::{Fake, Fault, Plan};

/// The output of an execution: a line, and the beginning of a second one.
const OUTPUT: &str = "{\"type\":\"system\"}\n{\"type\":\"result\",\"euro\":\"\u{20ac}\"}\n";
const MESSAGE: &str = "{\"type\":\"user\",\"message\":{}}\n";
const REQUEST: &str =
    "{\"type\":\"control_request\",\"request_id\":\"r1\",\"request\":{\"subtype\":\"x\"}}\n";

/// Returns a command of `ccb-claude` with the arguments of the Agent SDK and these.
fn command(url: &str, args: &[&str]) -> Command {
    #[expect(clippy::disallowed_methods, reason = "a test ends what it starts")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_ccb-claude"));
    command.args(["--output-format", "stream-json", "--verbose"]);
    command.args(["--system-prompt", ""]).args(args);
    command.args(["--input-format", "stream-json"]);
    // Only the listed variables: those of the person who runs the tests have no effect.
    command.env_clear().env("CCB_URL", url);
    command.env("HOME", "/nonexistent");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn plan() -> Plan {
    Plan {
        until_eof: true,
        ..Plan::of(OUTPUT)
    }
}

fn texts(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Runs the command with this stdin to its end.
async fn run_with(mut command: Command, stdin: &str) -> (i32, String, String) {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // The process may end before it has read everything.
    let _ = pipe.write_all(stdin.as_bytes()).await;
    drop(pipe);
    let output = timeout(Duration::from_secs(20), child.wait_with_output());
    texts(output.await.expect("ccb-claude hangs").unwrap())
}

async fn end_of(child: Child) -> (i32, String, String) {
    let output = timeout(Duration::from_secs(10), child.wait_with_output());
    texts(output.await.expect("ccb-claude hangs").unwrap())
}

/// Returns the data of the inputs, joined, and whether the last one ends the input.
fn input(fake: &Fake) -> (String, bool) {
    let inputs = fake.params("input");
    let data = inputs.iter().map(|input| input["data"].as_str().unwrap());
    let eof = inputs.last().is_some_and(|input| input["eof"] == true);
    (data.collect(), eof)
}

#[tokio::test]
async fn both_streams_are_relayed_byte_for_byte() {
    let fake = Fake::start(plan()).await;
    let stdin = format!(
        "{REQUEST}{MESSAGE}\n{MESSAGE}{REQUEST}{}",
        MESSAGE.trim_end()
    );
    let mut command = command(&fake.url(), &["--session-id", ID, "--model", "m"]);
    command.env("CLAUDE_CODE_ENTRYPOINT", "sdk-py");
    command.env("ANTHROPIC_API_KEY", "secret");
    let (exit, out, err) = run_with(command, &stdin).await;
    assert_eq!((exit, out.as_str(), err.as_str()), (0, OUTPUT, ""));
    let expected = format!("{REQUEST}{MESSAGE}{MESSAGE}{REQUEST}{MESSAGE}");
    assert_eq!(input(&fake), (expected, true));
    // A control line is a request by itself, messages share one, and offsets continue.
    let inputs = fake.params("input");
    let data: Vec<_> = inputs.iter().map(|input| &input["data"]).collect();
    let messages = format!("{MESSAGE}{MESSAGE}");
    assert_eq!(data, [REQUEST, &messages, REQUEST, MESSAGE, ""]);
    let request = REQUEST.len() as u64;
    assert_eq!(inputs[0]["offset"], 0);
    assert_eq!(inputs[1]["offset"], request);
    assert!(inputs.iter().all(|input| input["executionId"] == ID));
    let mut body = fake.params("execute")[0].clone();
    let metadata = body["metadata"].as_object_mut().expect("metadata");
    assert!(metadata.remove("start").is_some());
    let expected = json!({
        "executionId": ID,
        "onDisconnect": "cancel",
        "prompt": "",
        "permissionPrompts": "client",
        "input": "stream",
        "format": "events",
        "includePartialMessages": false,
        "workspace": "default",
        "systemPrompt": "",
        "model": "m",
        "metadata": {"client": "ccb-claude"},
        "sdkEnv": {"CLAUDE_CODE_ENTRYPOINT": "sdk-py"},
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&body[name], value, "{name}");
    }
    assert!(!body.to_string().contains("secret"));
}

#[tokio::test]
async fn a_refused_control_request_is_answered_between_two_lines_of_the_output() {
    let refusal = RpcError::new(code::NOT_ALLOWED, "not_allowed", "x is not allowed");
    let begun = OUTPUT.len() - 9;
    let fake = Fake::start(Plan {
        refuse_input: vec![("r1", refusal)],
        output_before_input: Some(begun),
        ..plan()
    })
    .await;
    let mut command = command(&fake.url(), &[]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // The refusal arrives while the second line is not complete.
    let mut out = vec![0; begun];
    let stdout = child.stdout.as_mut().unwrap();
    stdout.read_exact(&mut out).await.unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = format!("{REQUEST}{MESSAGE}");
    stdin.write_all(lines.as_bytes()).await.unwrap();
    drop(stdin);
    let (exit, rest, err) = end_of(child).await;
    assert_eq!((exit, err.as_str()), (0, ""));
    let (end, answer) = rest.split_once('\n').unwrap();
    assert_eq!(
        format!("{}{end}\n", std::str::from_utf8(&out).unwrap()),
        OUTPUT
    );
    let answer: Value = serde_json::from_str(answer).unwrap();
    assert_eq!(
        answer,
        json!({"type": "control_response", "response":
            {"subtype": "error", "request_id": "r1", "error": "x is not allowed"}})
    );
    // The refused line took no bytes.
    let inputs = fake.params("input");
    assert_eq!(inputs[1]["offset"], 0);
    assert_eq!(inputs[1]["data"], MESSAGE);
}

#[tokio::test]
async fn a_refused_control_response_is_a_line_on_stderr() {
    let refusal = RpcError::new(code::INVALID_PARAMS, "invalid_body", "no such request");
    let fake = Fake::start(Plan {
        refuse_input: vec![("control_response", refusal)],
        ..plan()
    })
    .await;
    let response = "{\"type\":\"control_response\",\"response\":{}}\n";
    let command = command(&fake.url(), &[]);
    let (exit, out, err) = run_with(command, &format!("{response}{MESSAGE}")).await;
    assert_eq!((exit, out.as_str()), (0, OUTPUT));
    assert_eq!(
        err,
        "cc-bridge: the service refused a control line: no such request\n"
    );
    assert_eq!(input(&fake).0, format!("{response}{MESSAGE}"));
}

#[tokio::test]
async fn a_refused_message_cancels_the_execution() {
    let refusal = RpcError::new(code::INVALID_PARAMS, "too_large", "too large");
    let fake = Fake::start(Plan {
        refuse_input: vec![("user", refusal)],
        ..plan()
    })
    .await;
    let (exit, _, err) = run_with(command(&fake.url(), &[]), MESSAGE).await;
    assert_eq!(exit, 1);
    assert_eq!(err, "cc-bridge: the service refused a message: too large\n");
    assert_eq!(fake.params("control")[0]["type"], "CANCEL");
}

#[tokio::test]
async fn input_that_the_cli_has_not_read_is_sent_again() {
    let full = RpcError::new(code::UNAVAILABLE, "input_full", "full");
    let starting = RpcError::new(code::WRONG_STATE, "wrong_state", "starting");
    let fake = Fake::start(Plan {
        refuse_input: vec![("user", full), ("user", starting.with("state", "running"))],
        ..plan()
    })
    .await;
    let (exit, out, err) = run_with(command(&fake.url(), &[]), MESSAGE).await;
    assert_eq!((exit, out.as_str(), err.as_str()), (0, OUTPUT, ""));
    let offsets = fake.params("input");
    assert_eq!(offsets.len(), 4, "{offsets:?}");
    assert!(offsets[..3].iter().all(|input| input["offset"] == 0));
}

#[tokio::test]
async fn input_that_cannot_be_sent_is_an_error() {
    let limits = json!({"messageBytes": 1000});
    let long = format!("{{\"type\":\"user\",\"x\":\"{}\"}}\n", "y".repeat(5000));
    for (stdin, word) in [(long, "1000 bytes"), ("\u{fffd}".to_owned(), "UTF-8")] {
        let fake = Fake::start(Plan {
            limits: limits.clone(),
            ..plan()
        })
        .await;
        let mut child = command(&fake.url(), &[])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        // The bytes of U+FFFD without its first one are not UTF-8.
        let bytes = stdin.as_bytes();
        let bytes = bytes.strip_prefix(b"\xef").unwrap_or(bytes);
        pipe.write_all(bytes).await.unwrap();
        drop(pipe);
        let (exit, _, err) = end_of(child).await;
        assert_eq!(exit, 1);
        assert!(err.contains(word) && err.lines().count() == 1, "{err}");
        assert_eq!(fake.params("control").len(), 1);
    }
}

#[tokio::test]
async fn a_lost_connection_is_silent_and_loses_nothing() {
    for fault in [
        Fault::Cut(20),
        Fault::Close(20, 1012),
        Fault::CutBeforeAnswer,
    ] {
        let fake = Fake::start(plan().faults(&[fault, Fault::None])).await;
        let (exit, out, err) = run_with(command(&fake.url(), &[]), MESSAGE).await;
        assert_eq!(
            (exit, out.as_str(), err.as_str()),
            (0, OUTPUT, ""),
            "{fault:?}"
        );
        let (data, eof) = input(&fake);
        assert!(data.ends_with(MESSAGE) && eof, "{data}");
        // Each session gets the policy to cancel.
        let executes = fake.params("execute");
        assert_eq!(executes.len(), 2);
        assert_eq!(executes[0], executes[1]);
    }
}

#[tokio::test]
async fn lost_output_is_an_error() {
    let plan = Plan {
        kept_from: 30,
        ..plan()
    };
    let plan = plan.faults(&[Fault::Cut(20), Fault::None]);
    let fake = Fake::start(plan).await;
    let mut command = command(&fake.url(), &[]);
    command.env("CCB_KEEP", "1");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let _stdin = child.stdin.take();
    let (exit, _, err) = end_of(child).await;
    assert_eq!(exit, 1);
    assert!(err.contains("is lost") && err.lines().count() == 1, "{err}");
    assert_eq!(fake.params("execute")[0]["onDisconnect"], "continue");
}

#[tokio::test]
async fn continue_means_the_newest_conversation_of_the_workspace() {
    let folder = tempfile::tempdir().unwrap();
    let status = |workspace: &str, conversation: Option<&str>| {
        let created = "2026-01-02T03:04:05Z".parse().unwrap();
        let mut status = Status::queued(ExecutionId::random(), created, workspace.into());
        status.conversation = conversation.map(str::to_owned);
        status
    };
    let other = "11111111-1111-4111-8111-111111111111";
    for (workspace, expected) in [("shop", Some(ID)), ("empty", None)] {
        let fake = Fake::start(Plan {
            listed: Some(vec![
                status("default", Some(other)),
                status("shop", None),
                status("shop", Some(ID)),
                status("shop", Some(other)),
            ]),
            ..plan()
        })
        .await;
        let mut command = command(&fake.url(), &["--continue", "--fork-session"]);
        let map = format!("{}={workspace}", folder.path().display());
        command.env("CCB_MAP", map).current_dir(folder.path());
        let (exit, _, err) = run_with(command, "").await;
        let executes = fake.params("execute");
        match expected {
            Some(conversation) => {
                assert_eq!((exit, err.as_str()), (0, ""));
                assert_eq!(executes[0]["conversation"], conversation);
                assert_eq!(executes[0]["workspace"], "shop");
            }
            None => {
                assert_eq!(exit, 1);
                assert!(err.contains("no conversation"), "{err}");
                assert!(executes.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn a_long_loss_of_the_connection_and_its_end_are_said() {
    // With jitter, the seven delays between the attempts are 5.6 to 14.5 s together.
    let mut faults = vec![Fault::Cut(20)];
    faults.extend([Fault::Refuse; 6]);
    faults.push(Fault::None);
    let fake = Fake::start(plan().faults(&faults)).await;
    let (exit, out, err) = run_with(command(&fake.url(), &[]), MESSAGE).await;
    assert_eq!((exit, out.as_str()), (0, OUTPUT));
    let lines: Vec<_> = err.lines().collect();
    assert_eq!(lines.len(), 2, "{err}");
    assert!(
        lines[0].starts_with("cc-bridge: lost the connection"),
        "{err}"
    );
    assert_eq!(lines[1], "cc-bridge: reconnected to the bridge");
}
