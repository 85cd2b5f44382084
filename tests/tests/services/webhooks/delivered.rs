//! Webhooks from claude-api through the real service `credentials` to a receiver.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use cc_tests::credentials::{CREDENTIALS_IP, with_credentials};
use cc_tests::harness::{Stack, StackOptions, until};
use cc_tests::webhooks::{Receiver, Request};
use clap::Parser;
use credentials::config::{Cli, Variables};
use protocol::webhook::WebhookSecret;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::{credentials_arguments, receiver, verified};
use crate::support::{accept, ended, id};

/// The time limit for a delivery. The second try follows 5 s after the first, with jitter.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts `credentials` in this process. Dropping the result stops it.
async fn credentials(
    stack: &Stack,
    receiver: &Receiver,
    secret: &str,
) -> AbortOnDropHandle<anyhow::Result<()>> {
    let arguments = credentials_arguments(stack, receiver, secret);
    let cli = Cli::parse_from(std::iter::once("credentials".to_owned()).chain(arguments));
    let variables = Variables::from([("ANTHROPIC_API_KEY".to_owned(), "a-key".to_owned())]);
    let settings = cli.serve.check(&variables).expect("good settings");
    let listener = TcpListener::bind((CREDENTIALS_IP, 0))
        .await
        .expect("a port");
    let service = credentials::run(listener, settings, std::future::pending());
    AbortOnDropHandle::new(tokio::spawn(service))
}

/// Waits until the receiver has this number of requests, and returns them.
async fn requests(receiver: &Receiver, count: usize) -> Vec<Request> {
    until("the requests of webhooks", PATIENCE, async || {
        let requests = receiver.requests();
        (requests.len() >= count).then_some(requests)
    })
    .await
}

/// The receiver fails first, claude-api is killed, and `credentials` starts last. The event arrives
/// once, signed, with the same id in each try.
#[tokio::test]
async fn an_event_reaches_its_receiver_through_failures_and_a_kill() {
    let answer = Arc::new(AtomicU16::new(503));
    let receiver = receiver(Arc::clone(&answer)).await;
    let options = StackOptions::default().api(format!("--webhook-hosts={}", receiver.hosts()));
    let mut stack = Stack::with(with_credentials(options)).await;
    let secret = WebhookSecret::generate().expect("a secret");
    let execution = id();
    let webhook = json!({"webhook": {"url": receiver.url("/hook")}, "metadata": {"job": "7"}});
    // Without `credentials`, an execution waits up to 10 s for it, then runs.
    let first = credentials(&stack, &receiver, &secret).await;
    accept(&stack.http(), &execution, "@say x", webhook).await;
    let end = ended(&stack.http(), &execution).await;
    assert_eq!(end["state"], "completed", "{end}");
    let refused = requests(&receiver, 1).await.remove(0);
    drop(first);
    stack.crash_api().await;
    answer.store(204, Ordering::SeqCst);
    let _second = credentials(&stack, &receiver, &secret).await;
    let accepted = requests(&receiver, 2).await.remove(1);
    assert_eq!(
        accepted.headers["webhook-id"],
        refused.headers["webhook-id"]
    );
    assert_eq!(accepted.body, refused.body);
    let payload = verified(&accepted, &secret).await;
    assert_eq!(payload["type"], "execution.ended");
    assert_eq!(payload["data"]["executionId"], execution);
    assert_eq!(payload["data"]["metadata"]["job"], "7");
    let shown = until("the result in the status", PATIENCE, async || {
        let status = stack.http().status(&execution).await.expect("a status");
        (status["webhook"]["delivered"] == 1).then_some(status)
    })
    .await;
    assert_eq!(shown["webhook"]["pending"], 0, "{shown}");
    assert_eq!(shown["webhook"]["last"]["result"], "accepted", "{shown}");
    assert_eq!(receiver.requests().len(), 2, "the event arrives once");
}
