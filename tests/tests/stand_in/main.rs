//! The stand-in CLI alone: the behaviour that the services' tests rely on.

mod control;

use std::{
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use cc_tests::harness::{eventually, processes};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// Ends the processes that a test leaves behind, also when it fails.
struct Sweep(String);

impl Drop for Sweep {
    fn drop(&mut self) {
        for process in processes::marked(&self.0) {
            if let Some(pid) = rustix::process::Pid::from_raw(process.pid) {
                // A process may end by itself meanwhile.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

fn start(folder: &Path, session: &str, more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_stand-in-claude"))
        .args([
            "-p",
            "--input-format=stream-json",
            "--output-format",
            "stream-json",
            "--verbose",
        ])
        .arg(format!("--session-id={session}"))
        .args(more)
        .env_clear()
        .env("CLAUDE_CONFIG_DIR", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the stand-in starts")
}

/// Writes a prompt to stdin and closes it.
fn send(child: &mut Child, prompt: &str) {
    let message = json!({
        "type": "user",
        "message": {"role": "user", "content": prompt},
        "client_composed": true,
    });
    let mut stdin = child.stdin.take().expect("piped");
    // A stand-in that refuses its arguments may end before it reads.
    if let Err(error) = stdin.write_all(format!("{message}\n").as_bytes()) {
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "{error}");
    }
}

struct Run {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Run {
    fn events(&self) -> Vec<Value> {
        self.stdout
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }

    fn text(&self) -> String {
        let events = self.events();
        events
            .iter()
            .filter_map(|event| event["event"]["delta"]["text"].as_str())
            .collect()
    }

    fn result(&self) -> Value {
        self.events()
            .into_iter()
            .rev()
            .find(|event| event["type"] == "result")
            .unwrap_or_default()
    }
}

fn run_in(folder: &Path, session: &str, prompt: &str) -> Run {
    let mut child = start(folder, session, &[]);
    send(&mut child, prompt);
    let output = child.wait_with_output().expect("it ran");
    Run {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: output.stderr,
    }
}

fn run(prompt: &str) -> Run {
    let folder = tempfile::tempdir().expect("a folder");
    run_in(folder.path(), &uuid::Uuid::new_v4().to_string(), prompt)
}

#[test]
fn events_have_the_order_of_the_real_cli() {
    let run = run("@think 0.01\n@say hello there\n@tool 0.01\n@say done");
    let kinds: Vec<String> = run
        .events()
        .iter()
        .map(|event| {
            let inner = &event["event"]["type"];
            if inner.is_string() {
                inner
            } else {
                &event["type"]
            }
            .as_str()
            .unwrap_or_default()
            .to_owned()
        })
        .collect();
    let block = |deltas: usize| {
        let middle = std::iter::repeat_n("content_block_delta", deltas);
        std::iter::once("content_block_start")
            .chain(middle)
            .chain(["assistant", "content_block_stop"])
    };
    let expected: Vec<&str> = ["system", "system", "message_start"]
        .into_iter()
        .chain(block(3))
        .chain(block(2))
        .chain(block(1))
        .chain([
            "message_delta",
            "message_stop",
            "user",
            "system",
            "message_start",
        ])
        .chain(block(1))
        .chain(["message_delta", "message_stop", "result"])
        .collect();
    assert_eq!(kinds, expected);
    assert_eq!(
        (run.code, run.text().as_str()),
        (Some(0), "hello theredone")
    );
    assert_eq!(
        (&run.result()["result"], &run.result()["is_error"]),
        (&json!("done"), &json!(false))
    );
}

#[test]
fn a_session_can_be_resumed_and_each_start_is_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(run_in(folder.path(), "abc", "first").code, Some(0));
    let repeated = run_in(folder.path(), "abc", "again");
    assert_eq!(repeated.code, Some(1));
    assert!(String::from_utf8_lossy(&repeated.stderr).contains("already in use"));
    let resume = |session: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stand-in-claude"))
            .args([
                "-p",
                "--input-format=stream-json",
                &format!("--resume={session}"),
            ])
            .env("CLAUDE_CONFIG_DIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        send(&mut child, "@recall");
        let output = child.wait_with_output().expect("it ran");
        Run {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: output.stderr,
        }
    };
    assert_eq!(resume("abc").text(), "turns=1 first=first");
    let unknown = resume("xyz");
    assert_eq!((unknown.code, unknown.events().len()), (Some(1), 1));
    assert_eq!(unknown.result()["subtype"], "error_during_execution");
    let spawns = std::fs::read_to_string(folder.path().join("spawns.log")).expect("the log");
    assert_eq!(
        spawns.lines().filter(|line| line.ends_with(" abc")).count(),
        3
    );
}

#[test]
fn volume_is_fast_and_its_lines_are_numbered() {
    let begin = Instant::now();
    let run = run("@megabytes 50");
    let text = run.text();
    assert!(text.len() >= 50_000_000, "{}", text.len());
    for (index, line) in text.lines().enumerate() {
        assert!(
            line.starts_with(&format!("{:012} x", index + 1)),
            "{}",
            &line[..20]
        );
    }
    // A generous bound: the stand-in writes 300 MB/s on an idle machine.
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
}

#[test]
fn directives_decide_the_exit_code_and_the_result() {
    for (prompt, code, error, status) in [
        ("@say x\n@exit 3", Some(3), json!(false), json!(null)),
        ("@say x\n@result 429", Some(1), json!(true), json!(429)),
        (
            "@say x\n@result 401\n@exit 0",
            Some(0),
            json!(true),
            json!(401),
        ),
        (
            "@say x\n@result max-turns",
            Some(1),
            json!(true),
            json!(null),
        ),
        ("@say x\n@result none", Some(0), json!(null), json!(null)),
        ("@say x\n@signal 9", None, json!(false), json!(null)),
    ] {
        let run = run(prompt);
        let result = run.result();
        assert_eq!(
            (run.code, &result["is_error"], &result["api_error_status"]),
            (code, &error, &status),
            "{prompt}"
        );
    }
    assert_eq!(
        run("@results 3")
            .events()
            .iter()
            .filter(|event| event["type"] == "result")
            .count(),
        3
    );
    assert_eq!(run("  \n").code, Some(1));
}

#[test]
fn directives_write_odd_lines() {
    let noisy = run("@garbage 6\n@say x");
    let lines: Vec<&[u8]> = noisy.stdout.split(|byte| *byte == b'\n').collect();
    assert!(lines.iter().any(|line| *line == b"\xff\xfe\xfd"));
    assert!(run("@no-final-newline").stdout.ends_with(b"}"));
    assert!(run("@crlf").stdout.ends_with(b"}\r\n"));
    let surrogates = run("@surrogates").stdout;
    assert!(String::from_utf8_lossy(&surrogates).contains(r#""one \ud83d""#));
    assert!(
        run("@invalid-utf8")
            .stdout
            .windows(2)
            .any(|two| two == b"\xff\xff")
    );
    assert_eq!(
        run("@split\n@say \u{1F600}\u{e9}").text(),
        "\u{1F600}\u{e9}"
    );
    assert!(
        run("@restart same")
            .events()
            .iter()
            .any(|event| event.get("abandoned_blocks").is_some())
    );
}

/// Found by the soak (seed 904417): a result that was cut in the middle of an escape was no JSON.
#[test]
fn the_result_of_a_long_text_is_a_prefix_of_the_text_wherever_its_escapes_are() {
    // Lines of 20 bytes, 21 when escaped: the limit of one of the texts is inside an escape.
    for padding in 1..=21 {
        let run = run(&format!("@say {}\n@volume 4000 20", "a".repeat(padding)));
        let result = run.events().pop().expect("a last event");
        assert_eq!(result["type"], "result", "{padding}");
        let text = result["result"].as_str().expect("a text");
        assert!(
            text.len() > 60_000 && run.text().starts_with(text),
            "{padding}"
        );
    }
}

#[test]
fn stderr_has_the_requested_length() {
    let run = run("@stderr 2000000");
    assert_eq!(run.stderr.len(), 2_000_000);
    assert_eq!(
        run.stderr.iter().position(|byte| *byte == b'\n'),
        Some(999_999)
    );
}

#[test]
fn directives_print_the_digest_of_the_prompt_the_arguments_and_the_environment() {
    let prompt = format!("@echo-digest\n{}", "x".repeat(4 << 20));
    let digest = ring::digest::digest(&ring::digest::SHA256, prompt.as_bytes());
    let expected = format!(
        "bytes={} sha256={}",
        prompt.len(),
        cc_tests::hex(digest.as_ref())
    );
    assert_eq!(run(&prompt).text(), expected);
    assert!(run("@argv").text().contains("--input-format=stream-json"));
    assert!(run("@env").text().contains("CLAUDE_CONFIG_DIR"));
}

#[tokio::test]
async fn remaining_processes_are_marked_and_term_ends_the_stand_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let counter = folder.path().join("counter");
    let session = uuid::Uuid::new_v4().to_string();
    let sweep = Sweep(session.clone());
    let mut child = start(folder.path(), &session, &[]);
    send(
        &mut child,
        &format!("@daemon {}\n@tree 6\n@silence 60", counter.display()),
    );
    // The stand-in, the daemon (its parent has ended), six processes of the tree.
    eventually("all processes", PATIENCE, || {
        (processes::marked(&session).len() == 8).then_some(())
    })
    .await;
    eventually("the counter", PATIENCE, || {
        std::fs::read_to_string(&counter)
            .ok()
            .filter(|text| text.len() == 10)
    })
    .await;
    let daemon = processes::marked(&session)
        .into_iter()
        .find(|one| one.arguments.contains("__role daemon"));
    let daemon = daemon.expect("the daemon");
    assert_eq!(
        std::fs::read(format!("/proc/{}/environ", daemon.pid)).expect("its environment"),
        b""
    );
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
    assert_eq!(child.wait().expect("it ends").code(), Some(143));
    drop(sweep);
    processes::assert_none_marked(&session, PATIENCE).await;
}

#[test]
fn a_grandchild_can_hold_stdout() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = start(folder.path(), "holder", &[]);
    send(&mut child, "@hold-stdout 1");
    let mut stdout = child.stdout.take().expect("piped");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let ended = Instant::now();
    stdout.read_to_end(&mut Vec::new()).expect("reads");
    assert!(
        ended.elapsed() > Duration::from_millis(500),
        "{:?}",
        ended.elapsed()
    );
}

#[test]
fn term_can_be_ignored() {
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("mark");
    let mut child = start(folder.path(), "deaf", &[]);
    send(
        &mut child,
        &format!(
            "@ignore-term\n@touch {}\n@silence 1\n@say still here",
            mark.display()
        ),
    );
    let end = Instant::now() + PATIENCE;
    while !mark.exists() {
        assert!(Instant::now() < end, "the stand-in never reached @touch");
        std::thread::yield_now();
    }
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
    let output = child.wait_with_output().expect("it ran");
    let run = Run {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: output.stderr,
    };
    assert_eq!((run.code, run.text().as_str()), (Some(0), "still here"));
}
