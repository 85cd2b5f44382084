//! The control connection, from the side of claude-api.

use std::time::{Duration, Instant};

use grants::{
    CredentialKind, CredentialState, Delivered, Delivery, Endpoint, Order, Report, Timing, VERSION,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Api, ClaudeApi, Client, Exchange, GRANT, Service, Setup, soon};

async fn empty(mut api: Exchange) {
    while api.request().await.is_some() {
        api.json("200 OK", "{}").await;
    }
}

#[tokio::test]
async fn the_first_line_names_the_credential_and_the_api() {
    let api = Api::start(empty).await;
    let mut claude_api = ClaudeApi::start().await;
    let base = format!("{}/gateway", api.url());
    let _service = Service::start(&claude_api, &base, &[], &[]).await;
    let Report::Hello {
        version,
        credential,
        upstream,
    } = claude_api.accept().await
    else {
        panic!("no hello");
    };
    assert_eq!((version, upstream), (VERSION, api.url()));
    let CredentialState::Present { kind, fingerprint } = credential else {
        panic!("{credential:?}");
    };
    assert_eq!((kind, fingerprint.len()), (CredentialKind::ApiKey, 16));
    assert!(!crate::support::KEY.contains(&fingerprint));
}

#[tokio::test]
async fn a_connection_of_another_kind_ends_and_a_new_one_follows() {
    let api = Api::start(empty).await;
    let mut claude_api = ClaudeApi::start().await;
    let _service = Service::start(&claude_api, &api.url(), &[], &[]).await;
    let hello = grants::to_line(&Order::Hello { version: VERSION });
    let other = grants::to_line(&Order::Hello {
        version: VERSION + 1,
    });
    let long = "x".repeat(grants::LINE_BYTES + 1);
    for bytes in [
        String::new(),
        "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(),
        other,
        grants::to_line(&Order::Synced),
        format!("{hello}{{}}\n"),
        format!("{hello}{{\"type\":\"unknown\"}}\n"),
        format!("{hello}{long}\n"),
    ] {
        let mut stream = claude_api.accept_silently().await;
        if bytes.is_empty() {
            drop(stream);
            continue;
        }
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // The service may reset a connection with bytes that it has not read.
        let _ = soon("the end of the connection", stream.read_to_end(&mut rest)).await;
    }
    claude_api.accept().await;
    claude_api.sync().await;
}

#[tokio::test]
async fn both_sides_give_signs_of_life() {
    let mut setup = Setup::start(empty).await;
    let report = setup.claude_api.next().await;
    assert_eq!(report, Report::Beat);
    setup.claude_api.send(&Order::Beat).await;
    setup.claude_api.barrier().await;
}

/// A silence far longer than a beat, so that a slow machine does not lose a connection whose peer
/// is alive.
const SHORT: Timing = Timing {
    beat: Duration::from_millis(50),
    silence: Duration::from_secs(6),
};

/// Sends a request for a message, and returns the status of its answer.
async fn status(service: &Service) -> u16 {
    let mut client = Client::connect(service.addr).await;
    client
        .post("/v1/messages", GRANT, "{\"model\":\"m\"}")
        .await;
    client.answer().await.status
}

/// Connects, registers the grant, and waits until it is in force.
async fn accept(claude_api: &mut ClaudeApi) {
    claude_api.accept().await;
    claude_api.grant("e1", GRANT, None).await;
    claude_api.sync().await;
}

#[tokio::test]
async fn a_silent_claude_api_is_dropped_and_the_next_connection_registers_the_grants_again() {
    let api = Api::start(empty).await;
    let mut claude_api = ClaudeApi::start().await;
    let service = Service::with_timing(&claude_api, &api.url(), SHORT).await;
    accept(&mut claude_api).await;
    // Beats keep the connection for longer than a silence.
    let begun = Instant::now();
    let mut last_word = begun;
    while begun.elapsed() < SHORT.silence * 5 / 4 {
        assert_eq!(claude_api.next().await, Report::Beat);
        // Before the service can have it: the service counts from then.
        last_word = Instant::now();
        claude_api.send(&Order::Beat).await;
    }
    assert_eq!(status(&service).await, 200);
    // claude-api still reads, and its socket stays open.
    claude_api.read_to_end().await;
    assert!(last_word.elapsed() >= SHORT.silence, "it was dropped early");
    assert_eq!(status(&service).await, 503, "no grant is in force");
    accept(&mut claude_api).await;
    assert_eq!(status(&service).await, 200);
}

