//! `ccb exec --ask` in a real terminal, with both services and the stand-in CLI. The tests of `ccb`
//! itself have more cases, with a fake bridge and a pseudo-terminal.

mod tmux;

use cc_tests::harness::{Stack, StackOptions};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ended, id, path, send, until};
use tmux::Tmux;

/// The end of the prompt under a question.
const DECIDE: &str = "s leave open >";
/// Bytes of the command in the test with a large input.
const LARGE: usize = 200 * 1024;

async fn stack() -> Stack {
    Stack::with(StackOptions::default().api("--allowed-tools=Bash")).await
}

/// Starts `ccb exec --ask` in a terminal. Returns it with the id of the execution.
async fn exec(stack: &Stack, prompt: &str) -> (Tmux, String) {
    let execution = id();
    let url = format!("ws://{}/ws", stack.ws_addr());
    let words = format!("exec --ask --id {execution} --url {url} -");
    (Tmux::ccb(&words, prompt).await, execution)
}

fn ask(input: &Value) -> String {
    format!("@say working\n@ask Bash {input}\n@say after")
}

#[tokio::test]
async fn two_open_questions_are_answered_by_keys_and_a_hostile_one_stays_readable() {
    let hostile = "ls \x1b[2J\x1b[H\x1b]0;owned\x07\x1b[?1049h\r\nccb: allowed\u{9b}2J\u{202e}cod";
    let stack = stack().await;
    let inputs = json!([
        {"command": "rm one", "description": "the first"},
        {"command": hostile, "description": hostile},
    ]);
    let (terminal, execution) = exec(&stack, &ask(&inputs)).await;
    terminal.wait_prompt("| rm one", DECIDE).await;
    let title = terminal.title();
    let http = stack.http();
    until(&http, &execution, "two questions", |status| {
        status["questionsOpen"] == 2
    })
    .await;
    terminal.type_line("y");
    let escaped = r"| ls \u001b[2J\u001b[H\u001b]0;owned\u0007\u001b[?1049h\r\nccb: allowed";
    let screen = terminal.wait_prompt(escaped, DECIDE).await;
    // The first question and the output are still there, and nothing poses as a message of ccb.
    let history = terminal.history();
    assert!(history.starts_with("working"), "{history}");
    assert!(history.contains("| rm one"), "{history}");
    let messages = history
        .lines()
        .filter(|row| row.starts_with("ccb: allowed"));
    assert_eq!(messages.count(), 1, "{history}");
    let whole = screen.iter().any(|row| row.contains("asks to use Bash"));
    assert!(whole, "{screen:#?}");
    terminal.type_line("n");
    terminal.wait_prompt("reason for the model", ">").await;
    terminal.type_line("not this");
    assert_eq!(terminal.exit_code().await, 0);
    let history = terminal.history();
    assert!(history.contains("denied not this"), "{history}");
    assert_eq!(terminal.title(), title);
    assert_harmless(&terminal.raw());
    let end = ended(&http, &execution).await;
    assert_eq!(end["state"], "completed", "{end}");
}

/// Asserts that the only escape sequence in the bytes is the one that clears the progress line.
#[track_caller]
fn assert_harmless(raw: &[u8]) {
    let text = String::from_utf8_lossy(raw).replace("\x1b[K", "");
    let is_active = |c: &char| {
        let is_line = matches!(c, '\r' | '\n');
        (c.is_control() && !is_line) || matches!(c, '\u{202a}'..='\u{202e}')
    };
    assert_eq!(text.chars().find(is_active), None, "{text:?}");
}

#[tokio::test]
async fn a_large_input_is_read_page_by_page_also_after_a_resize() {
    let stack = stack().await;
    let command = format!("rm {}", "x".repeat(LARGE));
    let (terminal, execution) = exec(&stack, &ask(&json!({ "command": command }))).await;
    let screen = terminal.wait_prompt("more lines with", DECIDE).await;
    // The whole question is visible, from who asks to the prompt.
    let whole = screen.iter().any(|row| row.contains("asks to use Bash"));
    assert!(whole, "{screen:#?}");
    terminal.resize(40, 20);
    terminal.wait_prompt("more lines with", DECIDE).await;
    terminal.type_line("m");
    let is_narrow = |screen: &[String]| {
        let Some(rest) = screen
            .iter()
            .rposition(|row| row.contains("more lines with"))
        else {
            return false;
        };
        // The first row of a page begins with the name of the program.
        let page = &screen[rest.saturating_sub(7)..rest];
        let is_marked = |row: &String| row.starts_with("     | xxx") && row.chars().count() < 40;
        page.len() == 7 && page.iter().all(is_marked)
    };
    terminal.wait("a page for 40 columns", is_narrow).await;
    terminal.wait_prompt("more lines with", DECIDE).await;
    terminal.type_line("y");
    assert_eq!(terminal.exit_code().await, 0);
    assert_harmless(&terminal.raw());
    let output = stack.http().output(&execution, 0).await.expect("an output");
    let text = String::from_utf8(output.bytes).expect("output is UTF-8");
    assert!(text.contains(&format!("allowed {{\"command\":\"{command}\"}}")));
}

#[tokio::test]
async fn ctrl_c_at_a_question_cancels_the_execution() {
    let stack = stack().await;
    let (terminal, execution) = exec(&stack, &ask(&json!({"command": "rm x"}))).await;
    terminal.wait_prompt("| rm x", DECIDE).await;
    terminal.key("C-c");
    assert_eq!(terminal.exit_code().await, 130);
    let end = ended(&stack.http(), &execution).await;
    assert_eq!(
        (&end["state"], &end["questionsOpen"]),
        (&json!("cancelled"), &json!(0)),
        "{end}"
    );
    // The command line of the terminal has the id.
    drop(terminal);
    stack.assert_nothing_left(&execution).await;
}

#[tokio::test]
async fn a_question_that_somebody_else_answers_leaves_the_terminal() {
    let stack = stack().await;
    let inputs = json!([{"command": "rm one"}, {"command": "rm two"}]);
    let (terminal, execution) = exec(&stack, &ask(&inputs)).await;
    terminal.wait_prompt("| rm one", DECIDE).await;
    let http = stack.http();
    let status = until(&http, &execution, "two questions", |status| {
        status["questionsOpen"] == 2
    })
    .await;
    let question = status["questions"][0]["questionId"]
        .as_str()
        .expect("an id");
    let answer = path(&execution, &format!("/questions/{question}"));
    let deny = json!({"decision": "deny", "message": "no"}).to_string();
    let (code, _, answered) = send(&http, Method::POST, &answer, deny).await;
    assert_eq!(code, 200, "{answered}");
    // The next question follows by itself.
    terminal.wait_prompt("| rm two", DECIDE).await;
    assert!(
        terminal.history().contains("somebody decided: deny"),
        "{}",
        terminal.history()
    );
    terminal.type_line("y");
    assert_eq!(terminal.exit_code().await, 0);
    let history = terminal.history();
    assert!(history.contains("denied no\n"), "{history}");
    assert!(
        history.contains("allowed {\"command\":\"rm two\"}"),
        "{history}"
    );
}
