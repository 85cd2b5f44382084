//! The rules by which an exchange becomes a transcript. docs/protocol.md, "Transcripts", states the
//! same rules for readers.

use serde_json::{Value, json};

use super::layout::LEFT_OUT;

/// Fields of a status that are shown only where the whole status is.
const ONLY_WHOLE: [&str; 20] = [
    "sha256",
    "createdAt",
    "startedAt",
    "endedAt",
    "durationMs",
    "activity",
    "workspace",
    "lane",
    "conversation",
    "model",
    "usage",
    "costUsd",
    "structuredOutput",
    "restarts",
    "noiseLines",
    "stderrTail",
    "metadata",
    "permissionDenials",
    "questionsOpen",
    "warnings",
];
/// Fields of a status that are left out where they are null, false, 0 or empty.
const LEFT_OUT_IF_EMPTY: [&str; 13] = [
    "reason",
    "error",
    "exitCode",
    "keptFrom",
    "crc32",
    "principal",
    "queuePosition",
    "stalled",
    "continues",
    "continuedBy",
    "notBefore",
    "questions",
    "webhook",
];
/// The most characters of a text; a longer one is cut.
const TEXT_CHARACTERS: usize = 80;
/// The mark at the end of a text that is cut.
pub(super) const CUT: &str = "…";

/// Shortens the statuses, the prompts and the long texts of a message.
pub(super) fn shorten(value: &mut Value, whole: bool) {
    match value {
        Value::String(text) => *text = cut(text),
        Value::Array(items) => items.iter_mut().for_each(|item| shorten(item, whole)),
        Value::Object(members) => {
            let is_status = ["executionId", "outputBytes", "createdAt"];
            if is_status.iter().all(|name| members.contains_key(*name)) {
                // The digest is computed some time after the end.
                members.insert("sha256".to_owned(), Value::Null);
                if !whole {
                    members.retain(|name, value| !is_left_out(name, value));
                    members.insert(LEFT_OUT.to_owned(), Value::Null);
                }
            }
            for (name, member) in members.iter_mut() {
                match (name.as_str(), &member) {
                    ("prompt", Value::String(prompt)) => {
                        *member = without_directives(prompt).into();
                    }
                    _ => shorten(member, whole),
                }
            }
        }
        _ => {}
    }
}

fn is_left_out(name: &str, value: &Value) -> bool {
    let is_empty = match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_u64() == Some(0) && name == "keptFrom",
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    };
    ONLY_WHOLE.contains(&name) || is_empty && LEFT_OUT_IF_EMPTY.contains(&name)
}

/// Removes the lines of a prompt that are directives for the stand-in CLI.
fn without_directives(prompt: &str) -> String {
    let lines = prompt.lines().filter(|line| !line.starts_with('@'));
    lines.collect::<Vec<_>>().join("\n")
}

/// Cuts a text to [`TEXT_CHARACTERS`].
pub(super) fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(TEXT_CHARACTERS).collect();
    if short.len() < text.len() {
        short.push_str(CUT);
    }
    short
}

/// Gives the answer to a pause or a resume the state before it. The answer is sent once the signal
/// was sent, so the real answer may have either state.
pub(super) fn set_state_before(control: &str, status: &mut Value) {
    let (before, after) = match control {
        "PAUSE" | "pause" => ("running", "paused"),
        "RESUME" | "resume" => ("paused", "running"),
        _ => return,
    };
    if status["state"] == after {
        status["state"] = before.into();
    }
}

/// Whether `message` is a `statusUpdate` that only repeats the state of the one before.
pub(super) fn repeats(before: &[Value], message: &Value) -> bool {
    let is_about = |other: &&Value| {
        other["method"] == "statusUpdate"
            && other["params"]["executionId"] == message["params"]["executionId"]
    };
    if message["method"] != "statusUpdate" {
        return false;
    }
    let last = before.iter().rev().find(is_about);
    last.is_some_and(|last| {
        ["status", "upstream"]
            .iter()
            .all(|name| last["params"][name] == message["params"][name])
    })
}

/// Adds the text of an `output` to the `output` before, if that is the last message and of the same
/// execution. Returns whether it did.
pub(super) fn joins(last: Option<&mut Value>, message: &Value) -> bool {
    let Some(last) = last else { return false };
    let is_output = |message: &Value| message["method"] == "output";
    let (ours, theirs) = (&message["params"], &last["params"]);
    if !is_output(message) || !is_output(last) || ours["executionId"] != theirs["executionId"] {
        return false;
    }
    let text = |params: &Value| params["content"].as_str().unwrap_or_default().to_owned();
    let joined = text(theirs) + &text(ours);
    last["params"]["content"] = joined.into();
    true
}

#[test]
fn a_status_shows_what_is_new_to_this_test() {
    let mut message = json!({"result": {
        "executionId": "x", "outputBytes": 0, "createdAt": "t", "queuePosition": 0, "keptFrom": 0,
        "stalled": true, "reason": null, "aNewField": null, "workspace": "default",
    }});
    shorten(&mut message, false);
    let expected = json!({"result": {
        "executionId": "x", "outputBytes": 0, "queuePosition": 0, "stalled": true,
        "aNewField": null, "...": null,
    }});
    assert_eq!(message, expected);
}

#[test]
fn outputs_are_joined_and_repeated_states_are_found() {
    let message = |method: &str, name: &str, value: &str| {
        let params = json!({"executionId": 1, name: value});
        json!({"method": method, "params": params})
    };
    let output = |content: &str| message("output", "content", content);
    let mut last = output("a");
    assert!(joins(Some(&mut last), &output("b")));
    assert_eq!(last, output("ab"));
    let update = |status: &str| message("statusUpdate", "status", status);
    let seen = [update("RUNNING"), output("a")];
    assert!(repeats(&seen, &update("RUNNING")));
    assert!(!repeats(&seen, &update("PAUSED")));
    assert!(!repeats(&seen, &output("a")));
}