#[tokio::test]
async fn a_claude_api_that_says_no_hello_is_dropped() {
    let api = Api::start(empty).await;
    let mut claude_api = ClaudeApi::start().await;
    let service = Service::with_timing(&claude_api, &api.url(), SHORT).await;
    let mut mute = claude_api.accept_silently().await;
    let mut hello = Vec::new();
    soon("the end of the connection", mute.read_to_end(&mut hello))
        .await
        .unwrap();
    assert!(matches!(grants::parse(&hello), Ok(Report::Hello { .. })));
    accept(&mut claude_api).await;
    assert_eq!(status(&service).await, 200);
}

#[tokio::test]
async fn a_replaced_file_is_reported_and_used_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "first\n").unwrap();
    let variables = [
        ("ANTHROPIC_API_KEY", ""),
        ("ANTHROPIC_API_KEY_FILE", path.to_str().unwrap()),
    ];
    let mut setup = Setup::with(&[], &variables, async |mut api: Exchange| {
        while let Some((head, _)) = api.request().await {
            let key = crate::support::api::header(&head, "x-api-key")
                .unwrap()
                .to_owned();
            api.json("200 OK", &format!("{{\"key\":\"{key}\"}}")).await;
        }
    })
    .await;
    assert!(setup.ask().await.body.contains("first"));
    setup.claude_api.answer().await;
    std::fs::write(&path, "second\n").unwrap();
    assert!(setup.ask().await.body.contains("second"));
    std::fs::write(&path, "KEY=third\n").unwrap();
    let answer = setup.ask().await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(!answer.body.contains("third"), "{answer:?}");
    loop {
        match setup.claude_api.report().await {
            Report::Credential(CredentialState::Malformed { reason }) => {
                assert!(!reason.contains("third"), "{reason}");
                break;
            }
            Report::Credential(CredentialState::Present { .. }) | Report::Answer(_) => {}
            report => panic!("{report:?}"),
        }
    }
}

#[tokio::test]
async fn a_webhook_gets_a_result() {
    let mut setup = Setup::start(empty).await;
    let delivery = Delivery {
        id: "d1".to_owned(),
        principal: None,
        url: "https://receiver.example/".to_owned(),
        payload: serde_json::json!({}),
    };
    setup.claude_api.send(&Order::Deliver(delivery)).await;
    let Report::Delivered { id, outcome } = setup.claude_api.report().await else {
        panic!("no result");
    };
    assert_eq!(id, "d1");
    assert!(!matches!(outcome, Delivered::Accepted), "{outcome:?}");
}

#[tokio::test]
async fn reports_wait_for_the_next_connection() {
    let (send, mut received) = tokio::sync::mpsc::channel(1);
    let mut setup = Setup::start(move |mut api: Exchange| {
        let send = send.clone();
        async move {
            api.request().await;
            let (more, mut wait) = tokio::sync::mpsc::channel::<()>(1);
            send.send(more).await.unwrap();
            wait.recv().await;
            api.json("200 OK", "{}").await;
        }
    })
    .await;
    let mut client = setup.client().await;
    client
        .post("/v1/messages", crate::support::GRANT, "{}")
        .await;
    let more = soon("the request", received.recv()).await;
    setup.claude_api.close();
    drop(more);
    assert_eq!(client.answer().await.status, 200);
    setup.claude_api.accept().await;
    let report = setup.claude_api.answer().await;
    assert_eq!((report.status, report.complete), (Some(200), true));
}

#[tokio::test]
async fn the_credential_is_checked_when_no_answer_comes() {
    let (send, mut received) = tokio::sync::mpsc::channel(8);
    let mut setup = Setup::with(&["--check-ms=50"], &[], move |mut api: Exchange| {
        let send = send.clone();
        async move {
            while let Some((head, _)) = api.request().await {
                // After the first one the test does not count.
                let _ = send.try_send(head);
                let body = r#"{"type":"error","error":{"type":"authentication_error"}}"#;
                api.json("401 Unauthorized", body).await;
            }
        }
    })
    .await;
    let head = soon("a check", received.recv()).await.unwrap();
    assert!(
        head.starts_with("GET /v1/models?limit=1 HTTP/1.1\r\n"),
        "{head}"
    );
    let report = setup.claude_api.answer().await;
    assert_eq!(
        (report.execution_id, report.endpoint),
        (None, Endpoint::Models)
    );
    assert_eq!(report.status, Some(401));
    assert_eq!(report.error_type.as_deref(), Some("authentication_error"));
}
