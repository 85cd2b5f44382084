//! The sender against real receivers with TLS on loopback addresses.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Mutex;

use cc_tests::webhooks::{Receiver, Request};
use futures::FutureExt;
use futures::future::BoxFuture;
use protocol::webhook::{TOLERANCE, WebhookSecret, verify};
use serde_json::json;

use super::*;

const HOST: &str = "hooks.example";
/// The path and the query of each webhook.
const TARGET: &str = "/a/path?token=SECRET";

/// A resolver whose answers are given in advance, one for each look-up; the last one is repeated.
#[derive(Clone)]
struct Answers(Arc<Mutex<(VecDeque<Vec<IpAddr>>, usize)>>);

impl Answers {
    fn new(answers: &[&[&str]]) -> Self {
        let parse = |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
        Self(Arc::new(Mutex::new((
            answers.iter().map(parse).collect(),
            0,
        ))))
    }

    fn lookups(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

impl Resolve for Answers {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        assert_eq!(name, HOST);
        let mut state = self.0.lock().unwrap();
        state.1 += 1;
        let answer = match state.0.len() {
            1 => state.0[0].clone(),
            _ => state.0.pop_front().unwrap(),
        };
        async { Ok(answer) }.boxed()
    }
}

/// Starts a receiver with this name that answers every request with the same bytes.
async fn start(name: &str, answer: &str) -> Receiver {
    let answer = answer.to_owned();
    Receiver::start(name, move || answer.clone()).await
}

/// A sender with a file of secrets.
struct Fixture {
    sender: Sender,
    secret: String,
    answers: Answers,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

fn fixture(receiver: &Receiver, hosts: &str, answers: &[&[&str]]) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secrets.toml");
    let secret = WebhookSecret::generate().unwrap();
    std::fs::write(&file, format!("[principal.a]\nsecrets = [\"{secret}\"]\n")).unwrap();
    let args = WebhookArgs {
        webhook_hosts: hosts.parse().unwrap(),
        webhook_secrets_file: Some(file.clone()),
        webhook_ca: None,
    };
    let answers = Answers::new(answers);
    let mut sender = Sender::new(&args, receiver.authority.client());
    sender.resolver = Box::new(answers.clone());
    Fixture {
        sender,
        secret,
        answers,
        file,
        _dir: dir,
    }
}

fn delivery(url: &str) -> Delivery {
    Delivery {
        id: "evt_1".to_owned(),
        principal: Some("a".to_owned()),
        url: url.to_owned(),
        payload: json!({ "type": "execution.ended", "data": { "x": "\u{e9}" } }),
    }
}

fn answer(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok")
}

fn reason(delivered: &Delivered) -> &str {
    match delivered {
        Delivered::Accepted => "",
        Delivered::Failed { reason } | Delivered::Refused { reason } => reason,
    }
}

/// Checks that an attempt failed for this reason, which has nothing of the URL's path.
fn assert_failed(delivered: &Delivered, word: &str) {
    assert!(
        matches!(delivered, Delivered::Failed { .. }),
        "{delivered:?}"
    );
    let reason = reason(delivered);
    assert!(reason.contains(word), "{word}: {reason}");
    assert!(
        !reason.contains("SECRET") && !reason.contains("/a/path"),
        "{reason}"
    );
}

#[tokio::test]
async fn an_accepted_webhook_is_signed_and_complete() {
    let receiver = start(HOST, &answer("204 No Content")).await;
    let fixture = fixture(&receiver, &receiver.hosts(), &[&["127.0.0.1"]]);
    let sent = delivery(&receiver.url(TARGET));
    assert_eq!(
        fixture.sender.deliver(sent.clone()).await,
        Delivered::Accepted
    );
    let Request {
        line,
        headers,
        body,
    } = receiver.requests().remove(0);
    assert_eq!(line, format!("POST {TARGET} HTTP/1.1"));
    assert_eq!(headers["host"], format!("{HOST}:{}", receiver.port));
    assert_eq!(headers["content-type"], "application/json");
    let body_value: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body_value, sent.payload);
    let headers = SignedHeaders {
        id: headers["webhook-id"].clone(),
        timestamp: headers["webhook-timestamp"].clone(),
        signature: headers["webhook-signature"].clone(),
    };
    assert_eq!(headers.id, "evt_1");
    let secrets = [fixture.secret.parse().unwrap()];
    let verified = verify(
        &secrets,
        &headers,
        body.as_bytes(),
        Timestamp::now(),
        TOLERANCE,
    );
    assert_eq!(verified, Ok(()));
}

