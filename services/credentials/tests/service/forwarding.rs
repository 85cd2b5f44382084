//! Requests and answers that pass.

use crate::support::api::header;
use crate::support::{Exchange, GRANT, KEY, Setup, soon};
use tokio::sync::mpsc;

/// Answers each request of a connection with its own head and body.
async fn echo(mut api: Exchange) {
    while let Some((head, body)) = api.request().await {
        let body = serde_json::json!({"head": head, "body": String::from_utf8_lossy(&body)});
        api.json("200 OK", &body.to_string()).await;
    }
}

fn echoed(body: &str) -> (String, String) {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (text("head"), text("body"))
}

#[tokio::test]
async fn the_api_gets_the_credential_and_never_the_grant() {
    let variables = [("ANTHROPIC_CUSTOM_HEADERS", "X-Team: shop")];
    let setup = Setup::with(&[], &variables, echo).await;
    let mut client = setup.client().await;
    let body = "{\"model\":\"m\"}";
    client
        .write(format!(
            "POST /v1/messages?beta=true HTTP/1.1\r\nHost: evil.example\r\n\
             Authorization: Bearer {GRANT}\r\nAnthropic-Version: 2023-06-01\r\n\
             X-Forwarded-For: 1.2.3.4\r\nConnection: keep-alive, X-Hop\r\nX-Hop: a\r\n\
             Accept-Encoding: gzip, br\r\nX-Team: other\r\nContent-Type: text/plain\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let (head, received) = echoed(&answer.body);
    assert_eq!(received, body);
    assert!(
        head.starts_with("POST /v1/messages?beta=true HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(!head.contains(GRANT) && !head.contains("evil"), "{head}");
    let host = setup.api.addr.to_string();
    for (name, expected) in [
        ("x-api-key", Some(KEY)),
        ("host", Some(&host[..])),
        ("anthropic-version", Some("2023-06-01")),
        ("accept-encoding", Some("identity")),
        ("content-type", Some("application/json")),
        ("x-team", Some("shop")),
        ("authorization", None),
        ("x-forwarded-for", None),
        ("x-hop", None),
        ("connection", None),
    ] {
        assert_eq!(header(&head, name), expected, "{name}: {head}");
    }
}

#[tokio::test]
async fn an_answer_is_reported_with_its_tokens_and_its_cost() {
    let mut setup = Setup::start(async |mut api: Exchange| {
        api.request().await;
        api.events().await;
        let usage = r#"{"input_tokens":1000000,"output_tokens":1}"#;
        let message = format!(r#"{{"model":"claude-opus-5","usage":{usage}}}"#);
        api.event(&format!(
            r#"{{"type":"message_start","message":{message}}}"#
        ))
        .await;
        api.event(r#"{"type":"message_delta","usage":{"output_tokens":100000}}"#)
            .await;
        api.end().await;
    })
    .await;
    let answer = setup.ask().await;
    assert!(answer.is_complete(), "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    let report = setup.claude_api.answer().await;
    assert_eq!(report.execution_id.as_deref(), Some("e1"));
    assert_eq!((report.status, report.complete), (Some(200), true));
    assert_eq!(
        (report.usage.input_tokens, report.usage.output_tokens),
        (1_000_000, 100_000)
    );
    assert!((report.cost_usd - 7.5).abs() < 1e-9, "{report:?}");
    assert!((report.total_cost_usd - 7.5).abs() < 1e-9, "{report:?}");
    assert!(report.first_byte_ms.is_some());
}

#[tokio::test]
async fn models_are_read_without_a_body() {
    let setup = Setup::start(echo).await;
    for method in ["GET", "HEAD"] {
        let mut client = setup.client().await;
        client
            .write(format!(
                "{method} /v1/models/claude-x HTTP/1.1\r\nHost: a\r\nx-api-key: {GRANT}\r\n\r\n"
            ))
            .await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body.is_empty(), method == "HEAD", "{answer:?}");
    }
}

#[tokio::test]
async fn a_connection_to_the_api_serves_requests_of_several_clients() {
    let setup = Setup::start(echo).await;
    for _ in 0..3 {
        assert_eq!(setup.ask().await.status, 200);
    }
    assert_eq!(setup.api.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_the_api_closed_is_replaced() {
    let setup = Setup::start(async |mut api: Exchange| {
        api.request().await;
        api.json("200 OK", "{}").await;
    })
    .await;
    for _ in 0..3 {
        assert_eq!(setup.ask().await.status, 200);
    }
    assert_eq!(setup.api.connections(), 3);
}

#[tokio::test]
async fn pieces_pass_in_both_directions_before_the_end() {
    let (send, mut received) = mpsc::channel(1);
    let setup = Setup::start(move |mut api: Exchange| {
        let send = send.clone();
        async move {
            api.head().await;
            api.until("first").await;
            send.send(()).await.unwrap();
            api.until("second").await;
            api.events().await;
            api.event(r#"{"n":"one"}"#).await;
            send.send(()).await.unwrap();
            // The client has read the first event; only then does the second one exist.
            api.rest().await;
        }
    })
    .await;
    let mut client = setup.client().await;
    client
        .write(format!(
            "POST /v1/messages HTTP/1.1\r\nHost: a\r\nx-api-key: {GRANT}\r\n\
             Transfer-Encoding: chunked\r\n\r\n9\r\n{{\"first\":\r\n"
        ))
        .await;
    soon("the first piece of the body", received.recv())
        .await
        .unwrap();
    client.write("d\r\n1,\"second\":2}\r\n0\r\n\r\n").await;
    soon("the second piece of the body", received.recv())
        .await
        .unwrap();
    client.until("\"one\"").await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_request_to_the_api() {
    let (send, mut received) = mpsc::channel(1);
    let mut setup = Setup::start(move |mut api: Exchange| {
        let send = send.clone();
        async move {
            api.request().await;
            send.send(()).await.unwrap();
            assert_eq!(api.rest().await, b"");
            send.send(()).await.unwrap();
        }
    })
    .await;
    let mut client = setup.client().await;
    client.post("/v1/messages", GRANT, "{}").await;
    soon("the request", received.recv()).await.unwrap();
    drop(client);
    soon("the end of the request", received.recv())
        .await
        .unwrap();
    let report = setup.claude_api.answer().await;
    assert_eq!((report.status, report.complete), (None, false));
}

#[tokio::test]
async fn a_client_that_waits_for_permission_to_send_gets_it() {
    let setup = Setup::start(echo).await;
    let mut client = setup.client().await;
    client
        .write(format!(
            "POST /v1/messages HTTP/1.1\r\nHost: a\r\nx-api-key: {GRANT}\r\n\
             Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        ))
        .await;
    client.until("HTTP/1.1 100 ").await;
    client.write("{}").await;
    client.until("HTTP/1.1 200 OK").await;
}

#[tokio::test]
async fn open_requests_end_before_the_service() {
    let (send, mut received) = mpsc::channel(1);
    let (release, released) = tokio::sync::watch::channel(false);
    let setup = Setup::start(move |mut api: Exchange| {
        let (send, mut released) = (send.clone(), released.clone());
        async move {
            api.request().await;
            api.events().await;
            api.event("{}").await;
            send.send(()).await.unwrap();
            released.wait_for(|released| *released).await.unwrap();
            api.end().await;
        }
    })
    .await;
    let mut client = setup.client().await;
    client.post("/v1/messages", GRANT, "{}").await;
    soon("the request", received.recv()).await.unwrap();
    client.until("data: {}").await;
    setup.service.begin_stop();
    release.send_replace(true);
    assert!(client.answer().await.is_complete());
    setup.service.stop().await;
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_at_the_stop() {
    let setup = Setup::with(&["--shutdown-ms=50"], &[], async |mut api: Exchange| {
        api.request().await;
        api.events().await;
        api.event("{}").await;
        api.rest().await;
    })
    .await;
    let mut client = setup.client().await;
    client.post("/v1/messages", GRANT, "{}").await;
    client.until("data: {}").await;
    setup.service.stop().await;
    assert!(!client.answer().await.is_complete());
}
