//! The queue of webhooks in a service: what a client may ask for, what a crash at each point leaves,
//! and the deliveries with a courier that records them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use grants::{Delivered, Delivery};
use jiff::{SignedDuration, Timestamp};
use protocol::webhook::{WebhookEvent, WebhookOutcome, WebhookStatus};
use protocol::{State, Webhook};

use super::deliveries::Clock;
use super::*;
use crate::access::Caller;
use crate::config::Permissions;
use crate::execution::Control;
use crate::registry::Finish;
use crate::registry::record::{Chain, begin, first_status};
use crate::service::testing::{end, entry, open_with, status};
use crate::webhooks::Due;

const FLAGS: &[&str] = &["--webhook-hosts=hooks.example,b:8443"];
const URL: &str = "https://hooks.example/SECRET";

fn body(url: &str) -> Body {
    Body {
        webhook: Some(Webhook::new(url)),
        ..Body::new("x")
    }
}

/// A courier that answers with a plan, and records what it was given.
#[derive(Default)]
struct Recorder {
    seen: Mutex<Vec<Delivery>>,
    /// Whether there is a connection, and whether the receiver answers.
    is_connected: std::sync::atomic::AtomicBool,
    is_up: std::sync::atomic::AtomicBool,
}

impl Recorder {
    fn new(is_up: bool) -> Arc<Self> {
        let recorder = Self::default();
        recorder.is_connected.store(true, Ordering::SeqCst);
        recorder.is_up.store(is_up, Ordering::SeqCst);
        Arc::new(recorder)
    }

    /// Returns how often each event was delivered.
    fn counts(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for delivery in &*self.seen.lock().unwrap() {
            *counts.entry(delivery.id.clone()).or_default() += 1;
        }
        counts
    }
}

impl Courier for Recorder {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Option<Delivered>> {
        if !self.is_connected.load(Ordering::SeqCst) {
            return std::future::ready(None).boxed();
        }
        let answer = if self.is_up.load(Ordering::SeqCst) {
            self.seen.lock().unwrap().push(delivery);
            Delivered::Accepted
        } else {
            Delivered::Failed {
                reason: "away".to_owned(),
            }
        };
        std::future::ready(Some(answer)).boxed()
    }
}

/// The time of the tests, in seconds after the real time at the first use.
static OFFSET: AtomicI64 = AtomicI64::new(0);

fn shifted() -> Timestamp {
    now() + SignedDuration::from_secs(OFFSET.load(Ordering::SeqCst))
}

fn deliveries(service: &Arc<Service>, courier: &Arc<Recorder>, clock: Clock) -> Deliveries {
    let courier = Arc::clone(courier) as Arc<dyn Courier>;
    Deliveries::new(Arc::clone(service), courier, clock)
}

/// Starts the deliveries that are due, and waits for their results, until none is due. Returns when
/// the next one is.
async fn deliver_due(deliveries: &Deliveries) -> Option<Timestamp> {
    loop {
        deliveries.start_due();
        deliveries.tasks.close();
        deliveries.tasks.wait().await;
        deliveries.tasks.reopen();
        let webhooks = &deliveries.service.engine.webhooks;
        let due = Due::take(webhooks, (deliveries.clock)());
        // One receiver has four places, so a fifth event waits for one of them.
        if due.flights.is_empty() {
            return due.next;
        }
    }
}

/// Drops a service, and waits until its tasks have ended, as a restart does.
async fn close(service: Arc<Service>) {
    let rest = Arc::downgrade(&service);
    drop(service);
    while rest.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}

/// Accepts an execution through the service, and returns its id.
async fn accept(service: &Arc<Service>, body: Body) -> Result<ExecutionId, Problem> {
    let id = ExecutionId::random();
    let accepted = service.accept(&Caller::anyone(), id, body, ()).await;
    accepted.map(|_| id)
}

