//! Many wrong tokens from one address, and the audit log of refused requests.
//!
//! Loopback is exempt from the limit. So these tests connect from another address of this machine,
//! which the service takes for any client of its network.

use std::net::{IpAddr, SocketAddr};

use addresses::OwnAddresses;
use cc_tests::harness::StackOptions;
use cc_tests::raw_http::{RawAnswer, RawRequest};
use protocol::Token;
use serde_json::Value;

use super::api::{Api, WAIT, usual_tokens};

/// How many wrong tokens one address may send in a minute.
const ATTEMPTS: usize = 20;

/// Returns an address of this machine that is no loopback address.
fn outer_address() -> IpAddr {
    let own = OwnAddresses::read().expect("addresses");
    let outer = own
        .now()
        .into_iter()
        .find(|ip| ip.is_ipv4() && !ip.is_loopback());
    outer.expect("this test needs an address beside loopback")
}

struct Peer {
    address: IpAddr,
    service: SocketAddr,
}

impl Peer {
    async fn send(&self, request: RawRequest) -> RawAnswer {
        request.send_from(self.address, self.service, WAIT).await
    }

    async fn me(&self, token: &str) -> RawAnswer {
        self.send(RawRequest::new("GET", "/v1/me").bearer(token))
            .await
    }
}

async fn api() -> (Api, Peer) {
    let options = StackOptions::default().api("--host=0.0.0.0");
    let api = Api::start(usual_tokens(), options).await;
    let address = outer_address();
    let service = SocketAddr::from((address, api.service.addr().port()));
    (api, Peer { address, service })
}

fn wrong() -> String {
    let token = Token::generate().expect("random numbers");
    token.secret().expose().to_owned()
}

#[track_caller]
fn assert_too_many(answer: &RawAnswer) {
    assert_eq!(
        (answer.code, &answer.json()["type"]),
        (429, &Value::from("too-many-attempts")),
        "{}",
        answer.text
    );
    let seconds = answer
        .header("retry-after")
        .and_then(|text| text.parse().ok());
    let seconds: u64 = seconds.unwrap_or_else(|| panic!("no Retry-After: {}", answer.text));
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(answer.json()["retryAfterSeconds"], seconds);
}

#[tokio::test]
async fn wrong_tokens_beyond_20_a_minute_get_429_and_a_right_one_never_does() {
    let (api, peer) = api().await;
    let alice = api.tokens.secret("alice");
    for attempt in 0..ATTEMPTS {
        let answer = peer.me(&wrong()).await;
        assert_eq!(answer.code, 401, "attempt {attempt}: {}", answer.text);
    }
    for _ in 0..3 {
        assert_too_many(&peer.me(&wrong()).await);
        assert_eq!(peer.me(alice).await.code, 200);
    }
    // Shares, session tokens and tickets are guessed as tokens are.
    for secret in [
        format!("ccbs_{}", protocol::access::base64url(&[7; 48])),
        format!("ccbt_{}", protocol::access::base64url(&[7; 81])),
    ] {
        assert_too_many(&peer.me(&secret).await);
    }
    let redeem = RawRequest::new("POST", "/v1/tickets/redeem").body(r#"{"ticket":"guess"}"#);
    assert_too_many(&peer.send(redeem).await);
    // The header of an untrusted peer names nobody else.
    let other = RawRequest::new("GET", "/v1/me").header("X-Forwarded-For", "192.0.2.7");
    assert_too_many(&peer.send(other.bearer(&wrong())).await);
    // A request without a token guesses nothing.
    assert_eq!(peer.send(RawRequest::new("GET", "/v1/me")).await.code, 401);
    // Other addresses are not concerned, and loopback never is.
    for _ in 0..ATTEMPTS + 5 {
        let (code, _) = api
            .http_with(&wrong())
            .get("/v1/me")
            .await
            .expect("an answer");
        assert_eq!(code, 401);
    }
    api.service.assert_quiet();
}

/// Returns the lines of the audit log about refused requests.
fn audit(api: &Api) -> Vec<Value> {
    let mut lines = api.service.lines();
    lines.retain(|line| line["target"] == "audit");
    let message = |line: &Value| line["fields"]["message"].as_str().map(str::to_owned);
    let flat = |line: &Value| line["message"].as_str().map(str::to_owned);
    lines.retain(|line| message(line).or(flat(line)).as_deref() == Some("refused a request"));
    lines
}

/// Returns a field of a log line, which may be nested.
fn field<'a>(line: &'a Value, name: &str) -> &'a Value {
    match &line["fields"][name] {
        Value::Null => &line[name],
        nested => nested,
    }
}

#[tokio::test]
async fn each_refused_request_is_an_audit_line_with_its_client_and_outcome() {
    let tokens = usual_tokens().with("viewer", "view", &["principal = \"team-a\""]);
    let options = StackOptions::default().api("--host=0.0.0.0");
    let api = Api::start(tokens, options).await;
    let address = outer_address();
    let peer = Peer {
        address,
        service: SocketAddr::from((address, api.service.addr().port())),
    };
    let id = crate::support::id();
    let target = format!("/v1/executions/{id}");
    peer.send(RawRequest::new("GET", &format!("{target}?follow=true")))
        .await;
    let put = RawRequest::new("PUT", &target).body(r#"{"prompt":"@say x"}"#);
    peer.send(put.bearer(api.tokens.secret("viewer"))).await;
    let me = peer.me(api.tokens.secret("alice")).await;
    assert_eq!(me.code, 200);
    let lines = audit(&api);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let expect = |line: &Value, fields: [(&str, Value); 6]| {
        for (name, value) in fields {
            assert_eq!(field(line, name), &value, "{name}: {line}");
        }
        assert!(line["timestamp"].is_string(), "{line}");
    };
    expect(
        &lines[0],
        [
            ("token", "-".into()),
            ("principal", Value::Null),
            ("peer", address.to_string().into()),
            ("method", "GET".into()),
            ("path", target.as_str().into()),
            ("outcome", "unauthorized".into()),
        ],
    );
    expect(
        &lines[1],
        [
            ("token", "viewer".into()),
            ("principal", "team-a".into()),
            ("peer", address.to_string().into()),
            ("method", "PUT".into()),
            ("path", target.as_str().into()),
            ("outcome", "forbidden".into()),
        ],
    );
    api.service.assert_quiet();
}

/// A flood fills no disk: at most 20 lines a minute for each peer, then a count.
#[tokio::test]
async fn a_flood_of_refused_requests_is_at_most_20_audit_lines_a_minute() {
    let (api, peer) = api().await;
    for _ in 0..200 {
        peer.me(&wrong()).await;
    }
    let lines = audit(&api);
    // The flood may fall into two minutes.
    assert!(
        (1..=2 * ATTEMPTS).contains(&lines.len()),
        "{} lines",
        lines.len()
    );
    api.service.assert_quiet();
}
