//! Questions: `ccb exec --ask` on a terminal and without one, `ccb questions` and `ccb answer`.

use std::time::Duration;

use protocol::rpc::{RpcError, code};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::ccb::{ID, ccb, run};
use crate::fake::{Fake, Plan};
use crate::terminal::Terminal;

/// The id of the question of [`Plan::asking`].
const QUESTION: &str = "018f4e2a-7b3c-7def-8123-456789abcdef";

/// Starts `ccb exec --ask` on a terminal.
fn exec(fake: &Fake, options: &[&str]) -> Terminal {
    let arguments = [&["exec", "-q", "--ask", "--id", ID], options, &["p"]].concat();
    Terminal::start(&ccb(&fake.url(), &arguments), "")
}

fn asking(input: Value) -> Plan {
    let mut plan = Plan::asking("the answer\n");
    let question = plan.question.as_mut().unwrap();
    question.input_bytes = input.to_string().len() as u64;
    question.input = Some(input);
    question.suggestions = vec!["Bash(rm x)".to_owned(), "Bash(rm:*)".to_owned()];
    plan
}

#[tokio::test]
async fn a_question_is_shown_on_the_terminal_and_allowed_by_a_key() {
    let fake = Fake::start(asking(json!({"command": "rm x"}))).await;
    let mut terminal = exec(&fake, &["--question-timeout", "15m"]);
    for text in [
        "the model asks to use Bash",
        QUESTION,
        "| rm x",
        "\"command\": \"rm x\"",
        "1  Bash(rm x)",
        "y allow, n deny, r allow and remember",
    ] {
        terminal.wait_for(text).await;
    }
    terminal.type_in("y\n");
    terminal.wait_for("the answer").await;
    assert_eq!(terminal.exit_code().await, 0);
    let execute = &fake.params("execute")[0];
    assert_eq!(execute["permissionPrompts"], "ask");
    assert_eq!(execute["questionTimeoutSeconds"], 900.0);
    let expected = json!({"executionId": ID, "questionId": QUESTION, "decision": "allow"});
    assert_eq!(fake.params("answer"), [expected]);
}

#[tokio::test]
async fn a_denial_has_a_reason_and_rules_are_remembered_by_number() {
    let fake = Fake::start(asking(json!({"command": "rm x"}))).await;
    let mut terminal = exec(&fake, &[]);
    terminal.wait_for("n deny").await;
    terminal.type_in("n\n");
    terminal.wait_for("reason").await;
    terminal.type_in("keep x\n");
    assert_eq!(terminal.exit_code().await, 0);
    let answer = &fake.params("answer")[0];
    assert_eq!(
        (&answer["decision"], &answer["message"]),
        (&json!("deny"), &json!("keep x"))
    );
    // The question of the first fake was answered.
    let fake = Fake::start(asking(json!({"command": "rm x"}))).await;
    let mut terminal = exec(&fake, &[]);
    terminal.wait_for("r allow").await;
    terminal.type_in("r\n");
    terminal.wait_for("which?").await;
    terminal.type_in("2\n");
    assert_eq!(terminal.exit_code().await, 0);
    let answer = &fake.params("answer")[0];
    assert_eq!(answer["remember"], json!(["Bash(rm:*)"]));
}

#[tokio::test]
async fn what_was_typed_before_a_question_does_not_answer_it() {
    let fake = Fake::start(asking(json!({"command": "rm x"}))).await;
    let arguments = ["exec", "-q", "--ask", "p"];
    let mut terminal = Terminal::start(&ccb(&fake.url(), &arguments), "y\ny\n");
    terminal.wait_for("n deny").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fake.params("answer").len(), 0);
    terminal.type_in("n\n");
    terminal.wait_for("reason").await;
    terminal.type_in("\n");
    assert_eq!(terminal.exit_code().await, 0);
    assert_eq!(fake.params("answer")[0]["decision"], "deny");
}

#[tokio::test]
async fn a_hostile_question_cannot_control_the_terminal() {
    let command = "ls\x1b[2J\x1b]0;t\x07\nccb: allowed\u{9b}2J\u{202e}";
    let mut plan = asking(json!({"command": command}));
    let question = plan.question.as_mut().unwrap();
    (question.title, question.tool) = (command.to_owned(), "Ba\x1bsh\n".to_owned());
    question.description = Some(command.to_owned());
    question.suggestions = vec![command.to_owned()];
    let fake = Fake::start(plan).await;
    let mut terminal = exec(&fake, &[]);
    terminal.wait_for("n deny").await;
    let screen = terminal.screen();
    let is_active = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!screen.chars().any(is_active), "{screen:?}");
    assert!(
        !screen.lines().any(|line| line.starts_with("ccb: allowed")),
        "{screen}"
    );
    assert!(screen.contains("ls\\u001b[2J"), "{screen}");
    let (_, out, _) = run(&fake.url(), &["questions", ID]).await;
    assert!(
        out.contains("ls\\u001b[2J") && !out.chars().any(is_active),
        "{out:?}"
    );
}