#[tokio::test]
async fn only_a_success_is_accepted_and_only_gone_is_final() {
    for (status, word) in [
        ("500 Internal Server Error", "500"),
        ("404 Not Found", "404"),
        ("429 Too Many Requests", "429"),
        ("304 Not Modified", "304"),
    ] {
        let receiver = start(HOST, &answer(status)).await;
        let fixture = fixture(&receiver, &receiver.hosts(), &[&["127.0.0.1"]]);
        let delivered = fixture
            .sender
            .deliver(delivery(&receiver.url(TARGET)))
            .await;
        assert_failed(&delivered, word);
    }
    let receiver = start(HOST, &answer("410 Gone")).await;
    let fixture = fixture(&receiver, &receiver.hosts(), &[&["127.0.0.1"]]);
    let delivered = fixture
        .sender
        .deliver(delivery(&receiver.url(TARGET)))
        .await;
    assert!(
        matches!(delivered, Delivered::Refused { .. }),
        "{delivered:?}"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = start(HOST, &answer("200 OK")).await;
    let location = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: {}\r\n\r\n",
        target.url(TARGET)
    );
    let receiver = start(HOST, &location).await;
    let hosts = format!("{},{}", receiver.hosts(), target.hosts());
    let fixture = fixture(&receiver, &hosts, &[&["127.0.0.1"]]);
    let delivered = fixture
        .sender
        .deliver(delivery(&receiver.url(TARGET)))
        .await;
    assert_failed(&delivered, "redirects are not followed");
    assert_eq!((receiver.connections(), target.connections()), (1, 0));
}

#[tokio::test]
async fn a_host_that_is_not_listed_is_neither_resolved_nor_contacted() {
    let receiver = start(HOST, &answer("200 OK")).await;
    // The host has another port on the list.
    let hosts = format!("{HOST},127.0.0.1:{}", receiver.port);
    let fixture = fixture(&receiver, &hosts, &[&["127.0.0.1"]]);
    for (url, is_final) in [
        // The operator may add the host to this list later.
        (receiver.url(TARGET), false),
        ("http://a/".to_owned(), true),
        ("x".to_owned(), true),
    ] {
        let delivered = fixture.sender.deliver(delivery(&url)).await;
        let is_refused = matches!(delivered, Delivered::Refused { .. });
        assert_eq!(is_refused, is_final, "{delivered:?}");
        assert!(!reason(&delivered).contains("SECRET"), "{delivered:?}");
    }
    assert_eq!((fixture.answers.lookups(), receiver.connections()), (0, 0));
}

