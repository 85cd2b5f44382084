use protocol::message::{
    Control, ControlParams, Empty, ExecuteParams, Notification, Output, PingParams, StatusUpdate,
    StatusWord,
};
use protocol::rpc::{OnDisconnect, OnSlow};
use protocol::{State, Status};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

use super::*;

fn id(execute: &ExecuteParams) -> ExecutionId {
    execute.execution_id.unwrap()
}

fn opened(machine: &mut Machine) -> (ExecuteParams, mpsc::Receiver<Item>) {
    let execute = ExecuteParams::prompt("p");
    let (tx, rx) = mpsc::channel(16);
    let view = View::new(0, tx, 0, OnSlow::Wait);
    machine.open(id(&execute), view, execute.clone().into());
    (execute, rx)
}

fn sent(machine: &mut Machine) -> Vec<Value> {
    std::iter::from_fn(|| machine.next_request())
        .map(|text| serde_json::from_str(&text).unwrap())
        .collect()
}

fn receive(machine: &mut Machine, message: String) -> Received {
    machine.message(&message.into()).unwrap()
}

/// Returns the bridge's answer to a request.
fn answer(request: &Value, result: impl Serialize) -> String {
    Reply::result(request["id"].as_u64().unwrap(), result).to_message()
}

fn status(execute: &ExecuteParams) -> Status {
    let mut status = Status::queued(id(execute), jiff::Timestamp::UNIX_EPOCH, "w".into());
    status.state = State::Running;
    status
}

#[test]
fn after_a_reconnect_an_unanswered_execute_is_repeated_and_an_accepted_one_attaches() {
    let mut machine = Machine::default();
    let (execute, _rx) = opened(&mut machine);
    let first = sent(&mut machine);
    assert_eq!(first[0]["method"], "execute");
    machine.lost("cut", Duration::ZERO);
    machine.connected(&"{}".into());
    assert_eq!(
        sent(&mut machine),
        first,
        "the request was not repeated unchanged"
    );
    receive(&mut machine, answer(&first[0], status(&execute)));
    let output = Output::new(id(&execute), 0, "abc");
    receive(&mut machine, output.to_message());
    for _ in 0..2 {
        // Twice: an unanswered attach must not be repeated in addition to the new one.
        machine.lost("cut", Duration::ZERO);
        machine.connected(&"{}".into());
        let again = sent(&mut machine);
        assert_eq!(again.len(), 1);
        assert_eq!(again[0]["method"], "attach");
        assert_eq!(again[0]["params"]["offset"], 3);
    }
}

