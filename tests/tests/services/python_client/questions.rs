//! Questions of the stand-in CLI, which callbacks of the Python client answer.

use cc_tests::{
    faults::{Cut, Faults},
    harness::{Stack, StackOptions, Tokens},
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    environment::{Environment, Script},
    url,
};
use crate::support::{id, path, send, until};

const PROMPT: &str = "@say before\n@ask Bash {\"command\":\"rm x\"}\n@say after";
const ALLOWED: &str = "before\n\nallowed {\"command\":\"rm x\"}\nafter";

#[tokio::test]
async fn callbacks_of_the_python_client_answer_questions() {
    let tokens = Tokens::default().with("ann", "control", &["principal = \"team-a\""]);
    let token = tokens.secret("ann").to_owned();
    let options = StackOptions::default().api("--allowed-tools=Bash");
    let stack = Stack::with(options.tokens(tokens)).await;
    let environment = Environment::get().await;
    let output = environment
        .installed(&["-X", "dev", "-W", "error", "-m", "unittest", "-v"])
        .argument("e2e/test_questions.py")
        .variable("CCB_TEST_URL", &url(&stack))
        .variable("CCB_TEST_API", &stack.api.url(""))
        .variable("CCB_TOKEN", &token)
        .output()
        .await;
    assert!(output.errors.contains("\nOK\n"), "{}", output.errors);
    stack.assert_quiet();
}

/// Starts a client whose callback waits for a line on stdin, and waits for its question. Returns
/// the client and the id of the execution.
async fn asked(stack: &Stack) -> (Script, String) {
    let execution = id();
    let environment = Environment::get().await;
    let arguments = ["e2e/asked.py", &url(stack), &execution, PROMPT];
    let mut script = environment.installed(&arguments);
    assert_eq!(script.line().await, "asked");
    (script, execution)
}

#[tokio::test]
async fn a_question_survives_kills_of_the_bridge_and_its_callback_is_called_once() {
    let options = StackOptions::default().api("--allowed-tools=Bash");
    let mut stack = Stack::with(options.proxies()).await;
    let (mut script, execution) = asked(&stack).await;
    for _ in 0..2 {
        stack.crash_bridges().await;
        assert_eq!(script.line().await, "reconnected");
    }
    stack.middle.as_ref().expect("a proxy").cut_now(Cut::Reset);
    script.write("allow\n").await;
    let printed = script.output().await.printed;
    let result = printed.lines().last().expect("a result");
    let result: Value = serde_json::from_str(result).expect("a result");
    assert_eq!(
        (&result["calls"], &result["text"], &result["check"]),
        (&json!(1), &json!(ALLOWED), &json!("verified")),
        "{result}"
    );
    assert!(result["reconnects"].as_u64() >= Some(2), "{result}");
    assert_eq!(stack.spawns(&execution), 1);
}

#[tokio::test]
async fn a_question_that_is_answered_while_the_client_is_cut_off_is_not_asked_again() {
    let mut options = StackOptions::default().api("--allowed-tools=Bash");
    options.proxy_clients = true;
    let stack = Stack::with(options).await;
    let (script, execution) = asked(&stack).await;
    let front = stack.front.as_ref().expect("a proxy");
    front.set(Faults::refuse());
    front.cut_now(Cut::Reset);
    let http = stack.http();
    let status = http.status(&execution).await.expect("a status");
    let question = status["questions"][0]["questionId"].as_str();
    let answer = path(
        &execution,
        &format!("/questions/{}", question.expect("an id")),
    );
    let deny = json!({"decision": "deny", "message": "no"});
    let (code, _, answered) = send(&http, Method::POST, &answer, deny.to_string()).await;
    assert_eq!(code, 200, "{answered}");
    until(&http, &execution, "the end", |status| {
        status["state"] == "completed"
    })
    .await;
    front.heal();
    let printed = script.output().await.printed;
    let result = printed.lines().last().expect("a result");
    let result: Value = serde_json::from_str(result).expect("a result");
    assert_eq!(
        (&result["calls"], &result["text"]),
        (&json!(1), &json!("before\n\ndenied no\nafter")),
        "{result}"
    );
}
