//! Helpers of several suites.

use cc_tests::ws::Client;
use serde_json::{Value, json};

/// Asserts that an execution completed without a reason.
#[track_caller]
pub(crate) fn assert_completed(end: &Value) {
    assert_eq!(
        (&end["status"], &end["exitCode"], &end["reason"]),
        (&json!("COMPLETED"), &json!(0), &Value::Null),
        "{end}"
    );
}

/// Asserts the status and the reason of an end.
#[track_caller]
pub(crate) fn assert_ended(end: &Value, status: &str, reason: Option<&str>) {
    assert_eq!(
        (&end["status"], &end["reason"]),
        (&json!(status), &json!(reason)),
        "{end}"
    );
}

/// Runs a prompt that must complete without a gap; returns its output.
pub(crate) async fn run(client: &mut Client, prompt: &str) -> String {
    let (output, end) = client.run(prompt).await;
    assert_completed(&end);
    let id = id(&end);
    assert!(client.gaps(&id).is_empty(), "{:?}", client.gaps(&id));
    assert_eq!(end["outputBytes"], output.len());
    String::from_utf8(output).expect("the client has checked that it is UTF-8")
}

/// Returns the execution's id in a status.
#[track_caller]
pub(crate) fn id(status: &Value) -> String {
    status["executionId"].as_str().expect("an id").to_owned()
}

/// Returns a time of a status in a form that sorts: without its `Z`, missing decimals count as
/// zeros.
#[track_caller]
pub(crate) fn time(status: &Value, field: &str) -> String {
    let text = status[field]
        .as_str()
        .and_then(|text| text.strip_suffix('Z'));
    text.unwrap_or_else(|| panic!("no {field} in UTC: {status}"))
        .to_owned()
}
