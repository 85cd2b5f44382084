mod random;

use jiff::Timestamp;
use protocol::State;
use protocol::message::{AttachParams, Control};
use protocol::question::{Answered, Decision};
use protocol::rpc::OnSlow;
use serde_json::{Value, json};

use super::apply::SHORT_STATUS_BYTES;
use super::call::{Call, Target};
use super::*;
use crate::handover::Handover;
use crate::session::wire::events_part::EventsPart;
use crate::session::wire::list_page::ListPage;

/// An execute that the machine hands over.
#[derive(Debug, Clone)]
struct Job {
    token: Token,
    handover: Handover,
}

fn machine() -> Machine {
    Machine::new(
        "s".into(),
        Bounds {
            batch: 50,
            status_bytes: 64 * 1024,
            views: 5,
            session_bytes: 4 << 20,
            floor_bytes: 128 << 10,
        },
    )
}

fn status(id: ExecutionId, state: State, second: i64) -> Status {
    let created = Timestamp::from_second(second).unwrap();
    let mut status = Status::queued(id, created, "w".into());
    status.state = state;
    status
}

fn request(machine: &mut Machine, id: u64, name: &str, params: Value) -> Vec<Action> {
    let request = json!({"jsonrpc": "2.0", "id": id, "method": name, "params": params});
    machine.on_text(&request.to_string(), None)
}

fn job(actions: &[Action]) -> Job {
    match actions {
        [Action::Execute(token, handover)] => Job {
            token: *token,
            handover: handover.clone(),
        },
        other => panic!("{other:?}"),
    }
}

