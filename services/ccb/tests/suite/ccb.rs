//! Tests of the `ccb` process: exit codes, signals, stdin and stdout.

use std::process::{Output, Stdio};
use std::time::Duration;

use protocol::State;
use protocol::rpc::{RpcError, code};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::fake::{Fake, Fault, Plan, unused_address};

const TEXT: &str = "Hello, \u{20ac}uro!\nThe second line has no newline";
pub(crate) const ID: &str = "018f4e2a-7b3c-7def-8123-456789abcdef";

pub(crate) fn ccb(url: &str, args: &[&str]) -> Command {
    #[expect(clippy::disallowed_methods, reason = "a test ends what it starts")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_ccb"));
    command.args(args).env("CCB_URL", url).env("TZ", "UTC");
    // The settings of the person who runs the tests have no effect.
    command.env("HOME", "/nonexistent");
    for variable in [
        "XDG_CONFIG_HOME",
        "CCB_TOKEN",
        "CCB_TOKEN_FILE",
        "CCB_CA",
        "CCB_WEBHOOK_SECRET",
    ] {
        command.env_remove(variable);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Waits for the end of the command.
pub(crate) async fn output_of(command: &mut Command) -> Output {
    timeout(Duration::from_secs(20), command.output())
        .await
        .expect("ccb hangs")
        .unwrap()
}

/// Returns the exit code, stdout and stderr of `ccb` with these arguments.
pub(crate) async fn run(url: &str, args: &[&str]) -> (i32, String, String) {
    let output = output_of(&mut ccb(url, args)).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

pub(crate) fn plan() -> Plan {
    Plan {
        chunk: 1000,
        ..Plan::of(TEXT)
    }
}

fn kill(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Reads all of [`TEXT`] from stdout.
async fn wait_for_output(child: &mut Child) {
    let mut bytes = vec![0; TEXT.len()];
    let stdout = child.stdout.as_mut().unwrap();
    timeout(Duration::from_secs(10), stdout.read_exact(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(bytes, TEXT.as_bytes());
}

async fn code_of(mut child: Child) -> i32 {
    timeout(Duration::from_secs(10), child.wait())
        .await
        .expect("ccb hangs")
        .unwrap()
        .code()
        .unwrap()
}

#[tokio::test]
async fn exec_prints_exactly_the_output_and_a_summary() {
    let fake = Fake::start(plan()).await;
    let (exit, out, err) = run(
        &fake.url(),
        &["exec", "p", "--id", ID, "--model", "m", "--env", "A=b"],
    )
    .await;
    assert_eq!((exit, out.as_str()), (0, TEXT));
    assert!(err.contains("ccb: running\n"), "{err}");
    assert!(
        err.contains("completed in 1.2 s") && err.contains("(verified)") && err.contains(ID),
        "{err}"
    );
    let params = &fake.params("execute")[0];
    assert_eq!(
        (
            params["prompt"].as_str(),
            params["model"].as_str(),
            params["env"]["A"].as_str()
        ),
        (Some("p"), Some("m"), Some("b"))
    );
    let (exit, out, err) = run(&fake.url(), &["exec", "-q", "p"]).await;
    assert_eq!((exit, out.as_str(), err.as_str()), (0, TEXT, ""));
}

#[tokio::test]
async fn each_terminal_state_has_its_exit_code() {
    for (state, exit_code, expected) in [
        (State::Failed, Some(3), 3),
        (State::Failed, None, 1),
        (State::TimedOut, None, 124),
        (State::Cancelled, None, 130),
        (State::Interrupted, None, 75),
    ] {
        let mut plan = plan();
        plan.end = (state, exit_code, Some("this is what happened"));
        let fake = Fake::start(plan).await;
        let (exit, out, err) = run(&fake.url(), &["exec", "-q", "p"]).await;
        assert_eq!(
            (exit, out.as_str(), err.as_str()),
            (expected, TEXT, "ccb: this is what happened\n")
        );
        assert_eq!(run(&fake.url(), &["attach", "-q", ID]).await.0, expected);
    }
}

#[tokio::test]
async fn a_refusal_or_an_unreachable_bridge_is_one_line_on_stderr() {
    let (exit, _, err) = run(&unused_address().await, &["exec", "p"]).await;
    assert_eq!(exit, 69);
    assert!(
        err.contains("scripts/up") && err.lines().count() == 1,
        "{err}"
    );
    for (number, expected) in [
        (code::QUEUE_FULL, 69),
        (code::UNAVAILABLE, 69),
        (code::NOT_ALLOWED, 77),
        (code::INVALID_PARAMS, 64),
        (code::ID_IN_USE, 1),
    ] {
        let mut plan = plan();
        plan.refuse =
            Some(RpcError::new(number, "r", "said \x1b[2Jthe bridge").with("accepted", false));
        let fake = Fake::start(plan).await;
        let (exit, _, err) = run(&fake.url(), &["exec", "p"]).await;
        assert_eq!(exit, expected, "{err}");
        assert!(
            err.contains("the bridge") && !err.contains('\x1b') && err.lines().count() == 1,
            "{err}"
        );
    }
}

#[tokio::test]
async fn wrong_usage_exits_with_64_and_help_with_0() {
    for args in [
        &[][..],
        &["exec", "--modle", "x", "p"],
        &["exec", "  \n"],
        &["exec", "p", "--workspace", "../x"],
        &["exec", "p", "--env", "PATH=x"],
        &["exec", "p", "--id", "7"],
        &["exec", "p", "--deadline", "soon"],
        &["exec", "p", "--detach", "--on-disconnect", "cancel"],
        &["attach"],
        &["list", "--limit", "0"],
        &["status", "--url", "ftp://host/ws"],
        // There is no argument for the token itself.
        &["status", "--token", "ccb_x"],
        &["share", ID, "--expires", "31d"],
        &["token"],
        &["token", "new"],
        &["token", "new", "Bad_Name"],
    ] {
        let (exit, out, err) = run("ws://127.0.0.1:1/ws", args).await;
        assert_eq!((exit, out.as_str()), (64, ""), "{args:?}: {err}");
        assert!(!err.is_empty());
    }
    let (exit, out, _) = run("ws://127.0.0.1:1/ws", &["--help"]).await;
    assert!(
        exit == 0 && out.contains("Examples:") && out.contains("CCB_URL"),
        "{out}"
    );
}

#[tokio::test]
async fn a_prompt_on_stdin_is_sent_unchanged_and_must_be_utf8() {
    let prompt = "--not an option\n\u{1f600} /compact @file \"quoted\"\n".repeat(3000);
    let fake = Fake::start(plan()).await;
    for args in [&["exec", "-q"][..], &["exec", "-q", "-"]] {
        let mut child = ccb(&fake.url(), args)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(prompt.as_bytes()).await.unwrap();
        drop(stdin);
        assert_eq!(code_of(child).await, 0);
    }
    assert!(
        fake.params("execute")
            .iter()
            .all(|p| p["prompt"] == prompt.as_str())
    );
    let mut child = ccb(&fake.url(), &["exec"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"ab\xff")
        .await
        .unwrap();
    assert_eq!(code_of(child).await, 64);
}

#[tokio::test]
async fn stdout_is_complete_despite_disconnects() {
    let mut plan = plan().faults(&[
        Fault::Cut(4),
        Fault::CutBeforeAnswer,
        Fault::Close(4, 1012),
        Fault::None,
    ]);
    plan.output = "a line of text\n".repeat(50).into_bytes();
    plan.chunk = 4;
    let expected = String::from_utf8(plan.output.clone()).unwrap();
    let fake = Fake::start(plan).await;
    let (exit, out, err) = run(&fake.url(), &["exec", "p"]).await;
    assert_eq!((exit, out), (0, expected), "{err}");
    assert!(
        err.contains("reconnecting") && err.contains("(verified)"),
        "{err}"
    );
}

#[tokio::test]
async fn output_with_a_wrong_checksum_is_an_error() {
    let fake = Fake::start(plan().faults(&[Fault::Wrong])).await;
    let (exit, _, err) = run(&fake.url(), &["exec", "-q", "p"]).await;
    assert_eq!(exit, 76);
    assert!(err.contains("crc32") && err.contains("ccb attach"), "{err}");
}

#[tokio::test]
async fn ctrl_c_cancels_and_waits_for_the_terminal_status() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut plan = plan();
        plan.until_cancel = true;
        let mut fake = Fake::start(plan).await;
        let mut child = ccb(&fake.url(), &["exec", "--id", ID, "p"])
            .spawn()
            .unwrap();
        wait_for_output(&mut child).await;
        kill(&child, signal);
        let control = fake.wait_for("control").await;
        assert_eq!(
            (
                control["params"]["type"].as_str(),
                control["params"]["executionId"].as_str()
            ),
            (Some("CANCEL"), Some(ID))
        );
        let output = timeout(Duration::from_secs(10), child.wait_with_output())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(output.status.code(), Some(130));
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(
            err.contains("cancelled"),
            "ccb did not wait for the terminal status: {err}"
        );
    }
}

#[tokio::test]
async fn a_second_ctrl_c_exits_immediately() {
    let mut plan = plan();
    (plan.until_cancel, plan.stubborn) = (true, true);
    let mut fake = Fake::start(plan).await;
    let mut child = ccb(&fake.url(), &["exec", "p"]).spawn().unwrap();
    wait_for_output(&mut child).await;
    kill(&child, Signal::INT);
    fake.wait_for("control").await;
    assert!(
        child.try_wait().unwrap().is_none(),
        "the first Ctrl-C did not wait for the terminal status"
    );
    kill(&child, Signal::INT);
    assert_eq!(code_of(child).await, 130);
}

#[tokio::test]
async fn ctrl_c_in_attach_exits_without_a_cancel() {
    let mut plan = plan();
    plan.until_cancel = true;
    let fake = Fake::start(plan).await;
    let mut child = ccb(&fake.url(), &["attach", ID]).spawn().unwrap();
    wait_for_output(&mut child).await;
    kill(&child, Signal::INT);
    assert_eq!(code_of(child).await, 130);
    assert_eq!(fake.params("control").len(), 0);
}

/// stdout is a full pipe without a reader.
#[tokio::test]
async fn ctrl_c_works_while_stdout_is_full() {
    let mut plan = plan();
    plan.output = vec![b'x'; 4 << 20];
    plan.chunk = 64 * 1024;
    (plan.until_cancel, plan.stubborn) = (true, true);
    let mut fake = Fake::start(plan).await;
    let mut child = ccb(&fake.url(), &["exec", "p"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    // Only the first byte is read, so that the pipe fills.
    timeout(Duration::from_secs(10), stdout.read_exact(&mut [0]))
        .await
        .unwrap()
        .unwrap();
    fake.wait_for("execute").await;
    kill(&child, Signal::INT);
    let err = child.stderr.as_mut().unwrap();
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains("press Ctrl-C again") {
        let read = timeout(Duration::from_secs(10), err.read_buf(&mut text))
            .await
            .unwrap()
            .unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&text));
    }
    kill(&child, Signal::INT);
    assert_eq!(code_of(child).await, 130);
}

#[tokio::test]
async fn a_closed_stdout_detaches_without_an_error() {
    let mut plan = plan();
    plan.output = vec![b'x'; 4 << 20];
    plan.chunk = 64 * 1024;
    plan.until_cancel = true;
    let mut fake = Fake::start(plan).await;
    let mut child = ccb(&fake.url(), &["exec", "p"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).await.unwrap();
    drop(stdout);
    let output = timeout(Duration::from_secs(10), child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(
        err.contains("ccb attach") && !err.contains("panic"),
        "{err}"
    );
    fake.wait_for("detach").await;
    assert_eq!(fake.params("control").len(), 0);
}

#[tokio::test]
async fn detach_prints_the_id_and_exits() {
    let mut plan = plan();
    plan.until_cancel = true;
    let fake = Fake::start(plan).await;
    let (exit, out, _) = run(&fake.url(), &["exec", "--detach", "p"]).await;
    assert_eq!(exit, 0);
    assert_eq!(
        out.trim_end(),
        fake.params("execute")[0]["executionId"].as_str().unwrap()
    );
}

#[tokio::test]
async fn json_prints_each_message_on_its_own_line() {
    let fake = Fake::start(plan()).await;
    let (exit, out, _) = run(&fake.url(), &["exec", "--json", "p"]).await;
    assert_eq!(exit, 0);
    let messages: Vec<Value> = out
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let kinds: Vec<_> = messages
        .iter()
        .map(|m| m["method"].as_str().unwrap_or("answer"))
        .collect();
    assert_eq!(
        kinds,
        [
            "connected",
            "answer",
            "statusUpdate",
            "output",
            "statusUpdate"
        ]
    );
    assert_eq!(messages[4]["params"]["status"], "COMPLETED");
}

/// The claude-api on the default port may belong to another stack.
#[tokio::test]
async fn doctor_with_a_url_checks_no_claude_api_on_the_default_port() {
    let fake = Fake::start(plan()).await;
    let (_, out, _) = run(
        "ws://127.0.0.1:1/ws",
        &["doctor", "--json", "--url", &fake.url()],
    )
    .await;
    let report: Value = serde_json::from_str(&out).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let api: Vec<_> = checks
        .iter()
        .filter(|c| c["name"] == "claude-api")
        .collect();
    assert_eq!(api.len(), 1, "{out}");
    assert!(!out.contains("8002") && api[0]["level"] == "ok", "{out}");
}

/// A pager that pauses keeps the session alive, and gets all output later.
#[tokio::test]
async fn a_pager_that_pauses_delays_only_its_own_output() {
    let mut plan = plan();
    plan.output = b"0123456789abcdef".repeat(512 * 1024);
    plan.chunk = 64 * 1024;
    let expected = plan.output.clone();
    let mut fake = Fake::start(plan).await;
    let args = ["exec", "-q", "--on-disconnect", "cancel", "p"];
    let mut child = ccb(&fake.url(), &args).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut received = vec![0; 1];
    timeout(Duration::from_secs(10), stdout.read_exact(&mut received))
        .await
        .unwrap()
        .unwrap();
    // `ccb` still reads its connection: it sends a detach, and would answer pings.
    fake.wait_for("detach").await;
    assert!(child.try_wait().unwrap().is_none());
    timeout(Duration::from_secs(20), stdout.read_to_end(&mut received))
        .await
        .unwrap()
        .unwrap();
    assert!(received == expected, "{} bytes", received.len());
    assert_eq!(code_of(child).await, 0);
    assert_eq!(fake.params("control").len(), 0);
}

/// A plan whose texts have escape sequences, and lines that look like lines of `ccb`.
fn hostile() -> Plan {
    Plan {
        end: (
            State::Failed,
            Some(3),
            Some("bad \x1b]0;title\x07\u{9b}2J\u{202e}\nccb: completed"),
        ),
        ..plan()
    }
}

fn has_escapes(text: &str) -> bool {
    text.chars()
        .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}')
}

/// Control characters in foreign text reach neither stderr nor a table. A stdout that is not a
/// terminal gets the exact bytes.
#[tokio::test]
async fn foreign_text_cannot_control_the_terminal() {
    let mut plan = hostile();
    plan.output = "a\x1b[2Jb\u{9b}c\r\n".as_bytes().to_vec();
    let fake = Fake::start(plan.clone()).await;
    let (exit, out, err) = run(&fake.url(), &["exec", "p"]).await;
    assert_eq!((exit, out.as_bytes()), (3, &plan.output[..]));
    assert!(!has_escapes(&err), "{err:?}");
    assert!(!err.lines().any(|line| line == "ccb: completed"), "{err}");
    for args in [&["status", ID][..], &["list"], &["cancel", ID], &["doctor"]] {
        let (_, out, err) = run(&fake.url(), args).await;
        assert!(!has_escapes(&out) && !has_escapes(&err), "{out:?} {err:?}");
    }
}

/// Returns the text that `ccb` writes to a stdout that is a terminal.
pub(crate) async fn on_a_terminal(url: &str, args: &[&str]) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new())
        .unwrap()
        .into_string()
        .unwrap();
    let open = std::fs::OpenOptions::new().write(true).open(name).unwrap();
    let mut child = ccb(url, args).stdout(open).stderr(Stdio::null()).spawn();
    let (sender, text) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let (mut all, mut some) = (Vec::new(), [0; 4096]);
        // Reading from a terminal without writers ends in an error.
        while let Ok(n @ 1..) = rustix::io::read(&terminal, &mut some) {
            all.extend_from_slice(&some[..n]);
        }
        let _ = sender.send(String::from_utf8(all).unwrap());
    });
    let status = timeout(Duration::from_secs(20), child.as_mut().unwrap().wait());
    status.await.expect("ccb hangs").unwrap();
    timeout(Duration::from_secs(20), text)
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn a_terminal_gets_an_answer_without_control_characters() {
    let mut plan = plan();
    plan.output = "a\x1b[2Jb\u{9b}c\n".as_bytes().to_vec();
    let fake = Fake::start(plan).await;
    let shown = on_a_terminal(&fake.url(), &["exec", "-q", "p"]).await;
    // The terminal driver turns each newline into CRLF.
    assert_eq!(shown.replace("\r\n", "\n"), "a\u{fffd}[2Jb\u{fffd}c\n");
    let shown = on_a_terminal(&fake.url(), &["exec", "-q", "--json", "p"]).await;
    let shown = shown.replace("\r\n", "\n");
    assert!(
        !has_escapes(&shown) && shown.contains("\\u009b"),
        "{shown:?}"
    );
}

#[tokio::test]
async fn times_are_shown_in_the_time_zone_of_the_environment() {
    let fake = Fake::start(plan()).await;
    let mut command = ccb(&fake.url(), &["status", ID]);
    let output = output_of(command.env("TZ", "JST-9")).await;
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("2026-01-02 12:04:05 +09:00"), "{out}");
}

#[tokio::test]
async fn attach_begins_at_the_given_offset() {
    let fake = Fake::start(plan()).await;
    let (exit, out, err) = run(&fake.url(), &["attach", ID, "--offset", "5"]).await;
    assert_eq!((exit, out.as_str()), (0, &TEXT[5..]));
    assert!(err.contains("5 B of it not received"), "{err}");
}

#[tokio::test]
async fn queries_print_text_and_json() {
    let fake = Fake::start(plan()).await;
    let url = fake.url();
    let (exit, out, _) = run(&url, &["status", ID]).await;
    assert!(
        exit == 0 && out.contains(ID) && out.contains("2026-01-02 03:04:05"),
        "{out}"
    );
    assert!(run(&url, &["status"]).await.1.contains("completed"));
    let (_, out, _) = run(&url, &["status", ID, "--json"]).await;
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap()["executionId"],
        ID
    );
    let (exit, out, _) = run(&url, &["list", "--limit", "3"]).await;
    assert!(
        exit == 0 && out.starts_with("ID ") && out.lines().count() == 2,
        "{out}"
    );
    let (_, out, _) = run(&url, &["list", "--json"]).await;
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap()["executions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    for (command, kind) in [
        ("pause", "PAUSE"),
        ("resume", "RESUME"),
        ("cancel", "CANCEL"),
    ] {
        let (exit, out, _) = run(&url, &[command, ID]).await;
        assert_eq!((exit, out), (0, format!("running {ID}\n")));
        assert_eq!(fake.params("control").last().unwrap()["type"], kind);
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_written_is_an_error() {
    let fake = Fake::start(plan()).await;
    let list = async |stdout: Stdio| {
        let mut command = ccb(&fake.url(), &["list", "--json"]);
        let child = command.stdout(stdout).stderr(Stdio::piped()).spawn();
        let output = child.unwrap().wait_with_output();
        let output = timeout(Duration::from_secs(20), output).await;
        let output = output.expect("ccb hangs").unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), err)
    };
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let (exit, err) = list(full.unwrap().into()).await;
    assert_eq!(exit, Some(70), "{err}");
    assert!(err.contains("could not write stdout"), "{err}");
    // A reader that closes the pipe early is no error.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(list(writer.into()).await, (Some(0), String::new()));
}

/// Regression: the tip for prompts that begin with `--` did not mention `--`.
#[tokio::test]
async fn the_tip_for_a_prompt_that_begins_with_a_dash_names_the_double_dash() {
    for prompt in ["--json what is it", "--modle x", "--fix the bug", "-fix it"] {
        let (code, stdout, stderr) = run(&unused_address().await, &["exec", prompt]).await;
        assert_eq!((code, stdout.as_str()), (64, ""), "{prompt}");
        assert!(stderr.contains("ccb exec -- "), "{prompt}: {stderr}");
    }
    let (_, _, stderr) = run(&unused_address().await, &["status", "--modle"]).await;
    assert!(!stderr.contains("ccb exec -- "), "{stderr}");
}
