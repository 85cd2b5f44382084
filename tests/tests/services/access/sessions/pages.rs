//! Web pages, which open sessions with tickets.

use cc_tests::harness::{Service, StackOptions};
use cc_tests::raw_http::{RawAnswer, RawRequest};
use cc_tests::ws::{Client, ConnectError, Options};
use serde_json::{Value, json};

use super::super::api::{Api, WAIT, usual_tokens};

const ORIGIN: &str = "https://app.example";

/// Requests a ticket as a page of this origin.
async fn ticket(bridge: &Service, secret: &str, origin: Option<&str>) -> RawAnswer {
    let request = RawRequest::new("POST", "/ws-ticket").bearer(secret);
    let request = match origin {
        Some(origin) => request.header("Origin", origin),
        None => request,
    };
    request.send(bridge.addr(), WAIT).await
}

/// Opens a session as a page of this origin does.
async fn open(bridge: &Service, offer: &str, origin: Option<&str>) -> Result<Client, ConnectError> {
    let mut headers = vec![("sec-websocket-protocol".to_owned(), offer.to_owned())];
    headers.extend(origin.map(|origin| ("origin".to_owned(), origin.to_owned())));
    let options = Options {
        headers,
        ..Options::default()
    };
    Client::try_connect(bridge.addr(), options).await
}

fn text(answer: &RawAnswer) -> String {
    assert_eq!(answer.code, 200, "{}", answer.text);
    let json = answer.json();
    assert_eq!(json["expiresSeconds"], 30, "{json}");
    json["ticket"].as_str().expect("a ticket").to_owned()
}

#[tokio::test]
async fn a_page_opens_one_session_with_a_ticket() {
    let flag = format!("--allowed-origins={ORIGIN}");
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let bridge = api.bridge(&[&flag]).await;
    let alice = api.tokens.secret("alice");
    for origin in [Some(ORIGIN), None] {
        let answer = ticket(&bridge, alice, origin).await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            origin,
            "{}",
            answer.text
        );
        let offer = format!("ccb.v1, ccb.ticket.{}", text(&answer));
        let mut client = open(&bridge, &offer, origin).await.expect("a session");
        let (output, end) = client.run("@say hello").await;
        assert_eq!(
            (&output[..], &end["principal"]),
            (&b"hello"[..], &json!("team-a"))
        );
        client.finish().await;
        match open(&bridge, &offer, origin).await {
            Err(ConnectError::Refused(response)) => assert_eq!(response.status(), 401),
            other => panic!("a ticket twice: {:?}", other.map(|_| ())),
        }
    }
    let offer = format!("ccb.v1, ccb.bearer.{alice}");
    let mut client = open(&bridge, &offer, Some(ORIGIN))
        .await
        .expect("a session");
    assert_eq!(client.call("ping", json!({})).await, Ok(json!({})));
    client.finish().await;
    bridge.assert_quiet();
    api.service.assert_quiet();
}

/// The bridge selects `ccb.v1`, and never repeats a secret.
#[tokio::test]
async fn the_answer_to_a_handshake_has_no_secret() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let bridge = api.bridge(&[]).await;
    let alice = api.tokens.secret("alice");
    let headers =
        format!("Host: localhost\r\nSec-WebSocket-Protocol: ccb.v1, ccb.bearer.{alice}\r\n");
    let mut stream = cc_tests::ws::raw::upgraded_with(bridge.addr(), &headers).await;
    let stream = stream.as_mut().expect("a connection");
    let head = cc_tests::ws::raw::head(stream).await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let lower = head.to_ascii_lowercase();
    assert!(
        lower.contains("sec-websocket-protocol: ccb.v1\r\n"),
        "{head}"
    );
    assert!(!head.contains(&alice[4..]), "{head}");
    bridge.assert_quiet();
}

#[tokio::test]
async fn a_preflight_of_a_listed_page_permits_the_token_and_no_cookies() {
    let flag = format!("--allowed-origins={ORIGIN}");
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let bridge = api.bridge(&[&flag]).await;
    for target in ["/ws-ticket", "/mcp"] {
        let request = RawRequest::new("OPTIONS", target)
            .header("Origin", ORIGIN)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "authorization");
        let answer = request.send(bridge.addr(), WAIT).await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some(ORIGIN),
            "{}",
            answer.text
        );
        let allowed = answer
            .header("access-control-allow-headers")
            .unwrap_or_default();
        assert!(
            allowed.to_ascii_lowercase().contains("authorization"),
            "{}",
            answer.text
        );
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.json(), Value::Null);
    }
    bridge.assert_quiet();
}