fn sent(action: &Action) -> Value {
    match action {
        Action::Send(text) => serde_json::from_str(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Sends an execute and lets claude-api accept it. Returns its id.
fn run(machine: &mut Machine, second: i64) -> ExecutionId {
    let job = job(&request(machine, 1, "execute", json!({"prompt": "x"})));
    let accepted = status(job.handover.id, State::Running, second);
    let actions = machine.on_executed(job.token, Ok(accepted));
    assert_eq!(sent(&actions[0])["result"]["state"], "running");
    assert!(matches!(actions[1], Action::View(..)));
    job.handover.id
}

fn target(actions: &[Action]) -> Target {
    match actions {
        [Action::Call(_, Call::Status(target) | Call::Control(_, target))] => target.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_lane_is_the_session_unless_the_client_names_one() {
    let mut machine = machine();
    for (params, lane) in [
        (json!({"prompt": "x"}), "s"),
        (json!({"prompt": "x", "lane": "mine"}), "mine"),
    ] {
        let job = job(&request(&mut machine, 1, "execute", params));
        let body: Value = serde_json::from_slice(&job.handover.body).unwrap();
        assert_eq!(body["lane"], lane);
        assert_eq!(body.get("executionId"), None);
    }
}

#[test]
fn the_default_execution_is_the_oldest_live_one_by_creation() {
    let mut machine = machine();
    let young = run(&mut machine, 20);
    let old = run(&mut machine, 10);
    let control = || json!({"type": "PAUSE"});
    assert_eq!(
        target(&request(&mut machine, 3, "control", control())),
        Target::FirstLive(vec![old, young])
    );
    machine.on_view_ended(2);
    assert_eq!(
        target(&request(&mut machine, 3, "control", control())),
        Target::FirstLive(vec![young])
    );
    // A detached execution may have ended meanwhile.
    request(&mut machine, 4, "detach", json!({"executionId": young}));
    let third = run(&mut machine, 30);
    assert_eq!(
        target(&request(&mut machine, 5, "status", json!({}))),
        Target::FirstLive(vec![young, third])
    );
    let ended = status(young, State::Failed, 20);
    machine.on_called(99, Ok(CallReply::Status(Box::new(ended))), &[]);
    assert_eq!(
        target(&request(&mut machine, 6, "status", json!({}))),
        Target::FirstLive(vec![third])
    );
    machine.on_view_ended(3);
    let actions = request(&mut machine, 7, "status", json!({}));
    assert_eq!(sent(&actions[0])["error"]["code"], -32003);
}

#[test]
fn a_cancel_of_an_unanswered_execute_stops_its_retries_and_waits_for_it() {
    let mut machine = machine();
    let job = job(&request(&mut machine, 1, "execute", json!({"prompt": "x"})));
    let actions = request(&mut machine, 2, "control", json!({"type": "CANCEL"}));
    assert!(matches!(actions[..], [Action::StopRetrying(token)] if token == job.token));
    assert!(
        request(
            &mut machine,
            3,
            "status",
            json!({"executionId": job.handover.id})
        )
        .is_empty()
    );
    assert_eq!(
        sent(&request(&mut machine, 4, "ping", json!({}))[0])["id"],
        4
    );
    let error = RpcError::new(-32005, "cancelled", "x").with("accepted", false);
    let actions = machine.on_executed(job.token, Err(error));
    let codes: Vec<_> = actions
        .iter()
        .map(|a| sent(a)["error"]["code"].clone())
        .collect();
    assert_eq!(codes, [-32005, -32003, -32003]);
}

#[test]
fn a_call_that_waited_for_an_execute_is_made_after_its_answer() {
    let mut machine = machine();
    let job = job(&request(&mut machine, 1, "execute", json!({"prompt": "x"})));
    request(
        &mut machine,
        2,
        "control",
        json!({"type": "PAUSE", "executionId": job.handover.id}),
    );
    let accepted = status(job.handover.id, State::Queued, 1);
    let actions = machine.on_executed(job.token, Ok(accepted));
    assert_eq!(sent(&actions[0])["id"], 1);
    assert!(matches!(
        actions[1..],
        [
            Action::View(..),
            Action::Call(_, Call::Control(Control::Pause, _))
        ]
    ));
}

#[test]
fn views_of_a_batch_begin_after_the_array_of_answers() {
    let mut machine = machine();
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "execute", "params": {"prompt": "x"}},
        {"jsonrpc": "2.0", "id": 2, "method": "execute", "params": {"prompt": "y"}},
        7,
    ]);
    let actions = machine.on_text(&batch.to_string(), None);
    let jobs: Vec<_> = actions
        .into_iter()
        .map(|a| match a {
            Action::Execute(token, handover) => Job { token, handover },
            other => panic!("{other:?}"),
        })
        .collect();
    let first = status(jobs[0].handover.id, State::Running, 1);
    assert!(machine.on_executed(jobs[0].token, Ok(first)).is_empty());
    let second = status(jobs[1].handover.id, State::Queued, 1);
    let actions = machine.on_executed(jobs[1].token, Ok(second));
    assert_eq!(sent(&actions[0]).as_array().unwrap().len(), 3);
    assert!(matches!(
        actions[1..],
        [Action::View(1, _), Action::View(2, _)]
    ));
}

#[test]
fn attaching_again_replaces_the_view() {
    let mut machine = machine();
    let id = run(&mut machine, 1);
    let attach = AttachParams {
        execution_id: id,
        offset: Some(3),
        on_slow: OnSlow::Wait,
    };
    let actions = request(
        &mut machine,
        5,
        "attach",
        json!({"executionId": id, "offset": 3}),
    );
    let Action::Call(token, Call::Attach(_)) = actions[0] else {
        panic!("{actions:?}")
    };
    let now = Box::new(status(id, State::Running, 1));
    let actions = machine.on_called(token, Ok(CallReply::Attach(now, attach)), &[]);
    assert!(matches!(
        actions[..],
        [Action::Send(_), Action::Unview(1), Action::View(2, _)]
    ));
    machine.on_view_ended(1);
    assert!(
        !machine.executions.oldest_first().is_empty(),
        "the end of the old view does not end the new one"
    );
}

#[test]
fn a_refused_notification_is_reported() {
    let mut machine = machine();
    let text = r#"{"jsonrpc":"2.0","method":"execute","params":
        {"executionId":"018f4e2a-7b3c-7def-8123-456789abcdef"}}"#;
    let message = sent(&machine.on_text(text, None)[0]);
    assert_eq!(message["method"], "statusUpdate");
    assert_eq!(message["params"]["status"], "FAILED");
    assert_eq!(message["params"]["reason"], "rejected");
    assert_eq!(message["params"].get("executionId"), None);
    assert_eq!(message["params"]["error"]["code"], -32602);
    assert_eq!(
        message["params"]["error"]["data"]["executionId"],
        "018f4e2a-7b3c-7def-8123-456789abcdef"
    );
    let text = r#"{"jsonrpc":"2.0","method":"execute","params":7}"#;
    let message = sent(&machine.on_text(text, None)[0]);
    assert_eq!(message["params"]["reason"], "rejected");
    assert_eq!(message["params"]["error"]["code"], -32600);
    let text = r#"{"jsonrpc":"2.0","method":"control","params":{"type":"CANCEL"}}"#;
    assert_eq!(
        sent(&machine.on_text(text, None)[0])["params"]["code"],
        "rejected"
    );
}

#[test]
fn only_executions_with_cancel_on_disconnect_depart() {
    let mut machine = machine();
    run(&mut machine, 1);
    assert!(machine.departing().is_empty());
    let params = json!({"prompt": "x", "onDisconnect": "cancel"});
    let job = job(&request(&mut machine, 1, "execute", params));
    assert!(job.handover.cancel_on_disconnect);
    let accepted = status(job.handover.id, State::Running, 1);
    machine.on_executed(job.token, Ok(accepted));
    assert_eq!(machine.departing(), [job.handover.id]);
    let ended = status(job.handover.id, State::Completed, 1);
    machine.on_called(98, Ok(CallReply::Status(Box::new(ended))), &[]);
    assert!(machine.departing().is_empty());
}

/// Returns the tokens and offsets of the inputs among these actions.
fn inputs(actions: &[Action]) -> Vec<(Token, u64)> {
    let input = |action: &Action| match action {
        Action::Call(token, Call::Input { offset, .. }) => Some((*token, *offset)),
        _ => None,
    };
    actions.iter().filter_map(input).collect()
}

#[test]
fn inputs_are_sent_one_at_a_time_in_order_and_delay_no_other_call() {
    let mut machine = machine();
    let actions = request(&mut machine, 9, "input", json!({"offset": 0, "data": ""}));
    assert_eq!(
        sent(&actions[0])["error"]["code"],
        -32003,
        "there is no execution"
    );
    let id = run(&mut machine, 1);
    let first = request(&mut machine, 2, "input", json!({"offset": 0, "data": "ab"}));
    let [(one, 0)] = inputs(&first)[..] else {
        panic!("{first:?}")
    };
    let named = json!({"executionId": id.to_string(), "offset": 2, "data": "c"});
    assert!(request(&mut machine, 3, "input", named).is_empty());
    let last = json!({"offset": 3, "data": "", "eof": true});
    assert!(request(&mut machine, 4, "input", last).is_empty());
    assert_eq!(
        target(&request(&mut machine, 5, "status", json!({}))),
        Target::FirstLive(vec![id])
    );
    let actions = machine.on_called(one, Ok(CallReply::Input(2)), &[]);
    assert_eq!(sent(&actions[0])["result"], json!({"accepted": 2}));
    let [(two, 2)] = inputs(&actions)[..] else {
        panic!("{actions:?}")
    };
    // An input that fails does not delay the next one.
    let actions = machine.on_called(two, Err(no_live_execution()), &[]);
    assert_eq!(sent(&actions[0])["id"], 3);
    let [(three, 3)] = inputs(&actions)[..] else {
        panic!("{actions:?}")
    };
    let actions = machine.on_called(three, Ok(CallReply::Input(3)), &[]);
    assert_eq!(actions.len(), 1);
    let next = request(&mut machine, 6, "input", json!({"offset": 3, "data": ""}));
    assert_eq!(inputs(&next).len(), 1);
}

#[test]
fn an_input_waits_for_its_execute() {
    let mut machine = machine();
    let job = job(&request(&mut machine, 1, "execute", json!({"prompt": "x"})));
    let actions = request(&mut machine, 2, "input", json!({"offset": 0, "data": "a"}));
    assert!(actions.is_empty());
    let accepted = status(job.handover.id, State::Queued, 1);
    let actions = machine.on_executed(job.token, Ok(accepted));
    assert_eq!(inputs(&actions).len(), 1);
}

#[test]
fn bytes_of_unanswered_input_are_bounded() {
    let mut machine = machine();
    run(&mut machine, 1);
    let large = "x".repeat(super::inputs::UNANSWERED_BYTES);
    let one = request(
        &mut machine,
        2,
        "input",
        json!({"offset": 0, "data": large}),
    );
    let more = request(&mut machine, 3, "input", json!({"offset": 1, "data": "y"}));
    assert_eq!(sent(&more[0])["error"]["code"], -32004);
    machine.on_called(inputs(&one)[0].0, Ok(CallReply::Input(1)), &[]);
    let more = request(&mut machine, 4, "input", json!({"offset": 1, "data": "y"}));
    assert_eq!(inputs(&more).len(), 1);
}

/// An empty input costs memory too.
/// Returns the tokens of the answers among these actions.
fn answers(actions: &[Action]) -> Vec<Token> {
    let answer = |action: &Action| match action {
        Action::Call(token, Call::Answer { .. }) => Some(*token),
        _ => None,
    };
    actions.iter().filter_map(answer).collect()
}

fn answer(id: ExecutionId, message: &str) -> Value {
    json!({"executionId": id, "questionId": uuid::Uuid::nil(), "decision": "deny",
        "message": message})
}

fn answered() -> Result<CallReply, RpcError> {
    Ok(CallReply::Answered(Answered {
        question_id: uuid::Uuid::nil(),
        decision: Decision::Deny,
        principal: None,
    }))
}

#[test]
fn answers_to_questions_wait_for_no_other_call_and_their_bytes_are_bounded() {
    let mut machine = machine();
    let id = run(&mut machine, 1);
    let input = json!({"executionId": id, "offset": 0, "data": "{}"});
    assert_eq!(inputs(&request(&mut machine, 2, "input", input)).len(), 1);
    let megabyte = "x".repeat((1 << 20) - 64);
    let mut open = Vec::new();
    for number in 0..16 {
        let actions = request(&mut machine, 10 + number, "answer", answer(id, &megabyte));
        open.append(&mut answers(&actions));
    }
    assert_eq!(open.len(), 16);
    let actions = request(&mut machine, 30, "answer", answer(id, &megabyte));
    let error = &sent(&actions[0])["error"];
    assert_eq!(
        (&error["code"], &error["data"]["reason"]),
        (&json!(-32004), &json!("too_many_unanswered"))
    );
    for token in open {
        let actions = machine.on_called(token, answered(), &[]);
        assert_eq!(sent(&actions[0])["result"]["decision"], "deny");
    }
    assert_eq!(machine.inputs().len(), 1, "only the input is unanswered");
    let actions = request(&mut machine, 31, "answer", answer(id, &megabyte));
    assert_eq!(answers(&actions).len(), 1);
}

#[test]
fn an_answer_waits_for_its_execute_and_is_not_sent_once_it_is_refused() {
    let mut machine = machine();
    let id = ExecutionId::random();
    let params = json!({"prompt": "x", "executionId": id});
    let job = job(&request(&mut machine, 1, "execute", params));
    assert!(request(&mut machine, 2, "answer", answer(id, "no")).is_empty());
    assert!(request(&mut machine, 3, "answer", answer(id, "no")).is_empty());
    let mut waiting: Vec<_> = machine.inputs().keys().copied().collect();
    waiting.sort_unstable();
    // The session has no memory for the first one.
    let error = RpcError::new(code::QUEUE_FULL, "inbound_bytes", "full");
    let actions = machine.on_called(waiting[0], Err(error), &[]);
    assert_eq!(sent(&actions[0])["error"]["code"], -32004);
    let actions = machine.on_executed(job.token, Ok(status(id, State::Running, 1)));
    assert_eq!(answers(&actions), [waiting[1]]);
}

#[test]
fn a_session_with_many_unanswered_inputs_is_not_read_further() {
    let mut machine = machine();
    run(&mut machine, 1);
    let empty =
        |machine: &mut Machine, id| request(machine, id, "input", json!({"offset": 0, "data": ""}));
    let first = empty(&mut machine, 2);
    for id in 3..2000 {
        assert!(empty(&mut machine, id).is_empty());
    }
    assert!(machine.is_full());
    let mut open = inputs(&first);
    while let Some((token, _)) = open.pop() {
        let actions = machine.on_called(token, Ok(CallReply::Input(0)), &[]);
        open = inputs(&actions);
    }
    assert!(!machine.is_full() && machine.inputs().is_empty());
}

fn stops(actions: &[Action]) -> Vec<Token> {
    let stop = |action: &Action| match action {
        Action::StopRetrying(token) => Some(*token),
        _ => None,
    };
    actions.iter().filter_map(stop).collect()
}

fn execute_as(machine: &mut Machine, id: u64, execution: ExecutionId) -> Job {
    let params = json!({"prompt": "x", "executionId": execution});
    job(&request(machine, id, "execute", params))
}

fn cancel_of(machine: &mut Machine, id: u64, execution: ExecutionId) -> Vec<Action> {
    let params = json!({"type": "CANCEL", "executionId": execution});
    request(machine, id, "control", params)
}

#[test]
fn a_cancel_stops_the_retries_of_every_execute_of_its_id_and_waits_for_the_last() {
    let mut machine = machine();
    let id = ExecutionId::random();
    let jobs = [
        execute_as(&mut machine, 1, id),
        execute_as(&mut machine, 2, id),
    ];
    let actions = cancel_of(&mut machine, 3, id);
    assert_eq!(stops(&actions), [jobs[0].token, jobs[1].token]);
    let refused = || RpcError::new(-32005, "cancelled", "x").with("accepted", false);
    assert_eq!(machine.on_executed(jobs[0].token, Err(refused())).len(), 1);
    let actions = machine.on_executed(jobs[1].token, Err(refused()));
    // The client chose the id, so claude-api may have an earlier execution with it.
    assert!(matches!(
        actions[..],
        [
            Action::Send(_),
            Action::Call(_, Call::Control(Control::Cancel, Target::One(_)))
        ]
    ));
}

#[test]
fn the_default_execution_is_the_pending_one_when_none_is_live() {
    let mut machine = machine();
    let ended = run(&mut machine, 1);
    let pending = job(&request(&mut machine, 2, "execute", json!({"prompt": "y"})));
    let actions = request(&mut machine, 3, "control", json!({"type": "CANCEL"}));
    let [Action::Call(token, call)] = &actions[..] else {
        panic!("{actions:?}")
    };
    let nothing = CallReply::NothingLive(call.clone());
    let actions = machine.on_called(*token, Ok(nothing), &[ended]);
    assert_eq!(stops(&actions), [pending.token]);
    let accepted = status(pending.handover.id, State::Queued, 2);
    let actions = machine.on_executed(pending.token, Ok(accepted));
    assert_eq!(target(&actions[2..]), Target::One(pending.handover.id));
    let actions = request(&mut machine, 4, "status", json!({}));
    let [Action::Call(token, call)] = &actions[..] else {
        panic!("{actions:?}")
    };
    let nothing = CallReply::NothingLive(call.clone());
    let actions = machine.on_called(*token, Ok(nothing), &[pending.handover.id]);
    assert_eq!(sent(&actions[0])["error"]["code"], -32003);
}

fn attach_to(
    machine: &mut Machine,
    request_id: u64,
    id: ExecutionId,
    offset: u64,
) -> (Token, AttachParams) {
    let params = json!({"executionId": id, "offset": offset});
    match request(machine, request_id, "attach", params)[..] {
        [Action::Call(token, Call::Attach(attach))] => (token, attach),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn requests_about_one_view_take_effect_in_their_order() {
    let mut machine = machine();
    let id = ExecutionId::random();
    let attached = |(token, attach)| {
        let now = Box::new(status(id, State::Running, 1));
        (token, Ok(CallReply::Attach(now, attach)))
    };
    // The second reply arrives first.
    let first = attach_to(&mut machine, 1, id, 0);
    let second = attach_to(&mut machine, 2, id, 4);
    let (token, result) = attached(second);
    assert!(machine.on_called(token, result, &[]).is_empty());
    let (token, result) = attached(first);
    let actions = machine.on_called(token, result, &[]);
    let [
        Action::Send(_),
        Action::View(1, _),
        Action::Send(_),
        Action::Unview(1),
        Action::View(2, start),
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(start.offset, Some(4));
    // A detach after an attach.
    let third = attach_to(&mut machine, 3, id, 0);
    assert!(request(&mut machine, 4, "detach", json!({"executionId": id})).is_empty());
    let (token, result) = attached(third);
    let actions = machine.on_called(token, result, &[]);
    assert!(matches!(actions.last(), Some(Action::Unview(3))));
    assert_eq!(sent(&actions[3])["id"], 4);
}

#[test]
fn a_view_that_a_batch_held_back_does_not_undo_a_later_detach() {
    let mut machine = machine();
    let id = ExecutionId::random();
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "attach", "params": {"executionId": id}},
        {"jsonrpc": "2.0", "id": 2, "method": "status", "params": {"executionId": id}},
    ]);
    let actions = machine.on_text(&batch.to_string(), None);
    let [
        Action::Call(one, Call::Attach(attach)),
        Action::Call(two, _),
    ] = actions[..]
    else {
        panic!("{actions:?}")
    };
    let now = || Box::new(status(id, State::Running, 1));
    let attached = CallReply::Attach(now(), attach);
    assert!(machine.on_called(one, Ok(attached), &[]).is_empty());
    let detached = request(&mut machine, 3, "detach", json!({"executionId": id}));
    assert_eq!(sent(&detached[0])["result"], json!({}));
    let actions = machine.on_called(two, Ok(CallReply::Status(now())), &[]);
    assert!(matches!(actions[..], [Action::Send(_)]), "{actions:?}");
    let (token, attach) = attach_to(&mut machine, 4, id, 0);
    let actions = machine.on_called(token, Ok(CallReply::Attach(now(), attach)), &[]);
    assert!(matches!(actions[1], Action::View(..)));
}

#[test]
fn views_of_a_session_are_bounded() {
    let mut machine = machine();
    let ids: Vec<_> = (0..5).map(|n| run(&mut machine, n)).collect();
    for (name, params) in [
        ("execute", json!({"prompt": "x"})),
        ("attach", json!({"executionId": ExecutionId::random()})),
    ] {
        let error = sent(&request(&mut machine, 1, name, params)[0])["error"].clone();
        assert_eq!(error["code"], -32004);
        assert_eq!(error["data"]["reason"], "too_many_views");
        assert_eq!(error["data"]["limit"], 5);
    }
    // A second view of a viewed execution replaces the first, so it does not count.
    let (token, attach) = attach_to(&mut machine, 2, ids[0], 0);
    let now = Box::new(status(ids[0], State::Running, 0));
    machine.on_called(token, Ok(CallReply::Attach(now, attach)), &[]);
    request(&mut machine, 3, "detach", json!({"executionId": ids[0]}));
    let job = job(&request(&mut machine, 4, "execute", json!({"prompt": "x"})));
    let next = request(&mut machine, 5, "execute", json!({"prompt": "x"}));
    assert_eq!(
        sent(&next[0])["error"]["code"],
        -32004,
        "a requested view counts"
    );
    let error = RpcError::new(-32004, "queue_full", "x");
    machine.on_executed(job.token, Err(error));
    assert!(matches!(
        request(&mut machine, 6, "execute", json!({"prompt": "x"}))[..],
        [Action::Execute(..)]
    ));
}

#[test]
fn requests_that_wait_for_an_execute_are_bounded_and_are_no_open_calls() {
    let mut machine = machine();
    let job = job(&request(&mut machine, 1, "execute", json!({"prompt": "x"})));
    let status_of = json!({"executionId": job.handover.id});
    for n in 0..1024 {
        assert!(!machine.is_full());
        assert!(request(&mut machine, n, "status", status_of.clone()).is_empty());
    }
    assert_eq!(machine.open_calls(), 0);
    assert!(
        machine.is_full(),
        "no more requests are read, and none is refused"
    );
    let accepted = status(job.handover.id, State::Queued, 1);
    let mut actions = machine.on_executed(job.token, Ok(accepted));
    // Only the queries that have room start; a control does not wait for them.
    assert_eq!(machine.open_calls(), 32);
    let cancel = json!({"type": "CANCEL", "executionId": job.handover.id});
    actions.extend(request(&mut machine, 3000, "control", cancel));
    assert_eq!(machine.open_calls(), 33);
    let mut answered = 0;
    while let Some(action) = actions.pop() {
        match action {
            Action::Call(token, _) => {
                let status = Box::new(status(job.handover.id, State::Queued, 1));
                actions.extend(machine.on_called(token, Ok(CallReply::Status(status)), &[]));
            }
            Action::Send(_) => answered += 1,
            Action::View(..) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answered, 1 + 1024 + 1);
    assert_eq!(machine.open_calls(), 0);
}

/// Lists and statuses in a batch are answered, not refused with -32004.
#[test]
fn lists_of_a_batch_are_cut_to_equal_parts_of_one_message() {
    let mut machine = machine();
    let job = job(&request(&mut machine, 1, "execute", json!({"prompt": "x"})));
    let entry = |id: u64, name: &str, params: Value| -> Value {
        json!({"jsonrpc": "2.0", "id": id, "method": name, "params": params})
    };
    let mut batch = vec![entry(2, "status", json!({"executionId": job.handover.id}))];
    batch.extend((3..8).map(|id| entry(id, "list", json!({}))));
    let mut calls = machine.on_text(&Value::from(batch).to_string(), None);
    let mut big = status(job.handover.id, State::Queued, 1);
    big.stderr_tail = "x".repeat(10_000);
    let big = String::from_utf8(big.to_json(64 * 1024)).unwrap();
    let page = || ListPage {
        executions: vec![(job.handover.id, big.clone()); 40],
        next: None,
        ..ListPage::default()
    };
    let mut lists = 0;
    while let Some(call) = calls.pop() {
        let Action::Call(token, Call::List(_)) = call else {
            panic!("{call:?}");
        };
        lists += 1;
        calls.extend(machine.on_called(token, Ok(CallReply::Page(Box::new(page()))), &[]));
        assert!(machine.pledged_bytes() <= machine.bounds.session_bytes / 2);
    }
    assert_eq!(lists, 5);
    let accepted = status(job.handover.id, State::Queued, 1);
    let actions = machine.on_executed(job.token, Ok(accepted.clone()));
    let Some(Action::Call(token, _)) = actions.last() else {
        panic!("{actions:?}");
    };
    let reply = CallReply::Status(Box::new(accepted));
    let actions = machine.on_called(*token, Ok(reply), &[]);
    let Action::Send(text) = &actions[0] else {
        panic!("{actions:?}");
    };
    assert!(
        text.len() <= protocol::SERVER_MESSAGE_BYTES,
        "{}",
        text.len()
    );
    let answers = sent(&actions[0]);
    let pages = answers.as_array().unwrap().iter();
    let pages = pages.filter(|a| a["result"]["next"] == job.handover.id.to_string());
    assert_eq!(pages.count(), 5);
    assert_eq!(machine.pledged_bytes(), 0);
}

/// A control is made at once, but its answer is short while the client has much to read.
#[test]
fn a_client_with_many_unread_answers_is_not_read_and_gets_short_answers() {
    let mut machine = machine();
    let id = run(&mut machine, 1);
    let status_of = json!({"executionId": id});
    let [Action::Call(token, _)] = request(&mut machine, 2, "status", status_of.clone())[..] else {
        panic!("no call");
    };
    machine.set_unsent(1 << 20, true);
    assert!(machine.is_full());
    machine.set_unsent(4 << 20, false);
    assert!(machine.is_full());
    let mut long = status(id, State::Running, 1);
    long.stderr_tail = "x".repeat(16_000);
    let actions = machine.on_called(token, Ok(CallReply::Status(Box::new(long))), &[]);
    let [Action::Send(text)] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert!(text.len() <= SHORT_STATUS_BYTES + 64, "{}", text.len());
    // A query waits while the common part of the outbound budget is spent. A single query is made.
    machine.set_unsent(1, true);
    let resume = json!({"type": "RESUME", "executionId": id});
    let [Action::Call(resumed, _)] = request(&mut machine, 3, "control", resume)[..] else {
        panic!("no call");
    };
    assert!(request(&mut machine, 4, "list", json!({})).is_empty());
    let resumed_status = Ok(CallReply::Status(Box::new(status(id, State::Running, 1))));
    assert!(matches!(
        machine.on_called(resumed, resumed_status, &[])[..],
        [Action::Send(_)]
    ));
    machine.set_unsent(0, true);
    assert!(matches!(
        machine.start_queries()[..],
        [Action::Call(_, Call::List(_))]
    ));
}

#[test]
fn an_execute_whose_acceptance_is_unknown_departs() {
    let mut machine = machine();
    let params = json!({"prompt": "x", "onDisconnect": "cancel"});
    let job = job(&request(&mut machine, 1, "execute", params));
    let error = RpcError::new(-32005, "x", "x").with("accepted", "unknown");
    machine.on_executed(job.token, Err(error));
    assert_eq!(machine.departing(), [job.handover.id]);
}

#[test]
fn an_execute_whose_outcome_waits_for_its_turn_departs() {
    let mut machine = machine();
    let id = ExecutionId::random();
    attach_to(&mut machine, 1, id, 0);
    let params = json!({"prompt": "x", "executionId": id, "onDisconnect": "cancel"});
    let job = job(&request(&mut machine, 2, "execute", params));
    let accepted = status(id, State::Running, 1);
    assert!(machine.on_executed(job.token, Ok(accepted)).is_empty());
    assert!(
        machine
            .close()
            .iter()
            .all(|a| !matches!(a, Action::Call(..)))
    );
    assert_eq!(machine.departing(), [id]);
}

#[test]
fn an_attach_between_two_executes_of_one_id_waits_only_for_the_first() {
    let mut machine = machine();
    let id = ExecutionId::random();
    let params = json!({"prompt": "x", "executionId": id});
    let first = job(&request(&mut machine, 1, "execute", params.clone()));
    assert!(request(&mut machine, 2, "attach", json!({"executionId": id})).is_empty());
    let second = job(&request(&mut machine, 3, "execute", params));
    let accepted = || status(id, State::Running, 1);
    let actions = machine.on_executed(first.token, Ok(accepted()));
    let [
        _,
        Action::View(..),
        Action::Call(token, Call::Attach(attach)),
    ] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    assert!(machine.on_executed(second.token, Ok(accepted())).is_empty());
    let reply = CallReply::Attach(Box::new(accepted()), *attach);
    let answered: Vec<_> = machine
        .on_called(*token, Ok(reply), &[])
        .iter()
        .filter(|action| matches!(action, Action::Send(_)))
        .map(|action| sent(action)["id"].clone())
        .collect();
    assert_eq!(answered, [2, 3]);
}

#[test]
fn a_control_of_an_accepted_execution_does_not_wait_for_its_view() {
    let mut machine = machine();
    let id = ExecutionId::random();
    attach_to(&mut machine, 1, id, 0);
    let job = execute_as(&mut machine, 2, id);
    assert_eq!(stops(&cancel_of(&mut machine, 3, id)), [job.token]);
    let actions = machine.on_executed(job.token, Ok(status(id, State::Running, 1)));
    assert_eq!(target(&actions), Target::One(id));
    // The answer to the execute still waits for the attach, but a later status does not wait.
    let actions = request(&mut machine, 4, "status", json!({"executionId": id}));
    assert_eq!(target(&actions), Target::One(id));
}

#[test]
fn a_cancel_that_waits_for_a_refused_execute_is_sent_when_the_session_ends() {
    let mut machine = machine();
    let id = ExecutionId::random();
    attach_to(&mut machine, 1, id, 0);
    let job = execute_as(&mut machine, 2, id);
    cancel_of(&mut machine, 3, id);
    let error = RpcError::new(-32005, "cancelled", "x").with("accepted", "unknown");
    assert!(machine.on_executed(job.token, Err(error)).is_empty());
    let calls = machine.close();
    let cancel = |action: &Action| matches!(action, Action::Call(_, call) if call.is_cancel());
    assert!(calls.iter().any(cancel), "{calls:?}");
}