#[tokio::test]
async fn a_large_input_is_shown_by_pages_also_after_a_resize() {
    let fake = Fake::start(asking(json!({"command": "x".repeat(200 * 1024)}))).await;
    let mut terminal = exec(&fake, &[]);
    terminal.wait_for("more lines with").await;
    terminal.wait_for("m show more").await;
    let shown = terminal.screen().len();
    assert!(shown < 8 * 1024, "{shown}");
    terminal.resize(40, 20);
    terminal.type_in("m\n");
    terminal.wait_for("more lines with").await;
    terminal.wait_for("m show more").await;
    terminal.type_in("y\n");
    assert_eq!(terminal.exit_code().await, 0);
}

/// A message has no input of more than 16 KiB, but the events have.
#[tokio::test]
async fn an_input_that_was_left_out_is_read_from_the_events() {
    let command = format!("rm x {}", "y".repeat(200 * 1024));
    let input = json!({"command": command});
    let mut plan = asking(input.clone());
    plan.question.as_mut().unwrap().input = None;
    let request = json!({"subtype": "can_use_tool", "tool_name": "Bash", "input": input});
    let prompt = json!({"type": "control_request", "request": request});
    plan.output = format!("{{\"type\":\"system\"}}\n{prompt}\n").into_bytes();
    plan.chunk = 64 * 1024;
    let fake = Fake::start(plan.clone()).await;
    let (_, out, err) = run(&fake.url(), &["questions", ID, "--json"]).await;
    let all: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {err}"));
    assert_eq!(all[0]["question"]["input"], input);
    let mut terminal = exec(&fake, &[]);
    terminal.wait_for("\"command\": \"rm x yyy").await;
    terminal.wait_for("more lines with").await;
    terminal.wait_for("n deny").await;
    terminal.type_in("y\n");
    assert_eq!(terminal.exit_code().await, 0);
    // Without the events, the question says what is missing.
    plan.output = b"{}\n".to_vec();
    let fake = Fake::start(plan).await;
    let mut terminal = exec(&fake, &[]);
    terminal.wait_for("200.0 KiB and could not be read").await;
    terminal.wait_for("n deny").await;
    terminal.type_in("y\n");
    assert_eq!(terminal.exit_code().await, 0);
}

#[tokio::test]
async fn ctrl_c_at_a_question_cancels_the_execution() {
    let mut plan = asking(json!({"command": "rm x"}));
    plan.output.clear();
    let fake = Fake::start(plan).await;
    let mut terminal = exec(&fake, &[]);
    terminal.wait_for("n deny").await;
    terminal.type_in("\x03");
    assert_eq!(terminal.exit_code().await, 130);
    assert_eq!(fake.params("control")[0]["type"], "CANCEL");
    assert_eq!(fake.params("answer").len(), 0);
}

#[tokio::test]
async fn a_question_may_be_left_to_others() {
    let fake = Fake::start(asking(json!({"command": "rm x"}))).await;
    let command = ccb(&fake.url(), &["attach", "--ask", ID]);
    let mut terminal = Terminal::start(&command, "");
    terminal.wait_for("s leave open").await;
    terminal.type_in("s\n");
    terminal
        .wait_for(&format!(
            "left open; answer it later with: ccb answer {ID} {QUESTION}"
        ))
        .await;
    terminal.type_in("\x03");
    assert_eq!(terminal.exit_code().await, 130);
    assert_eq!(
        fake.params("answer").len() + fake.params("control").len(),
        0
    );
}

/// Without a terminal, and without `--ask`, stderr says how to answer.
#[tokio::test]
async fn without_a_terminal_a_question_is_announced_with_its_id() {
    let fake = Fake::start(asking(json!({"command": "rm x"}))).await;
    for arguments in [
        &["exec", "-q", "--ask", "--id", ID, "p"][..],
        &["attach", ID],
    ] {
        let mut child = ccb(&fake.url(), arguments).spawn().unwrap();
        let mut text = Vec::new();
        let expected =
            format!("Bash: rm x\n     answer it with: ccb answer {ID} {QUESTION} allow (or deny)");
        let stderr = child.stderr.as_mut().unwrap();
        while !String::from_utf8_lossy(&text).contains(&expected) {
            let read = timeout(Duration::from_secs(10), stderr.read_buf(&mut text)).await;
            let read = read.expect("no question").unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&text));
        }
        child.kill().await.unwrap();
    }
}

