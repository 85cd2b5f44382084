//! Crashes and restarts: which events and ledgers are left, and what the next start does with them.

use super::*;

/// Each step leaves the files of a crash at one point; the next start must deliver exactly one
/// event, with the same id.
#[tokio::test]
async fn a_crash_at_any_point_loses_and_doubles_no_event() {
    type Step = fn(&Arc<Service>, ExecutionId);
    let steps: [(&str, Step); 4] = [
        ("while it ran", |_, _| ()),
        ("after the end was recorded", |service, id| {
            complete(service, id);
        }),
        ("after the event was written", |service, id| {
            service.report_webhook_end(&complete(service, id));
        }),
        ("during the delivery", |service, id| {
            service.report_webhook_end(&complete(service, id));
            let due = Due::take(&service.engine.webhooks, now());
            assert_eq!(due.flights.len(), 1);
        }),
    ];
    for (point, step) in steps {
        let dir = tempfile::tempdir().unwrap();
        let service = open_with(dir.path(), FLAGS);
        let id = stored(&service, body(URL));
        step(&service, id);
        drop(service);
        // Two starts: the first one crashes before it delivers.
        let service = open_with(dir.path(), FLAGS);
        service.recover().unwrap();
        drop(service);
        let service = open_with(dir.path(), FLAGS);
        service.recover().unwrap();
        let courier = Recorder::new(true);
        let deliveries = deliveries(&service, &courier, now);
        deliver_due(&deliveries).await;
        deliver_due(&deliveries).await;
        let expected = HashMap::from([(format!("evt_{id}_ended"), 1)]);
        assert_eq!(courier.counts(), expected, "{point}");
        let state = status(&service, id).state;
        let payload = courier.seen.lock().unwrap()[0].payload.clone();
        assert_eq!(payload["data"]["state"], state.as_str(), "{point}");
        assert_eq!(ledgers(dir.path()), 0, "{point}");
    }
}

#[tokio::test]
async fn a_crash_after_the_delivery_settles_the_status_without_a_second_one() {
    let dir = tempfile::tempdir().unwrap();
    let service = open_with(dir.path(), FLAGS);
    let id = stored(&service, body(URL));
    let ended = complete(&service, id);
    service.engine.webhooks.ended(&ended, now());
    let flight = Due::take(&service.engine.webhooks, now()).flights.remove(0);
    flight.settle(Some(&Delivered::Accepted), now());
    // Killed before the counts are in the status.
    assert_eq!(ledgers(dir.path()), 1);
    drop(service);
    let service = open_with(dir.path(), FLAGS);
    service.recover().unwrap();
    assert_eq!(service.engine.webhooks.pending(), 0);
    assert_eq!(status(&service, id).webhook.unwrap().delivered, 1);
    assert_eq!(ledgers(dir.path()), 0);
}

#[tokio::test]
async fn a_ledger_whose_execution_was_never_accepted_is_removed_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let service = open_with(dir.path(), FLAGS);
    let webhook = Webhook::new(URL);
    let id = ExecutionId::random();
    let subscription =
        Subscription::open(&service.engine.webhooks, id, None, &webhook, false).unwrap();
    subscription.write().unwrap();
    subscription.keep();
    drop(service);
    let service = open_with(dir.path(), FLAGS);
    assert!(service.engine.webhooks.has(id));
    service.recover().unwrap();
    assert!(!service.engine.webhooks.has(id));
    assert_eq!(ledgers(dir.path()), 0);
}
