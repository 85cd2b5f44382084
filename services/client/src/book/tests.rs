use protocol::rpc::{self, OnSlow};
use protocol::{State, Status};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::Execute;

fn opened(book: &mut Book) -> (Execute, mpsc::Receiver<Item>) {
    let execute = Execute::prompt("p");
    let (tx, rx) = mpsc::channel(16);
    let view = View::new(0, tx, 0, OnSlow::Wait);
    book.open(execute.id, view, method::EXECUTE, &execute.params());
    (execute, rx)
}

fn sent(book: &mut Book) -> Vec<Value> {
    std::iter::from_fn(|| book.next_request())
        .map(|text| serde_json::from_str(&text).unwrap())
        .collect()
}

fn hear(book: &mut Book, message: &Value) -> Heard {
    book.message(&message.to_string().into()).unwrap()
}

fn status(execute: &Execute) -> Value {
    let mut status = Status::queued(execute.id, jiff::Timestamp::UNIX_EPOCH, "w".into());
    status.state = State::Running;
    serde_json::to_value(status).unwrap()
}

#[test]
fn unanswered_requests_are_asked_again_and_answered_ones_attach() {
    let mut book = Book::default();
    let (execute, _rx) = opened(&mut book);
    let first = sent(&mut book);
    assert_eq!(first[0]["method"], "execute");
    book.lost("cut", Duration::ZERO);
    book.connected(&"{}".into());
    assert_eq!(sent(&mut book), first, "the very same request");
    hear(&mut book, &rpc::result(&first[0]["id"], status(&execute)));
    let output =
        json!({ "executionId": execute.id, "type": "stdout", "offset": 0, "content": "abc" });
    hear(&mut book, &rpc::notification("output", &output));
    for _ in 0..2 {
        // Twice, because an attach that was never answered must not be asked beside a new one.
        book.lost("cut", Duration::ZERO);
        book.connected(&"{}".into());
        let again = sent(&mut book);
        assert_eq!(again.len(), 1);
        assert_eq!(again[0]["method"], "attach");
        assert_eq!(again[0]["params"]["offset"], 3);
    }
}

#[test]
fn an_accepted_execution_waits_for_a_service_that_is_away() {
    let mut book = Book::default();
    let (execute, mut rx) = opened(&mut book);
    let first = sent(&mut book);
    hear(&mut book, &rpc::result(&first[0]["id"], status(&execute)));
    book.lost("cut", Duration::ZERO);
    book.connected(&"{}".into());
    let attach = sent(&mut book);
    let away = RpcError::new(code::UNAVAILABLE, "unavailable", "claude-api is away");
    let heard = hear(&mut book, &rpc::error(&attach[0]["id"], &away));
    assert_eq!(heard, Heard::ComeBack("claude-api is away".into()));
    assert!(!book.is_idle(), "the view is still there");
    assert!(rx.try_recv().is_err());
}

#[test]
fn messages_about_what_nobody_views_change_nothing() {
    let mut book = Book::default();
    let output = json!({ "executionId": ExecutionId::random(), "type": "stdout", "offset": 9, "content": "x" });
    hear(&mut book, &rpc::notification("output", &output));
    assert_eq!(
        hear(&mut book, &rpc::result(&json!(77), json!({}))),
        Heard::Nothing
    );
    assert!(book.is_idle() && !book.has_events());
    assert!(book.message(&"nonsense".into()).is_err());
}

#[tokio::test]
async fn a_failure_reaches_everybody_who_waits() {
    let mut book = Book::default();
    let (_, mut rx) = opened(&mut book);
    let (tx, reply) = oneshot::channel();
    book.call(method::PING, &json!({}), tx);
    book.fail(&Error::Closed);
    assert!(book.is_idle());
    assert_eq!(reply.await.unwrap().unwrap_err(), Error::Closed);
    book.deliver().await;
    assert_eq!(rx.recv().await.unwrap().unwrap_err(), Error::Closed);
}

#[tokio::test]
async fn messages_of_the_old_view_are_not_the_new_ones() {
    let mut book = Book::default();
    let (execute, _old) = opened(&mut book);
    let first = sent(&mut book);
    hear(&mut book, &rpc::result(&first[0]["id"], status(&execute)));
    let (tx, mut rx) = mpsc::channel(16);
    let attach = Attach::from_start(execute.id);
    let view = View::new(1, tx, 0, OnSlow::Wait);
    book.open(execute.id, view, method::ATTACH, &attach.params());
    let second = sent(&mut book);
    // The bridge goes on with the old view until it answers; that one has reached byte 9, and even ends.
    let output = |offset: u64| {
        rpc::notification(
            "output",
            &json!({ "executionId": execute.id, "type": "stdout", "offset": offset, "content": "x" }),
        )
    };
    let mut end = status(&execute);
    end["state"] = "completed".into();
    end["status"] = "COMPLETED".into();
    end["elapsedMs"] = 1.into();
    hear(&mut book, &output(9));
    hear(&mut book, &rpc::notification("statusUpdate", &end));
    hear(&mut book, &rpc::result(&second[0]["id"], status(&execute)));
    hear(&mut book, &output(0));
    let mut got = Vec::new();
    while book.has_events() {
        book.deliver().await;
    }
    while let Ok(item) = rx.try_recv() {
        got.push(item.unwrap());
    }
    assert!(
        matches!(got[..], [Event::Answer(_), Event::Output { offset: 0, .. }]),
        "{got:?}"
    );
}

#[test]
fn a_call_that_nobody_waits_for_is_not_sent() {
    let mut book = Book::default();
    let call = |book: &mut Book| {
        let (tx, rx) = oneshot::channel();
        book.call(method::CONTROL, &json!({ "type": "CANCEL" }), tx);
        rx
    };
    drop(call(&mut book));
    let waits = call(&mut book);
    assert_eq!(sent(&mut book).len(), 1);
    // Neither is it asked again, nor a reason to connect.
    drop(waits);
    book.lost("cut", Duration::ZERO);
    assert!(book.is_idle());
    book.connected(&"{}".into());
    assert_eq!(sent(&mut book), Vec::<Value>::new());
}
