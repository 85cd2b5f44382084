use protocol::State;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn ledger(events: &[WebhookEvent]) -> (Ledger, Status) {
    let id = ExecutionId::random();
    let webhook = Webhook {
        events: events.to_vec(),
        ..Webhook::new("https://hooks.example:8443/secret")
    };
    let mut status = Status::queued(id, at(0), "default".into());
    status.state = State::Running;
    (Ledger::new(id, Some("a"), &webhook), status)
}

#[test]
fn an_event_has_one_id_however_often_its_cause_is_reported() {
    let (mut ledger, status) = ledger(&[WebhookEvent::Ended, WebhookEvent::Stalled]);
    let id = status.execution_id;
    ledger.stall(&status, at(1));
    let first = format!("evt_{id}_stalled_1");
    ledger.settle(&first, AttemptResult::Accepted, at(2));
    ledger.stall(&status, at(3));
    ledger.end(&status, at(4));
    ledger.end(&status, at(5));
    ledger.stall(&status, at(6));
    let ids: Vec<_> = ledger
        .pending
        .iter()
        .map(|event| event.id.clone())
        .collect();
    assert_eq!(
        ids,
        ["stalled_2", "ended"].map(|end| format!("evt_{id}_{end}"))
    );
    assert!(
        ids.iter().all(|id| !id.contains('.')),
        "a period would forge a signed content"
    );
    let decoded: Ledger = serde_json::from_slice(&ledger.encode()).unwrap();
    assert_eq!(decoded, ledger);
}

#[test]
fn events_that_the_receiver_does_not_want_are_not_made() {
    let (mut ledger, status) = ledger(&[WebhookEvent::Stalled]);
    ledger.end(&status, at(1));
    assert!(ledger.is_complete());
    let (mut ledger, status) = self::ledger(&[WebhookEvent::Ended]);
    ledger.stall(&status, at(1));
    assert!(ledger.pending.is_empty() && !ledger.is_complete());
}

#[test]
fn an_execution_that_stalls_often_has_a_bounded_ledger() {
    let (mut ledger, status) = ledger(&WebhookEvent::ALL);
    for second in 0..100 {
        ledger.stall(&status, at(second));
    }
    ledger.end(&status, at(100));
    assert_eq!(ledger.pending.len(), 2);
}

#[test]
fn a_question_is_reported_again_when_the_receiver_has_accepted_the_last_one() {
    let (mut ledger, mut status) = ledger(&[WebhookEvent::Question]);
    let id = status.execution_id;
    status.questions_open = 2;
    ledger.ask(&status, at(1));
    ledger.ask(&status, at(2));
    ledger.stall(&status, at(2));
    let [first] = ledger.pending.as_slice() else {
        panic!("{ledger:?}");
    };
    assert_eq!(first.id, format!("evt_{id}_question_1"));
    assert_eq!(first.payload["type"], "execution.question");
    assert_eq!(first.payload["data"]["questionsOpen"], 2);
    let first = first.id.clone();
    ledger.settle(&first, AttemptResult::Accepted, at(3));
    ledger.ask(&status, at(4));
    assert_eq!(ledger.pending[0].id, format!("evt_{id}_question_2"));
    ledger.end(&status, at(5));
    ledger.ask(&status, at(6));
    assert_eq!(ledger.pending.len(), 1);
}

#[test]
fn a_ledger_of_an_earlier_version_is_read() {
    let (ledger, _) = ledger(&WebhookEvent::ALL);
    let mut json: Value = serde_json::from_slice(&ledger.encode()).unwrap();
    json.as_object_mut().unwrap().remove("questions").unwrap();
    assert_eq!(serde_json::from_value::<Ledger>(json).unwrap(), ledger);
}

#[test]
fn a_failed_event_is_tried_for_a_day_and_then_given_up() {
    let (mut ledger, status) = ledger(&[WebhookEvent::Ended]);
    ledger.end(&status, at(0));
    let id = ledger.pending[0].id.clone();
    let hour = Duration::from_secs(3600);
    let mut tries = 0;
    let outcome = loop {
        let now = ledger.pending[0].next_try;
        tries += 1;
        match ledger.settle(&id, AttemptResult::Failed(hour), now) {
            Some(WebhookOutcome::Failed) => {}
            other => break other,
        }
    };
    assert_eq!((tries, outcome), (25, Some(WebhookOutcome::Expired)));
    assert!(ledger.is_complete());
    let shown = ledger.status();
    assert_eq!((shown.pending, shown.delivered, shown.failed), (0, 0, 1));
    assert_eq!(shown.host, "hooks.example:8443");
    assert_eq!(
        ledger.settle(&id, AttemptResult::Accepted, at(0)),
        None,
        "it is settled"
    );
}

#[test]
fn a_delivery_that_was_not_tried_changes_nothing_for_a_day() {
    let (mut ledger, status) = ledger(&[WebhookEvent::Ended]);
    ledger.end(&status, at(0));
    let (id, before) = (ledger.pending[0].id.clone(), ledger.clone());
    assert_eq!(ledger.settle(&id, AttemptResult::NotMade, at(86_399)), None);
    assert_eq!(ledger, before);
    let outcome = ledger.settle(&id, AttemptResult::NotMade, at(86_400));
    assert_eq!(outcome, Some(WebhookOutcome::Expired));
}

#[test]
fn results_are_counted() {
    let (mut ledger, status) = ledger(&WebhookEvent::ALL);
    ledger.stall(&status, at(0));
    ledger.end(&status, at(1));
    let ids: Vec<_> = ledger
        .pending
        .iter()
        .map(|event| event.id.clone())
        .collect();
    ledger.settle(&ids[0], AttemptResult::Refused, at(2));
    ledger.settle(&ids[1], AttemptResult::Accepted, at(3));
    let shown = ledger.status();
    assert_eq!((shown.pending, shown.delivered, shown.failed), (0, 1, 1));
    let last = shown.last.unwrap();
    assert_eq!((last.at, last.event), (at(3), WebhookEvent::Ended));
    assert_eq!(last.result, WebhookOutcome::Accepted);
}