#[tokio::test]
async fn a_name_with_an_address_that_is_not_named_is_not_contacted() {
    let receiver = start(HOST, &answer("200 OK")).await;
    for (hosts, addresses) in [
        (format!("{HOST}:{}", receiver.port), &["127.0.0.1"][..]),
        (format!("{HOST}:{}", receiver.port), &["::ffff:127.0.0.1"]),
        (receiver.hosts(), &["127.0.0.1", "127.0.0.2"]),
        (receiver.hosts(), &["10.0.0.1", "127.0.0.1"]),
    ] {
        let fixture = fixture(&receiver, &hosts, &[addresses]);
        let delivered = fixture
            .sender
            .deliver(delivery(&receiver.url(TARGET)))
            .await;
        assert_failed(&delivered, "is not public");
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn the_connection_goes_to_the_address_that_was_checked() {
    // Nobody listens at 127.0.0.3; a second look-up would lead there.
    let receiver = start(HOST, &answer("200 OK")).await;
    let changing = &[&["127.0.0.1"][..], &["127.0.0.3"]];
    let fixture = fixture(&receiver, &receiver.hosts(), changing);
    let delivered = fixture
        .sender
        .deliver(delivery(&receiver.url(TARGET)))
        .await;
    assert_eq!(delivered, Delivered::Accepted);
    assert_eq!((fixture.answers.lookups(), receiver.connections()), (1, 1));
    // The next attempt resolves again, and the new address is not named.
    let delivered = fixture
        .sender
        .deliver(delivery(&receiver.url(TARGET)))
        .await;
    assert_failed(&delivered, "127.0.0.3");
    assert_eq!((fixture.answers.lookups(), receiver.connections()), (2, 1));
}

#[tokio::test]
async fn an_address_that_refuses_is_followed_by_the_next_one() {
    let receiver = start(HOST, &answer("200 OK")).await;
    let hosts = format!("{},127.0.0.3:{}", receiver.hosts(), receiver.port);
    let fixture = fixture(&receiver, &hosts, &[&["127.0.0.3", "127.0.0.1"]]);
    let delivered = fixture
        .sender
        .deliver(delivery(&receiver.url(TARGET)))
        .await;
    assert_eq!(delivered, Delivered::Accepted);
    let alone = self::fixture(&receiver, &hosts, &[&["127.0.0.3"]]);
    let delivered = alone.sender.deliver(delivery(&receiver.url(TARGET))).await;
    assert_failed(&delivered, "cannot connect to 127.0.0.3");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_before_the_request() {
    let receiver = start("other.example", &answer("200 OK")).await;
    let port = receiver.port;
    let hosts = format!("{HOST}:{port},127.0.0.1:{port}");
    let mine = fixture(&receiver, &hosts, &[&["127.0.0.1"]]);
    let sent = delivery(&format!("https://{HOST}:{port}{TARGET}"));
    let delivered = mine.sender.deliver(sent).await;
    assert_failed(&delivered, "TLS with hooks.example failed");
    // An authority that is not trusted.
    let receiver = start(HOST, &answer("200 OK")).await;
    let other = start(HOST, "").await;
    let stranger = fixture(&other, &receiver.hosts(), &[&["127.0.0.1"]]);
    let delivered = stranger
        .sender
        .deliver(delivery(&receiver.url(TARGET)))
        .await;
    assert_failed(&delivered, "TLS");
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn a_receiver_that_hangs_fails_in_time_and_its_connection_is_closed() {
    let silent = start(HOST, "").await;
    let mut fixture = fixture(&silent, &silent.hosts(), &[&["127.0.0.1"]]);
    assert_eq!(fixture.sender.attempt_time, Duration::from_secs(10));
    fixture.sender.attempt_time = Duration::from_millis(200);
    let delivered = fixture.sender.deliver(delivery(&silent.url(TARGET))).await;
    assert_failed(&delivered, "longer than 10 s");
    assert_eq!(fixture.sender.places.available_permits(), ATTEMPTS);
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let endless = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{}",
        "x".repeat(64 << 20)
    );
    let receiver = start(HOST, &endless).await;
    let fixture = fixture(&receiver, &receiver.hosts(), &[&["127.0.0.1"]]);
    let delivered = fixture
        .sender
        .deliver(delivery(&receiver.url(TARGET)))
        .await;
    assert_eq!(delivered, Delivered::Accepted);
    // The buffers of both sockets hold some megabytes.
    assert!(receiver.written() < 32 << 20);
}

#[tokio::test]
async fn a_head_without_end_fails() {
    let head = format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(100_000));
    let receiver = start(HOST, &head).await;
    let fixture = fixture(&receiver, &receiver.hosts(), &[&["127.0.0.1"]]);
    let delivered = fixture
        .sender
        .deliver(delivery(&receiver.url(TARGET)))
        .await;
    assert_failed(&delivered, "did not answer");
}

#[tokio::test]
async fn the_file_of_secrets_is_read_for_each_try() {
    let receiver = start(HOST, &answer("200 OK")).await;
    let fixture = fixture(&receiver, &receiver.hosts(), &[&["127.0.0.1"]]);
    let deliver = || fixture.sender.deliver(delivery(&receiver.url(TARGET)));
    assert_eq!(deliver().await, Delivered::Accepted);
    std::fs::write(&fixture.file, "[default]\nsecrets = []").unwrap();
    assert_failed(&deliver().await, "[principal.a]");
    std::fs::remove_file(&fixture.file).unwrap();
    assert_failed(&deliver().await, "cannot be read");
    let new = WebhookSecret::generate().unwrap();
    let both = format!(
        "[principal.a]\nsecrets = [\"{new}\", \"{}\"]\n",
        fixture.secret
    );
    std::fs::write(&fixture.file, both).unwrap();
    assert_eq!(deliver().await, Delivered::Accepted);
    let requests = receiver.requests();
    let signatures = |n: usize| requests[n].headers["webhook-signature"].split(' ').count();
    assert_eq!((requests.len(), signatures(0), signatures(1)), (2, 1, 2));
}

#[tokio::test]
async fn tries_beyond_the_bound_fail_at_once() {
    let receiver = start(HOST, &answer("200 OK")).await;
    let fixture = fixture(&receiver, &receiver.hosts(), &[&["127.0.0.1"]]);
    let all = u32::try_from(ATTEMPTS).unwrap();
    let _used = fixture.sender.places.acquire_many(all).await.unwrap();
    let delivered = fixture
        .sender
        .deliver(delivery(&receiver.url(TARGET)))
        .await;
    assert_failed(&delivered, "too many");
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn the_resolver_of_this_machine_finds_addresses() {
    let found = System.resolve("localhost").await.unwrap();
    assert!(found.iter().any(IpAddr::is_loopback), "{found:?}");
}
