//! The queue on a disk, with the time of the test.

use std::path::Path;
use std::sync::Arc;

use grants::Delivered;
use jiff::Timestamp;
use protocol::webhook::{WebhookEvent, WebhookOutcome};
use protocol::{ExecutionId, State, Status, Webhook};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn open(dir: &Path) -> Arc<Webhooks> {
    Webhooks::open(dir.join("webhooks")).unwrap()
}

/// Adds an execution with a webhook for every event, and returns its status.
fn subscribe(webhooks: &Arc<Webhooks>) -> Status {
    let id = ExecutionId::random();
    let webhook = Webhook {
        events: WebhookEvent::ALL.to_vec(),
        ..Webhook::new("https://hooks.example/x")
    };
    let subscription = Subscription::open(webhooks, id, Some("a"), &webhook, false).unwrap();
    subscription.write().unwrap();
    subscription.keep();
    let mut status = Status::queued(id, at(0), "default".into());
    status.state = State::Completed;
    status
}

/// Takes the only event that is due.
fn only(webhooks: &Arc<Webhooks>, now: Timestamp) -> Flight {
    let mut due = Due::take(webhooks, now);
    assert_eq!(due.flights.len(), 1);
    due.flights.remove(0)
}

fn failed() -> Delivered {
    Delivered::Failed {
        reason: "away".into(),
    }
}

#[test]
fn an_event_has_the_same_id_in_every_try_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let webhooks = open(dir.path());
    let status = subscribe(&webhooks);
    webhooks.ended(&status, at(0));
    let mut now = at(0);
    let mut deliveries = Vec::new();
    for _ in 0..4 {
        // A new process each time.
        let webhooks = open(dir.path());
        let flight = only(&webhooks, now);
        assert_eq!(flight.attempt() as usize, deliveries.len() + 1);
        deliveries.push(flight.delivery());
        let settled = flight.settle(Some(&failed()), now).unwrap();
        assert_eq!(settled.outcome, WebhookOutcome::Failed);
        let due = Due::take(&webhooks, now);
        assert!(due.flights.is_empty(), "the next try is later");
        now = due.next.unwrap();
    }
    assert!(deliveries.iter().all(|delivery| *delivery == deliveries[0]));
    assert_eq!(deliveries[0].principal.as_deref(), Some("a"));
    assert_eq!(deliveries[0].url, "https://hooks.example/x");
    let webhooks = open(dir.path());
    only(&webhooks, now).settle(Some(&Delivered::Accepted), now);
    let counts = webhooks.complete(status.execution_id).unwrap();
    assert_eq!((counts.pending, counts.delivered, counts.failed), (0, 1, 0));
    webhooks.remove(status.execution_id);
    assert!(!open(dir.path()).has(status.execution_id));
}

#[test]
fn a_delivery_without_a_result_is_repeated_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let webhooks = open(dir.path());
    let status = subscribe(&webhooks);
    webhooks.ended(&status, at(0));
    let lost = only(&webhooks, at(0));
    let restarted = open(dir.path());
    assert_eq!(only(&restarted, at(0)).delivery(), lost.delivery());
}

#[test]
fn a_delivery_that_nobody_could_try_keeps_its_event_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let webhooks = open(dir.path());
    let status = subscribe(&webhooks);
    webhooks.ended(&status, at(0));
    assert_eq!(only(&webhooks, at(0)).settle(None, at(1)), None);
    let again = only(&webhooks, at(1));
    assert_eq!(again.attempt(), 1);
    let settled = again.settle(None, at(86_400)).unwrap();
    assert_eq!(settled.outcome, WebhookOutcome::Expired);
}

#[test]
fn a_dropped_delivery_frees_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let webhooks = open(dir.path());
    let status = subscribe(&webhooks);
    webhooks.ended(&status, at(0));
    for _ in 0..100 {
        drop(only(&webhooks, at(0)));
    }
}

#[test]
fn a_subscription_that_is_dropped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let webhooks = open(dir.path());
    let id = ExecutionId::random();
    let webhook = Webhook::new("https://hooks.example/x");
    let subscription = Subscription::open(&webhooks, id, None, &webhook, false).unwrap();
    subscription.write().unwrap();
    assert!(webhooks.has(id));
    drop(subscription);
    assert!(!webhooks.has(id));
    assert!(!open(dir.path()).has(id));
}

#[test]
fn a_change_notifies_the_task_that_delivers() {
    let dir = tempfile::tempdir().unwrap();
    let webhooks = open(dir.path());
    let status = subscribe(&webhooks);
    let mut changes = webhooks.changes();
    changes.borrow_and_update();
    webhooks.stalled(&status, at(0));
    assert!(changes.has_changed().unwrap());
    changes.borrow_and_update();
    drop(only(&webhooks, at(0)));
    assert!(changes.has_changed().unwrap(), "a place is free");
}

#[test]
fn an_event_whose_write_failed_is_delivered_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let webhooks = open(dir.path());
    let status = subscribe(&webhooks);
    std::fs::remove_dir_all(dir.path().join("webhooks")).unwrap();
    webhooks.ended(&status, at(0));
    assert!(only(&webhooks, at(0)).delivery().id.ends_with("_ended"));
}
