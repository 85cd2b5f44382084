//! Small things that several suites ask.

use cc_tests::ws::Client;
use serde_json::{Value, json};

/// Asserts that an execution completed as it should.
#[track_caller]
pub(crate) fn completed(end: &Value) {
    assert_eq!(
        (&end["status"], &end["exitCode"], &end["reason"]),
        (&json!("COMPLETED"), &json!(0), &Value::Null),
        "{end}"
    );
}

/// Asserts how an execution ended.
#[track_caller]
pub(crate) fn ended(end: &Value, status: &str, reason: Option<&str>) {
    assert_eq!(
        (&end["status"], &end["reason"]),
        (&json!(status), &json!(reason)),
        "{end}"
    );
}

/// Runs a prompt that must complete without a gap; answers its output.
pub(crate) async fn ran(client: &mut Client, prompt: &str) -> String {
    let (output, end) = client.run(prompt).await;
    completed(&end);
    let id = id(&end);
    assert!(client.gaps(&id).is_empty(), "{:?}", client.gaps(&id));
    assert_eq!(end["outputBytes"], output.len());
    String::from_utf8(output).expect("the client has checked that it is UTF-8")
}

/// The execution that a status is about.
#[track_caller]
pub(crate) fn id(status: &Value) -> String {
    status["executionId"].as_str().expect("an id").to_owned()
}

/// A time of a status, in a form that sorts: without its `Z`, fewer decimals are zeros.
#[track_caller]
pub(crate) fn at(status: &Value, field: &str) -> String {
    let text = status[field]
        .as_str()
        .and_then(|text| text.strip_suffix('Z'));
    text.unwrap_or_else(|| panic!("no {field} in UTC: {status}"))
        .to_owned()
}
