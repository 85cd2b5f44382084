//! Webhooks as a receiver sees them: signed requests that the official libraries accept.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy.toml allows it only inside test functions"
)]

mod delivered;
mod outage;

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use cc_tests::credentials::CREDENTIALS_IP;
use cc_tests::harness::{Stack, StackOptions};
use cc_tests::webhooks::{Receiver, Request};
use credentials::webhooks::{Sender, WebhookArgs};
use grants::{Delivered, Delivery};
use jiff::Timestamp;
use protocol::webhook::{WebhookEvent, WebhookPayload, WebhookSecret};
use protocol::{ExecutionId, State, Status};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::{assert_problem, id, path, send};

/// Time limit of the Python program; on a busy machine the SDK is imported in seconds.
const PYTHON: Duration = Duration::from_secs(90);

/// Returns the path of the Python that `scripts/lib/webhooks-python` prepares.
fn python() -> String {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../scripts/lib/webhooks-python"
    );
    let output = std::process::Command::new(script).output();
    let output = output.expect("scripts/lib/webhooks-python starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "no Python with the SDK: {errors}");
    let path = String::from_utf8(output.stdout).expect("a path");
    path.trim().to_owned()
}

/// Verifies a received request with Anthropic's SDK and with the library of Standard Webhooks, and
/// returns the payload as they read it.
async fn verified(request: &Request, secret: &str) -> Value {
    let python = tokio::task::spawn_blocking(python).await.unwrap();
    let mut child = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/webhooks/verify.py"))
        .arg(secret)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python starts");
    let received = json!({ "headers": request.headers, "body": request.body }).to_string();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(received.as_bytes()).await.unwrap();
    drop(stdin);
    let output = timeout(PYTHON, child.wait_with_output()).await;
    let output = output.expect("Python ends").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("the payload")
}

/// Starts a receiver on localhost that answers with this status, which may change.
async fn receiver(status: Arc<AtomicU16>) -> Receiver {
    Receiver::start("localhost", move || {
        let status = status.load(Ordering::SeqCst);
        format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n")
    })
    .await
}

#[tokio::test]
async fn the_official_libraries_verify_a_webhook() {
    let receiver = receiver(Arc::new(AtomicU16::new(204))).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secrets.toml");
    let [new, old] = [(); 2].map(|()| WebhookSecret::generate().unwrap());
    let table = format!("[principal.team-a]\nsecrets = [\"{new}\", \"{old}\"]\n");
    std::fs::write(&file, table).unwrap();
    let args = WebhookArgs {
        webhook_hosts: receiver.hosts().parse().unwrap(),
        webhook_secrets_file: Some(file),
        webhook_ca: None,
    };
    assert_eq!(args.check(), [""; 0]);
    let sender = Sender::new(&args, receiver.authority.client());
    let mut status = Status::queued(ExecutionId::random(), Timestamp::now(), "w".into());
    status.state = State::Completed;
    status
        .metadata
        .insert("job".into(), "J\u{fc}rgen \u{2028}".into());
    let payload = WebhookPayload::new(WebhookEvent::Ended, Timestamp::now(), &status);
    let payload = serde_json::to_value(payload).unwrap();
    let delivery = Delivery {
        id: format!("evt_{}_ended", status.execution_id),
        principal: Some("team-a".to_owned()),
        url: receiver.url("/hook?x=y"),
        payload: payload.clone(),
    };
    let id = delivery.id.clone();
    assert_eq!(sender.deliver(delivery).await, Delivered::Accepted);
    let request = receiver.requests().remove(0);
    assert_eq!(request.target(), "/hook?x=y");
    assert_eq!(request.headers["webhook-id"], id);
    // While one secret replaces another, receivers with either of them accept it.
    for secret in [new, old] {
        assert_eq!(verified(&request, &secret).await, payload);
    }
}

/// Returns the arguments with which `credentials` signs with this secret and sends to the receiver.
fn credentials_arguments(stack: &Stack, receiver: &Receiver, secret: &str) -> [String; 5] {
    let file = |name: &str, text: &str| {
        let path = stack.path(name);
        std::fs::write(&path, text).expect("a file is written");
        path.display().to_string()
    };
    let table = format!("[default]\nsecrets = [\"{secret}\"]\n");
    let secrets = file("secrets.toml", &table);
    let authority = file("authority.pem", &receiver.authority.pem);
    [
        format!("--host={CREDENTIALS_IP}"),
        format!("--claude-api={}", stack.api.credentials_addr()),
        format!("--webhook-hosts={}", receiver.hosts()),
        format!("--webhook-secrets-file={secrets}"),
        format!("--webhook-ca={authority}"),
    ]
}

