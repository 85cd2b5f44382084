//! A receiver that is away for more than a minute, while both services that deliver are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cc_tests::credentials::with_credentials;
use cc_tests::harness::{Service, ServiceOptions, Stack, StackOptions, binary, until};
use cc_tests::webhooks::Receiver;
use protocol::webhook::WebhookSecret;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{credentials_arguments, pending, verified};
use crate::metrics::page;
use crate::support::{accept, ended, id};

/// How long the receiver refuses connections.
const OUTAGE: Duration = Duration::from_secs(61);
/// The time limit for all events to arrive after the outage. An attempt may fail just before
/// its end, and the next one follows after 80 s, and a quarter of that as jitter.
const ARRIVAL: Duration = Duration::from_secs(180);
/// The time limit of all other waits for a delivery. The third try follows 10 s after the second,
/// with jitter.
const PATIENCE: Duration = Duration::from_secs(40);

/// The services, and the executions that have ended with their final states.
struct World {
    stack: Stack,
    receiver: Receiver,
    credentials: Service,
    secret: String,
    ends: BTreeMap<String, String>,
}

impl World {
    /// Starts claude-api, the bridge and `credentials`. The receiver is closed.
    async fn start() -> Self {
        let receiver = Receiver::closed("localhost", || {
            "HTTP/1.1 204 X\r\ncontent-length: 0\r\n\r\n".to_owned()
        });
        let options = StackOptions::default().api(format!("--webhook-hosts={}", receiver.hosts()));
        let stack = Stack::with(with_credentials(options)).await;
        let secret = WebhookSecret::generate().expect("a secret").to_string();
        let mut arguments = vec!["--port=0".to_owned(), "--check-ms=0".to_owned()];
        arguments.extend(credentials_arguments(&stack, &receiver, &secret));
        // No execution of this test asks the model.
        let environment = [
            ("ANTHROPIC_API_KEY", "a-key"),
            ("ANTHROPIC_BASE_URL", "http://127.0.0.1:9"),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let credentials = Service::start(ServiceOptions {
            name: "credentials".to_owned(),
            program: binary("credentials"),
            arguments,
            environment: environment.map(owned).into(),
            log: stack.path("credentials.log"),
        })
        .await;
        Self {
            stack,
            receiver,
            credentials,
            secret,
            ends: BTreeMap::new(),
        }
    }

    /// Begins an execution that reports its end.
    async fn begin(&self, prompt: &str) -> String {
        let execution = id();
        let webhook = json!({"webhook": {"url": self.receiver.url("/hook")}});
        accept(&self.stack.http(), &execution, prompt, webhook).await;
        execution
    }

    /// Waits for the end of an execution, and adds it to the expected events.
    async fn end(&mut self, execution: &str, state: &str) {
        let end = ended(&self.stack.http(), execution).await;
        assert_eq!(end["state"], state, "{end}");
        self.ends.insert(execution.to_owned(), state.to_owned());
    }

    /// Begins an execution and waits for its success.
    async fn run(&mut self) -> String {
        let execution = self.begin("@say x").await;
        self.end(&execution, "completed").await;
        execution
    }

    /// Waits until this start of claude-api has counted a try that the receiver refused.
    async fn refused(&self) {
        until("a try that fails", PATIENCE, async || {
            let page = page(self.stack.api.addr()).await;
            let failed = [("event", "ended"), ("result", "failed")];
            let count = page.sum("claude_api_webhook_deliveries_total", &failed);
            (count > 0.0).then_some(())
        })
        .await;
    }

    /// Waits until this number of events is pending.
    async fn wait_pending(&self, count: usize) {
        let count = count.to_string();
        until("pending events", PATIENCE, async || {
            (pending(&self.stack).await == count).then_some(())
        })
        .await;
    }

    /// Asserts that each expected event has arrived once, and that its signature is good.
    async fn assert_arrived(&self) {
        let requests = self.receiver.requests();
        let ids: BTreeSet<_> = requests.iter().map(|r| &r.headers["webhook-id"]).collect();
        assert_eq!(
            (requests.len(), ids.len()),
            (self.ends.len(), self.ends.len())
        );
        let mut arrived = BTreeMap::new();
        for request in &requests {
            let payload = verified(request, &self.secret).await;
            assert_eq!(payload["type"], "execution.ended", "{payload}");
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            let data = &payload["data"];
            arrived.insert(text(&data["executionId"]), text(&data["state"]));
        }
        assert_eq!(arrived, self.ends);
        for execution in self.ends.keys() {
            let status = self.stack.http().status(execution).await.expect("a status");
            let webhook = &status["webhook"];
            assert_eq!(webhook["delivered"], 1, "{status}");
            assert_eq!(webhook["pending"], 0, "{status}");
            assert_eq!(webhook["last"]["result"], "accepted", "{status}");
        }
        self.credentials.assert_quiet();
    }
}

/// Executions end before and after each of the kills. The events have no order: each is retried
/// after delays of its own.
#[tokio::test]
async fn every_event_of_an_outage_of_a_minute_with_kills_arrives_exactly_once_and_signed() {
    let mut world = World::start().await;
    let closed = Instant::now();
    for _ in 0..2 {
        world.run().await;
    }
    world.refused().await;
    let running = world.begin("@silence 300").await;
    crate::support::until(&world.stack.http(), &running, "running", |status| {
        status["state"] == "running"
    })
    .await;
    world.credentials.kill();
    world.run().await;
    world.stack.crash_api().await;
    world.end(&running, "interrupted").await;
    // `credentials` is still away.
    world.run().await;
    world.credentials.start_again().await;
    world.refused().await;
    world.run().await;
    // This claude-api has retried events; another one takes over once more.
    world.stack.crash_api().await;
    world.run().await;
    world.wait_pending(world.ends.len()).await;
    tokio::time::sleep_until(closed + OUTAGE).await;
    world.receiver.open();
    until("every event", ARRIVAL, async || {
        (world.receiver.requests().len() >= world.ends.len()).then_some(())
    })
    .await;
    world.wait_pending(0).await;
    // A restart that found an event would send it again.
    world.stack.crash_api().await;
    world.wait_pending(0).await;
    world.assert_arrived().await;
}
