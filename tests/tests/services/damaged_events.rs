//! Lines of the CLI that are not one whole event, results that contradict themselves, and answers
//! without text.

use cc_tests::harness::Stack;
use serde_json::{Value, json};

use crate::support::run;

const RESULT: &str = concat!(
    r#"{"type":"result","subtype":"success","is_error":false,"#,
    r#""result":"Second.","num_turns":1,"result_index":0}"#
);

fn assistant(id: &str, text: &str) -> String {
    let content = json!([{"type": "text", "text": text}]);
    json!({"type": "assistant", "message": {"id": id, "model": "m", "content": content}})
        .to_string()
}

/// Returns a prompt with which the stand-in writes these lines and no result of its own.
fn script(lines: &[String]) -> String {
    let raw: String = lines.iter().map(|line| format!("@raw {line}\n")).collect();
    format!("{raw}@result none")
}

fn warning_codes(status: &Value) -> Vec<String> {
    let warnings = status["warnings"].as_array().expect("a list");
    let code = |warning: &Value| warning["code"].as_str().expect("a code").to_owned();
    warnings.iter().map(code).collect()
}

/// An escape sequence, a NUL or a second event may share the line of the result.
#[tokio::test]
async fn a_whole_result_among_other_bytes_completes_the_execution() {
    let stack = Stack::start().await;
    for (line, noise) in [
        (format!("\\e[2K\\e[0m{RESULT}"), 1),
        (format!("{RESULT}\\0"), 1),
        (format!("{}{RESULT}", assistant("m", "Second.")), 0),
    ] {
        for format in ["text", "events"] {
            let prompt = script(std::slice::from_ref(&line));
            let (output, status) = run(&stack, &prompt, json!({"format": format})).await;
            assert_eq!(
                (&status["state"], &status["reason"], &status["noiseLines"]),
                (&json!("completed"), &Value::Null, &json!(noise)),
                "{line}: {status}"
            );
            assert!(output.contains("Second."), "{output}");
        }
    }
    stack.assert_quiet();
}

/// Two events may be glued together on one damaged line.
#[tokio::test]
async fn a_damaged_event_hides_no_other_event_and_adds_a_warning() {
    let stack = Stack::start().await;
    let first = assistant("m", "First.");
    let glued = format!(r#"{{"type":"assis{}"#, assistant("n", "Second."));
    let lost = r#"{"type":"assistant","message":{"id":"n","con"#.to_owned();
    for line in [glued, lost] {
        let prompt = script(&[first.clone(), line, RESULT.to_owned()]);
        let (output, status) = run(&stack, &prompt, json!({})).await;
        assert_eq!(output, "First.\n\nSecond.");
        assert_eq!(
            (
                &status["state"],
                &status["noiseLines"],
                warning_codes(&status)
            ),
            (
                &json!("completed"),
                &json!(1),
                vec!["event_lost".to_owned()]
            ),
            "{status}"
        );
    }
    stack.assert_quiet();
}

/// The CLI can report `is_error: false` together with a subtype `error_*`.
#[tokio::test]
async fn a_result_with_an_error_subtype_is_a_failure_that_names_it() {
    let stack = Stack::start().await;
    for (subtype, reason) in [
        ("error_max_turns", "max_turns"),
        ("error_max_budget_usd", "max_budget"),
        ("error_during_execution", "cli_error"),
    ] {
        let line = json!({"type": "result", "subtype": subtype, "is_error": false}).to_string();
        let (_, status) = run(&stack, &script(&[line]), json!({})).await;
        assert_eq!(
            (&status["state"], &status["reason"]),
            (&json!("failed"), &json!(reason)),
            "{status}"
        );
        let message = status["error"]["message"].as_str().expect("a message");
        assert!(message.contains(subtype), "{message}");
    }
    stack.assert_quiet();
}

/// From a field report: an empty answer was `completed` without a warning.
#[tokio::test]
async fn an_empty_answer_adds_a_warning() {
    let stack = Stack::start().await;
    let line = RESULT.replace("Second.", "");
    let (output, status) = run(&stack, &script(&[line]), json!({})).await;
    assert_eq!(
        (output.as_str(), &status["state"]),
        ("", &json!("completed"))
    );
    assert_eq!(warning_codes(&status), ["empty_answer"]);
    let (_, status) = run(&stack, "@say x", json!({})).await;
    assert_eq!(warning_codes(&status), Vec::<String>::new());
    stack.assert_quiet();
}