/// Reads the pending events from the page of metrics.
async fn pending(stack: &Stack) -> String {
    let page = stack.http().request(Method::GET, "/metrics").send().await;
    let page = page.unwrap().text().await.unwrap();
    let line = page
        .lines()
        .find(|line| line.starts_with("claude_api_webhooks_pending "));
    line.expect("the gauge")
        .rsplit(' ')
        .next()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_webhook_waits_in_the_queue_through_a_kill_and_a_delete() {
    let options = StackOptions::default().api("--webhook-hosts=hooks.example:8443");
    let mut stack = Stack::with(options).await;
    let body = |url: &str| json!({ "prompt": "@say x", "webhook": { "url": url } });
    let good = body("https://hooks.example:8443/SECRET");
    let execution = id();
    let (code, _) = stack.http().put(&execution, &good).await.unwrap();
    assert_eq!(code.as_u16(), 201);
    let end = stack
        .http()
        .follow_to_end(&execution)
        .await
        .unwrap()
        .pop()
        .unwrap();
    assert_eq!(end["state"], "completed", "{end}");
    assert_eq!(end["webhook"]["host"], "hooks.example:8443", "{end}");
    assert!(!end.to_string().contains("SECRET"), "{end}");
    // Without `credentials` the event waits.
    let shown = stack.http().status(&execution).await.unwrap();
    assert_eq!(shown["webhook"]["pending"], 1, "{shown}");
    assert_eq!(pending(&stack).await, "1");
    stack.crash_api().await;
    assert_eq!(pending(&stack).await, "1");
    let deleted = send(&stack.http(), Method::DELETE, &path(&execution, ""), "").await;
    assert_eq!(deleted.0, 204, "{deleted:?}");
    stack.crash_api().await;
    assert_eq!(pending(&stack).await, "1");
    assert!(!stack.api.log().contains("SECRET"));
}

#[tokio::test]
async fn a_webhook_that_is_not_allowed_is_refused_over_http_and_websocket() {
    let options = StackOptions::default().api("--webhook-hosts=hooks.example:8443");
    let stack = Stack::with(options).await;
    for (url, code, kind) in [
        ("https://hooks.example/", 403, "not-allowed"),
        ("http://hooks.example:8443/", 400, "invalid-body"),
        ("https://u:p@hooks.example:8443/", 400, "invalid-body"),
    ] {
        let body = json!({ "prompt": "@say x", "webhook": { "url": url } }).to_string();
        let answer = send(&stack.http(), Method::PUT, &path(&id(), ""), body).await;
        assert_problem(&answer, code, kind, url);
    }
    let mut client = stack.client().await;
    for (events, reason) in [
        (json!(["ended"]), "not_allowed"),
        (json!([]), "invalid_body"),
        (json!(["ended", "ended"]), "invalid_body"),
        (json!(["started"]), "invalid_params"),
    ] {
        let webhook = json!({ "url": "https://other.example/", "events": events });
        let params = json!({ "prompt": "@say x", "webhook": webhook });
        let error = client.call("execute", params).await.expect_err("refused");
        assert_eq!(error["data"]["reason"], reason, "{error}");
    }
}

#[tokio::test]
async fn a_stall_of_a_running_execution_becomes_an_event() {
    let options = StackOptions::default()
        .api("--webhook-hosts=hooks.example")
        .api("--stalled-ms=300")
        .api("--idle-timeout-ms=20000");
    let stack = Stack::with(options).await;
    for (events, expected) in [(json!(["stalled"]), 1), (json!(["stalled", "ended"]), 2)] {
        let execution = id();
        let webhook = json!({ "url": "https://hooks.example/", "events": events });
        let body = json!({ "prompt": "@say a\n@silence 1\n@say b", "webhook": webhook });
        let (code, _) = stack.http().put(&execution, &body).await.unwrap();
        assert_eq!(code.as_u16(), 201);
        let seen = stack.http().follow_to_end(&execution).await.unwrap();
        assert!(
            seen.iter().any(|status| status["stalled"] == true),
            "{seen:?}"
        );
        let shown = stack.http().status(&execution).await.unwrap();
        assert_eq!(shown["webhook"]["pending"], expected, "{shown}");
    }
}