#[tokio::test]
async fn questions_are_listed_with_their_inputs() {
    let fake = Fake::start(asking(json!({"command": "rm x"}))).await;
    let (exit, out, err) = run(&fake.url(), &["questions", ID]).await;
    assert_eq!(exit, 0, "{err}");
    assert!(
        out.contains("\"command\": \"rm x\"") && out.contains(QUESTION),
        "{out}"
    );
    let (_, out, _) = run(&fake.url(), &["questions", ID, "--json"]).await;
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(all[0]["executionId"], ID);
    assert_eq!(all[0]["question"]["input"]["command"], "rm x");
    assert_eq!(fake.params("attach")[0]["offset"], 0);
    // The fake's list has one execution, which has ended.
    let (exit, out, err) = run(&fake.url(), &["questions"]).await;
    assert_eq!((exit, out.as_str()), (0, ""));
    assert!(err.contains("no open questions"), "{err}");
    let (_, out, _) = run(&fake.url(), &["questions", "--json"]).await;
    assert_eq!(out, "[]\n");
    let (_, out, _) = run(&fake.url(), &["status", ID]).await;
    assert!(
        out.contains(&format!("question      {QUESTION} Bash: rm x\n")),
        "{out}"
    );
}

#[tokio::test]
async fn an_answer_is_sent_with_its_fields() {
    let fake = Fake::start(asking(json!({"command": "rm x"}))).await;
    let answer = async |options: &[&str]| {
        let arguments = [&["answer", ID, QUESTION], options].concat();
        run(&fake.url(), &arguments).await
    };
    let (exit, out, err) = answer(&["allow", "--remember", "Bash(rm x)"]).await;
    assert_eq!((exit, out), (0, format!("allow {QUESTION}\n")), "{err}");
    let (exit, out, _) = answer(&["deny", "--message", "no", "--interrupt", "--json"]).await;
    let printed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((exit, &printed["decision"]), (0, &json!("deny")));
    let sent = fake.params("answer");
    assert_eq!(sent[0]["remember"], json!(["Bash(rm x)"]));
    assert_eq!(
        (&sent[1]["message"], &sent[1]["interrupt"]),
        (&json!("no"), &json!(true))
    );
    for wrong in [
        &["maybe"][..],
        &["deny", "--remember", "x"],
        &["allow", "--input", "7"],
    ] {
        let (exit, out, err) = answer(wrong).await;
        assert_eq!((exit, out.as_str()), (64, ""), "{wrong:?}: {err}");
    }
    let (exit, _, err) = run(&fake.url(), &["answer", ID, "7", "allow"]).await;
    assert_eq!(exit, 64, "{err}");
    assert_eq!(fake.params("answer").len(), 2);
}

#[tokio::test]
async fn a_choice_is_answered_by_the_text_or_the_number_of_its_question() {
    let input = json!({"questions": [{"question": "Which?"}, {"question": "a=b?"}]});
    let mut plan = asking(input);
    let question = plan.question.as_mut().unwrap();
    question.kind = protocol::question::QuestionKind::Choice;
    let fake = Fake::start(plan.clone()).await;
    let options = ["--choice", "1=SQLite", "--choice", "a=b?=no"];
    let arguments = [&["answer", ID, QUESTION, "allow"][..], &options].concat();
    let (exit, _, err) = run(&fake.url(), &arguments).await;
    assert_eq!(exit, 0, "{err}");
    let answers = &fake.params("answer")[0]["answers"];
    assert_eq!(*answers, json!({"Which?": "SQLite", "a=b?": "no"}));
    // The question of the first fake was answered.
    let fake = Fake::start(plan).await;
    let mut terminal = exec(&fake, &[]);
    terminal.wait_for("1 of 2:").await;
    terminal.wait_for("your answer").await;
    terminal.type_in("SQLite\n");
    terminal.wait_for("2 of 2:").await;
    terminal.wait_for("your answer").await;
    terminal.type_in("=no\n");
    assert_eq!(terminal.exit_code().await, 0);
    assert_eq!(fake.params("answer")[0]["answers"], *answers);
}

#[tokio::test]
async fn an_answer_after_another_one_says_who_decided() {
    let mut plan = asking(json!({"command": "rm x"}));
    let error = RpcError::new(code::WRONG_STATE, "wrong_state", "closed before")
        .with("closedBy", "answer")
        .with("decision", "deny")
        .with("principal", "ann");
    plan.refuse_answer = Some(error);
    let fake = Fake::start(plan).await;
    let (exit, _, err) = run(&fake.url(), &["answer", ID, QUESTION, "allow"]).await;
    assert_eq!(exit, 1, "{err}");
    assert!(err.contains("ann decided: deny"), "{err}");
    let mut terminal = exec(&fake, &[]);
    terminal.wait_for("n deny").await;
    terminal.type_in("y\n");
    terminal.wait_for("ann decided: deny").await;
}