#[tokio::test]
async fn after_a_reconnect_the_session_gets_the_policy_to_cancel_before_it_attaches() {
    let mut machine = Machine::default();
    let execute = ExecuteParams {
        on_disconnect: OnDisconnect::Cancel,
        ..ExecuteParams::prompt("p")
    };
    let (tx, mut rx) = mpsc::channel(16);
    let request = Request::from(execute.clone());
    let view = View::new(0, tx, 0, OnSlow::Wait).renewed_by(Some(request.clone()));
    machine.open(id(&execute), view, request);
    let first = sent(&mut machine);
    receive(&mut machine, answer(&first[0], status(&execute)));
    let output = |offset, text: &str| Output::new(id(&execute), offset, text).to_message();
    receive(&mut machine, output(0, "abc"));
    for _ in 0..2 {
        machine.lost("cut", Duration::ZERO);
        machine.connected(&"{}".into());
        let again = sent(&mut machine);
        let methods: Vec<_> = again.iter().map(|request| &request["method"]).collect();
        assert_eq!(methods, ["execute", "attach"]);
        assert_eq!(again[0]["params"], first[0]["params"]);
        assert_eq!(again[1]["params"]["offset"], 3);
        // The view of the repeated request begins at 0, and its refusal changes nothing.
        receive(&mut machine, output(0, "abc"));
        let refused: Reply = Reply::error(
            again[0]["id"].as_u64().unwrap(),
            RpcError::new(code::ID_IN_USE, "id_in_use", "m"),
        );
        receive(&mut machine, refused.to_message());
        receive(&mut machine, answer(&again[1], status(&execute)));
        // A later attach in the same session needs no policy.
        machine.attach_again(id(&execute));
        let attach = sent(&mut machine);
        assert_eq!(attach.len(), 1);
        receive(&mut machine, answer(&attach[0], status(&execute)));
    }
    receive(&mut machine, output(3, "d"));
    let mut text = Vec::new();
    while machine.has_events() {
        machine.deliver().await;
        match rx.recv().await.unwrap().unwrap() {
            Event::Output { bytes, .. } => text.extend_from_slice(&bytes),
            Event::Answer(_) | Event::Disconnected { .. } | Event::Reconnected => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(text, b"abcd");
}

#[test]
fn an_accepted_execution_waits_for_an_unreachable_service() {
    let mut machine = Machine::default();
    let (execute, mut rx) = opened(&mut machine);
    let first = sent(&mut machine);
    receive(&mut machine, answer(&first[0], status(&execute)));
    machine.lost("cut", Duration::ZERO);
    machine.connected(&"{}".into());
    let attach = sent(&mut machine);
    let away = RpcError::new(code::UNAVAILABLE, "unavailable", "claude-api is away");
    let refused: Reply = Reply::error(attach[0]["id"].as_u64().unwrap(), away);
    let received = receive(&mut machine, refused.to_message());
    assert_eq!(received, Received::RetryLater("claude-api is away".into()));
    assert!(!machine.is_idle(), "the view was removed");
    assert!(rx.try_recv().is_err());
}

#[test]
fn messages_of_an_execution_without_a_view_are_ignored() {
    let mut machine = Machine::default();
    let output = Output::new(ExecutionId::random(), 9, "x");
    receive(&mut machine, output.to_message());
    assert_eq!(
        receive(&mut machine, Reply::result(77, Empty {}).to_message()),
        Received::Nothing
    );
    assert!(machine.is_idle() && !machine.has_events());
    assert!(machine.message(&"nonsense".into()).is_err());
}

#[tokio::test]
async fn a_failure_ends_every_request_and_every_run() {
    let mut machine = Machine::default();
    let (_, mut rx) = opened(&mut machine);
    let (tx, reply) = oneshot::channel();
    machine.request(PingParams {}.into(), tx);
    machine.fail(&Error::Closed);
    assert!(machine.is_idle());
    assert_eq!(reply.await.unwrap().unwrap_err(), Error::Closed);
    machine.deliver().await;
    assert_eq!(rx.recv().await.unwrap().unwrap_err(), Error::Closed);
}

#[tokio::test]
async fn messages_of_an_old_view_do_not_reach_the_new_one() {
    let mut machine = Machine::default();
    let (execute, _old) = opened(&mut machine);
    let first = sent(&mut machine);
    receive(&mut machine, answer(&first[0], status(&execute)));
    let (tx, mut rx) = mpsc::channel(16);
    let attach = AttachParams::from_start(id(&execute));
    let view = View::new(1, tx, 0, OnSlow::Wait);
    machine.open(id(&execute), view, attach.into());
    let second = sent(&mut machine);
    // Until the bridge answers the attach, its messages belong to the old view, which reaches byte
    // 9 and ends.
    let output = |offset: u64| Output::new(id(&execute), offset, "x").to_message();
    let mut end = status(&execute);
    end.state = State::Completed;
    let end = StatusUpdate {
        word: StatusWord::State(State::Completed),
        elapsed_ms: 1,
        upstream: None,
        status: end,
    };
    receive(&mut machine, output(9));
    receive(&mut machine, end.to_message());
    receive(&mut machine, answer(&second[0], status(&execute)));
    receive(&mut machine, output(0));
    let mut events = Vec::new();
    while machine.has_events() {
        machine.deliver().await;
    }
    while let Ok(item) = rx.try_recv() {
        events.push(item.unwrap());
    }
    assert!(
        matches!(
            events[..],
            [Event::Answer(_), Event::Output { offset: 0, .. }]
        ),
        "{events:?}"
    );
}

#[test]
fn an_abandoned_request_is_not_sent() {
    let mut machine = Machine::default();
    let cancel = |machine: &mut Machine| {
        let (tx, rx) = oneshot::channel();
        let params = ControlParams {
            control: Control::Cancel,
            execution_id: None,
        };
        machine.request(params.into(), tx);
        rx
    };
    drop(cancel(&mut machine));
    let answer = cancel(&mut machine);
    assert_eq!(sent(&mut machine).len(), 1);
    // An abandoned request is not repeated, and is no reason to reconnect.
    drop(answer);
    machine.lost("cut", Duration::ZERO);
    assert!(machine.is_idle());
    machine.connected(&"{}".into());
    assert_eq!(sent(&mut machine), Vec::<Value>::new());
}
