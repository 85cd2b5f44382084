//! Reports of ends and stalls, delivered with a courier that records them.

use super::*;

#[tokio::test]
async fn an_execution_reports_its_end_once_and_its_status_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let service = open_with(dir.path(), FLAGS);
    let id = accept(&service, body(URL)).await.unwrap();
    let view = service.look_up(id).await.unwrap().into_option().unwrap();
    let shown = service.whole_status(&view).await.unwrap().webhook.unwrap();
    assert_eq!(shown, WebhookStatus::new(&Webhook::new(URL)));
    assert_eq!(shown.host, "hooks.example");
    // The registry is closed, so the execution waits.
    let live = service.live(id).unwrap();
    live.control(Control::Cancel).await.unwrap();
    assert_eq!(end(&service, id).await.state, State::Cancelled);
    let courier = Recorder::new(true);
    let deliveries = deliveries(&service, &courier, now);
    let view = service.look_up(id).await.unwrap().into_option().unwrap();
    let before = service.whole_status(&view).await.unwrap().webhook.unwrap();
    assert_eq!((before.pending, before.delivered), (1, 0));
    assert_eq!(deliver_due(&deliveries).await, None);
    let seen = courier.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].payload["type"], "execution.ended");
    assert_eq!(seen[0].payload["data"]["state"], "cancelled");
    let after = service.whole_status(&view).await.unwrap().webhook.unwrap();
    assert_eq!((after.pending, after.delivered), (0, 1));
    assert_eq!(
        after.last.as_ref().unwrap().result,
        WebhookOutcome::Accepted
    );
    assert_eq!(status(&service, id).webhook, Some(after), "it is on disk");
    assert_eq!(ledgers(dir.path()), 0);
}

#[tokio::test]
async fn a_deleted_execution_still_reports_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let service = open_with(dir.path(), FLAGS);
    let id = accept(&service, body(URL)).await.unwrap();
    let live = service.live(id).unwrap();
    live.control(Control::Cancel).await.unwrap();
    drop(live);
    end(&service, id).await;
    while service.live(id).is_some() {
        tokio::task::yield_now().await;
    }
    service.delete(&Caller::anyone(), id).await.unwrap();
    close(service).await;
    let service = open_with(dir.path(), FLAGS);
    service.recover().unwrap();
    let courier = Recorder::new(true);
    deliver_due(&deliveries(&service, &courier, now)).await;
    assert_eq!(courier.counts().len(), 1);
    assert_eq!(ledgers(dir.path()), 0);
}

#[tokio::test]
async fn a_receiver_that_is_away_for_a_minute_and_a_restart_gets_every_event_once() {
    let dir = tempfile::tempdir().unwrap();
    let service = open_with(dir.path(), FLAGS);
    let ids: Vec<_> = (0..5).map(|_| stored(&service, body(URL))).collect();
    drop(service);
    let courier = Recorder::new(false);
    let service = open_with(dir.path(), FLAGS);
    service.recover().unwrap();
    let away = deliveries(&service, &courier, shifted);
    let begun = shifted();
    let mut tries = 0;
    while shifted().duration_since(begun) < SignedDuration::from_secs(60) {
        let next = deliver_due(&away).await.expect("each is tried again");
        tries += 1;
        let wait = next.duration_since(shifted()).as_secs() + 1;
        OFFSET.fetch_add(wait.max(1), Ordering::SeqCst);
        assert!(tries < 200, "the delays grow");
    }
    assert!(tries >= 3, "{tries}");
    drop(away);
    drop(service);
    let service = open_with(dir.path(), FLAGS);
    service.recover().unwrap();
    courier.is_up.store(true, Ordering::SeqCst);
    let back = deliveries(&service, &courier, shifted);
    while let Some(next) = deliver_due(&back).await {
        let wait = next.duration_since(shifted()).as_secs() + 1;
        OFFSET.fetch_add(wait.max(1), Ordering::SeqCst);
    }
    let once = |id: &ExecutionId| (format!("evt_{id}_ended"), 1);
    assert_eq!(courier.counts(), ids.iter().map(once).collect());
    let late = shifted().duration_since(begun);
    assert!(late < SignedDuration::from_secs(300), "{late:?}");
    assert_eq!(ledgers(dir.path()), 0);
}

#[tokio::test]
async fn a_continuation_by_policy_reports_its_end_too() {
    let dir = tempfile::tempdir().unwrap();
    let service = open_with(dir.path(), FLAGS);
    let wanted = Body {
        on_interrupt: protocol::OnInterrupt::Continue,
        ..body(URL)
    };
    let id = stored(&service, wanted);
    service.recover().unwrap();
    let next = status(&service, id).continued_by.expect("a continuation");
    assert!(service.engine.webhooks.has(next));
    let live = service.live(next).unwrap();
    live.control(Control::Cancel).await.unwrap();
    end(&service, next).await;
    let courier = Recorder::new(true);
    deliver_due(&deliveries(&service, &courier, now)).await;
    let both = [id, next].map(|id| (format!("evt_{id}_ended"), 1));
    assert_eq!(courier.counts(), HashMap::from(both));
}

#[tokio::test]
async fn the_task_delivers_without_being_asked_and_stops_with_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let service = open_with(dir.path(), FLAGS);
    let courier = Recorder::new(true);
    let task =
        tokio::spawn(Arc::clone(&service).run_webhooks(Arc::clone(&courier) as Arc<dyn Courier>));
    let id = accept(&service, body(URL)).await.unwrap();
    let mut changes = service.engine.webhooks.changes();
    let live = service.live(id).unwrap();
    live.control(Control::Cancel).await.unwrap();
    end(&service, id).await;
    while service.engine.webhooks.has(id) {
        changes.changed().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(courier.counts().len(), 1);
    service.stop().await;
    tokio::time::timeout(Duration::from_secs(5), task)
        .await
        .expect("it stops")
        .unwrap();
}

#[tokio::test]
async fn a_stall_is_reported_while_the_execution_runs() {
    let dir = tempfile::tempdir().unwrap();
    let service = open_with(dir.path(), FLAGS);
    let wanted = Body {
        webhook: Some(Webhook {
            events: vec![WebhookEvent::Stalled],
            ..Webhook::new(URL)
        }),
        ..Body::new("x")
    };
    let id = accept(&service, wanted).await.unwrap();
    let stalled = status(&service, id);
    service.engine.webhooks.stalled(&stalled, now());
    let courier = Recorder::new(true);
    deliver_due(&deliveries(&service, &courier, now)).await;
    assert_eq!(
        courier.counts(),
        HashMap::from([(format!("evt_{id}_stalled_1"), 1)])
    );
    let view = service.look_up(id).await.unwrap().into_option().unwrap();
    let shown = service.whole_status(&view).await.unwrap().webhook.unwrap();
    assert_eq!((shown.pending, shown.delivered), (0, 1));
    assert_eq!(ledgers(dir.path()), 1, "it has not ended");
}
