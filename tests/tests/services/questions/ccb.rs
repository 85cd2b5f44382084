//! `ccb` against both services: `exec --ask`, `questions` and `answer`.

use std::process::{Output, Stdio};

use cc_tests::harness::{self, Stack, binary};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use super::{question, stack};
use crate::support::{PATIENCE, id};

fn ccb(stack: &Stack, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("ccb"));
    command
        .args(arguments)
        .env("CCB_URL", format!("ws://{}/ws", stack.ws_addr()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs `ccb` to its end. Returns the exit code, stdout and stderr.
async fn run(stack: &Stack, arguments: &[&str]) -> (i32, String, String) {
    let output = timeout(PATIENCE, ccb(stack, arguments).output()).await;
    texts(output.expect("ccb ends").expect("ccb starts"))
}

fn texts(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("an exit code");
    (code, text(output.stdout), text(output.stderr))
}

/// The asking `ccb` is killed, another terminal sees the question and answers, and the output is
/// complete. The input is larger than a message may have.
#[tokio::test]
async fn ccb_another_terminal_answers_a_large_question_after_the_asking_one_is_gone() {
    let stack = stack(&[]).await;
    let (execution, http) = (id(), stack.http());
    let command = format!("rm {}", "x".repeat(200 * 1024));
    let prompt = format!("@say before \n@ask Bash {}\n", json!({"command": command}));
    let prompt_file = stack.path("prompt");
    std::fs::write(&prompt_file, prompt).expect("a prompt");
    let mut exec = ccb(&stack, &["exec", "--ask", "--id", &execution]);
    exec.stdin(std::fs::File::open(prompt_file).expect("a prompt"));
    let mut exec = exec.spawn().expect("ccb starts");
    let asked = harness::until("a question", PATIENCE, async || {
        let status = http.status(&execution).await.ok()?;
        let asked = status["questions"][0]["questionId"].as_str()?;
        Some(asked.to_owned())
    })
    .await;
    exec.kill().await.expect("ccb is killed");

    let (code, out, err) = run(&stack, &["questions"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&execution) && out.contains(&asked), "{out}");
    let (code, out, err) = run(&stack, &["questions", &execution, "--json"]).await;
    assert_eq!(code, 0, "{err}");
    let all: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(all[0]["question"]["questionId"], asked);
    assert_eq!(all[0]["question"]["input"]["command"], command);
    let (code, out, err) = run(&stack, &["answer", &execution, &asked, "allow"]).await;
    assert_eq!((code, out), (0, format!("allow {asked}\n")), "{err}");
    let (code, out, err) = run(&stack, &["attach", &execution]).await;
    assert_eq!(code, 0, "{err}");
    let ending = format!("allowed {}\n", json!({"command": command}));
    assert!(
        out.starts_with("before") && out.ends_with(&ending),
        "{} bytes",
        out.len()
    );
    let (code, _, err) = run(&stack, &["answer", &execution, &asked, "deny"]).await;
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("somebody decided: allow"), "{err}");
    let (_, out, err) = run(&stack, &["questions", &execution]).await;
    assert_eq!(out, "", "{err}");
    stack.assert_quiet();
}

#[tokio::test]
async fn ccb_a_choice_is_answered_by_number_and_remembered_rules_are_those_suggested() {
    let stack = stack(&["--permission-ceiling=default"]).await;
    let http = stack.http();
    let choice = json!({"questions": [{"question": "Which?", "options": [{"label": "A"}]}]});
    for (tool, input, options, code, said) in [
        (
            "AskUserQuestion",
            choice,
            &["--choice", "1=A"][..],
            0,
            "\"Which?\":\"A\"",
        ),
        (
            "Bash",
            json!({"command": "ls"}),
            &["--remember", "Bash(ls)"],
            0,
            "allowed",
        ),
        (
            "Bash",
            json!({"command": "ls"}),
            &["--remember", "Bash"],
            64,
            "",
        ),
    ] {
        let execution = id();
        let prompt = format!("@ask {tool} {input}");
        let arguments = ["exec", "--ask", "--detach", "--id", &execution, &prompt];
        let (exit, out, err) = run(&stack, &arguments).await;
        assert_eq!((exit, out), (0, format!("{execution}\n")), "{err}");
        let asked = question(&http, &execution).await;
        let asked = asked["questionId"].as_str().expect("an id");
        let arguments = [&["answer", &execution, asked, "allow"], options].concat();
        let (exit, out, err) = run(&stack, &arguments).await;
        assert_eq!(exit, code, "{options:?}: {out}{err}");
        if code != 0 {
            run(&stack, &["cancel", &execution]).await;
        }
        let (_, out, _) = run(&stack, &["attach", "-q", &execution]).await;
        assert!(out.contains(said), "{options:?}: {out}");
    }
    stack.assert_quiet();
}
