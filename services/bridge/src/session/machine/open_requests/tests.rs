use jiff::Timestamp;
use protocol::message::Accepted;
use protocol::{ExecutionId, Status};
use serde_json::Value;

use super::*;
use crate::session::wire::events_part::EventsPart;
use crate::session::wire::list_page::ListPage;

const STATUS_BYTES: usize = 64 * 1024;

fn value(n: u64) -> Result<Answer, &'static RpcError> {
    Ok(Answer::Accepted(Accepted { accepted: n }))
}

#[test]
fn a_batch_is_sent_when_all_are_answered_and_its_changes_follow() {
    let mut requests = OpenRequests::default();
    let batch = Some(requests.batch(3));
    let a = requests.request(Some(r#""a""#.into()), batch);
    let quiet = requests.request(None, batch);
    let b = requests.request(Some("2".into()), batch);
    assert!(requests.is_notification(quiet) && !requests.is_notification(a));
    assert_eq!(
        requests
            .answer(b, value(1), vec!["view b"], STATUS_BYTES)
            .message,
        None
    );
    assert_eq!(
        requests
            .answer(quiet, value(0), vec!["view q"], STATUS_BYTES)
            .message,
        None
    );
    let ready = requests.answer(a, value(2), vec![], STATUS_BYTES);
    let array: Value = serde_json::from_str(&ready.message.unwrap()).unwrap();
    assert_eq!(array[0]["id"], 2);
    assert_eq!(array[1]["id"], "a");
    assert_eq!(ready.changes, ["view b", "view q"]);
    assert_eq!(requests.open(), 0);
    assert!(requests.batches.is_empty());
}

#[test]
fn notifications_alone_give_no_message() {
    let mut requests = OpenRequests::<()>::default();
    let batch = Some(requests.batch(1));
    let token = requests.request(None, batch);
    assert_eq!(
        requests
            .answer(token, value(1), vec![], STATUS_BYTES)
            .message,
        None
    );
}

#[test]
fn fifty_big_statuses_fit_one_message() {
    let mut requests = OpenRequests::<()>::default();
    let batch = Some(requests.batch(50));
    let mut status = Status::queued(ExecutionId::random(), Timestamp::UNIX_EPOCH, "w".into());
    status.stderr_tail = "\u{1}".repeat(16 * 1024);
    let metadata = (0..4).map(|n| (n.to_string(), "\u{1}".repeat(1000)));
    status.metadata = metadata.collect();
    status.model = Some("\u{1}".repeat(256));
    status.activity = Some("\u{1}".repeat(256));
    status.error = Some(protocol::status::ErrorInfo {
        code: "x".into(),
        message: "\u{1}".repeat(1000),
    });
    let mut message = None;
    for n in 0..50 {
        let token = requests.request(Some(n.to_string()), batch);
        let answer = Ok(Answer::Status(Box::new(status.clone())));
        message = requests.answer(token, answer, vec![], STATUS_BYTES).message;
    }
    assert!(message.unwrap().len() <= protocol::SERVER_MESSAGE_BYTES);
}
/// All kinds of answers, in the longest batch and with the longest ids.
#[test]
fn no_answer_and_no_batch_is_longer_than_a_message() {
    let longest = 64;
    let id = |n: usize| format!("\"{n:0>1022}\"");
    let mut status = Status::queued(ExecutionId::random(), Timestamp::UNIX_EPOCH, "w".into());
    status.stderr_tail = "\u{1}".repeat(16 * 1024);
    status.metadata = (0..4)
        .map(|n| (n.to_string(), "\u{1}".repeat(1000)))
        .collect();
    let json = String::from_utf8(status.to_json(64 * 1024)).unwrap();
    let error = RpcError::new(-32603, "internal", "\u{1}".repeat(100_000))
        .with("executionId", status.execution_id.to_string())
        .with("more", "x".repeat(100_000));
    let page = || {
        Box::new(ListPage {
            executions: vec![(status.execution_id, json.clone()); 20],
            newest: Some(Box::new(status.clone())),
            next: None,
        })
    };
    let part = || {
        Box::new(EventsPart {
            id: status.execution_id,
            offset: u64::MAX / 2,
            bytes: "\u{1}".repeat(protocol::events::MAX_BYTES).into(),
            is_all: false,
            ended: false,
        })
    };
    let kinds = [0, 1, 2, 3];
    let answer = |kind| match kind {
        0 => Ok(Answer::Status(Box::new(status.clone()))),
        1 => Ok(Answer::Page(page())),
        2 => Ok(Answer::Events(part())),
        _ => Err(&error),
    };
    for kind in kinds {
        for size in [None, Some(1), Some(longest)] {
            let mut requests = OpenRequests::<()>::default();
            let batch = size.map(|size| requests.batch(size));
            let mut message = None;
            for n in 0..size.unwrap_or(1) {
                let token = requests.request(Some(id(n)), batch);
                message = requests
                    .answer(token, answer(kind), vec![], 256 * 1024)
                    .message;
            }
            let message = message.unwrap();
            let length = message.len();
            assert!(
                length <= protocol::SERVER_MESSAGE_BYTES,
                "{kind} {size:?}: {length}"
            );
            let value: Value = serde_json::from_str(&message).unwrap();
            let first = if size.is_some() { &value[0] } else { &value };
            let full = ["executionId", "executions", "nextOffset", "code"][kind];
            let answer = if kind < 3 {
                &first["result"]
            } else {
                &first["error"]
            };
            assert!(!answer[full].is_null(), "{first}");
        }
    }
}
