//! The queue of webhooks in a service: what a client may ask for, what a crash at each point
//! leaves, and the deliveries with a courier that records them.

mod acceptance;
mod crashes;
mod reports;

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
        forked_from: None,
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