/// Creates the files of a running execution without an owner, as a crash leaves them.
fn stored(service: &Service, body: Body) -> ExecutionId {
    let id = ExecutionId::random();
    let accepted = Accepted {
        principal: None,
        body,
        permissions: Permissions::default(),
        conversation: id.to_string(),
        idle_timeout_ms: 1000,
        chain: Chain::default(),
        trace: None,
    };
    let registry = &service.engine.registry;
    let mut first = first_status(id, &accepted);
    let at = first.created_at;
    begin(&mut first, at);
    let id_lock = registry.lock_id(id).now_or_never().expect("a free id");
    let subscription = service.subscribe(id, &accepted).unwrap();
    if let Some(subscription) = &subscription {
        subscription.write().unwrap();
    }
    let digest = accepted.body.digest();
    registry
        .accept(&id_lock, &accepted, digest, &first)
        .unwrap();
    if let Some(subscription) = subscription {
        subscription.keep();
    }
    id
}

/// Records that an execution has completed, and returns its terminal status.
fn complete(service: &Service, id: ExecutionId) -> Status {
    let mut status = status(service, id);
    status.state = State::Completed;
    status.ended_at = Some(now());
    let registry = &service.engine.registry;
    let finish = registry.finish(&entry(service, id), &status, None);
    assert_eq!(finish.unwrap(), Finish::Recorded);
    status
}

/// Returns the ledgers on disk.
fn ledgers(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("spool/webhooks"))
        .unwrap()
        .count()
}

#[tokio::test]
async fn a_webhook_is_refused_unless_the_operator_lists_its_host() {
    let dir = tempfile::tempdir().unwrap();
    let service = open_with(dir.path(), FLAGS);
    for (url, word) in [
        ("https://other.example/", "other.example"),
        ("https://hooks.example:8443/", "hooks.example:8443"),
        ("https://b/SECRET", "list of receivers"),
    ] {
        let problem = accept(&service, body(url)).await.unwrap_err();
        assert_eq!(problem.kind, ProblemType::NotAllowed, "{url}");
        assert!(problem.detail.contains(word), "{}", problem.detail);
        assert!(!problem.detail.contains("SECRET"), "{}", problem.detail);
    }
    let problem = accept(&service, body("http://hooks.example/"))
        .await
        .unwrap_err();
    assert_eq!(problem.kind, ProblemType::InvalidBody);
    assert_eq!(ledgers(dir.path()), 0);
    for url in [URL, "https://b:8443/x"] {
        accept(&service, body(url)).await.unwrap();
    }
    let other = tempfile::tempdir().unwrap();
    let service = open_with(other.path(), &[]);
    let problem = accept(&service, body(URL)).await.unwrap_err();
    assert_eq!(problem.kind, ProblemType::NotAllowed);
    assert!(
        problem.detail.contains("sends no webhooks"),
        "{}",
        problem.detail
    );
}

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
async fn a_refused_acceptance_leaves_no_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let service = open_with(dir.path(), FLAGS);
    let id = ExecutionId::random();
    let first = service.accept(&Caller::anyone(), id, body(URL), ()).await;
    assert!(first.is_ok());
    let other = service
        .accept(&Caller::anyone(), id, body("https://b:8443/"), ())
        .await;
    assert_eq!(other.err().unwrap().kind, ProblemType::IdInUse);
    assert_eq!(ledgers(dir.path()), 1);
    let spool = dir.path().join("spool");
    // The records cannot be written.
    std::fs::remove_dir(spool.join("staging")).unwrap();
    assert!(accept(&service, body(URL)).await.is_err());
    assert_eq!(ledgers(dir.path()), 1);
}

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
async fn an_execution_beyond_the_bound_of_ledgers_is_refused_with_queue_full() {
    let dir = tempfile::tempdir().unwrap();
    let service = open_with(dir.path(), FLAGS);
    let webhook = Webhook::new(URL);
    for _ in 0..crate::webhooks::LEDGERS_MAX {
        let id = ExecutionId::random();
        let subscription = Subscription::open(&service.engine.webhooks, id, None, &webhook, false);
        subscription.unwrap().keep();
    }
    let problem = accept(&service, body(URL)).await.unwrap_err();
    assert_eq!(problem.kind, ProblemType::QueueFull);
    assert!(problem.detail.contains("webhook"), "{}", problem.detail);
    assert!(accept(&service, Body::new("x")).await.is_ok());
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
