//! Many wrong tokens from one address, and the audit log of refused requests.
//!
//! This machine is exempt from the limit. So the clients of these tests come through a trusted
//! proxy, which names them in `X-Forwarded-For`.

use cc_tests::harness::StackOptions;
use cc_tests::raw_http::{RawAnswer, RawRequest};
use protocol::Token;
use serde_json::Value;

use super::api::{Api, WAIT, usual_tokens};

/// How many wrong tokens one address may send in a minute.
const ATTEMPTS: usize = 20;

/// A client behind the proxy.
struct Peer<'a> {
    address: &'static str,
    api: &'a Api,
}

impl Peer<'_> {
    async fn send(&self, request: RawRequest) -> RawAnswer {
        let request = request.header("X-Forwarded-For", self.address);
        request.send(self.api.service.addr(), WAIT).await
    }

    async fn me(&self, token: &str) -> RawAnswer {
        self.send(RawRequest::new("GET", "/v1/me").bearer(token))
            .await
    }
}

async fn api() -> Api {
    let tokens = usual_tokens().with("viewer", "view", &["principal = \"team-a\""]);
    let options = StackOptions::default().api("--trusted-proxies=127.0.0.1");
    Api::start(tokens, options).await
}

/// Returns the client at this address.
fn peer<'a>(api: &'a Api, address: &'static str) -> Peer<'a> {
    Peer { address, api }
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
    let api = api().await;
    let peer = peer(&api, "192.0.2.7");
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
    // A request without a token guesses nothing.
    assert_eq!(peer.send(RawRequest::new("GET", "/v1/me")).await.code, 401);
    // The client is the rightmost address that is no proxy: the rest is what the client says.
    for (list, code) in [
        ("192.0.2.8", 401),
        ("192.0.2.8, 192.0.2.7", 429),
        ("192.0.2.8, 192.0.2.7, 127.0.0.1", 429),
        ("192.0.2.7, 192.0.2.8", 401),
        ("::ffff:192.0.2.7", 429),
    ] {
        let request = RawRequest::new("GET", "/v1/me").header("X-Forwarded-For", list);
        let answer = request
            .bearer(&wrong())
            .send(api.service.addr(), WAIT)
            .await;
        assert_eq!(answer.code, code, "{list}: {}", answer.text);
    }
    // Who does not name the client is not served, whatever the token.
    for list in ["", "nonsense", "192.0.2.7,", "127.0.0.1", "192.0.2.300"] {
        let request = RawRequest::new("GET", "/v1/me").header("X-Forwarded-For", list);
        let answer = request.bearer(alice).send(api.service.addr(), WAIT).await;
        assert_eq!(
            answer.json()["type"],
            "invalid-forwarded-for",
            "{list}: {}",
            answer.text
        );
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
    let api = api().await;
    let peer = peer(&api, "192.0.2.7");
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
            ("peer", peer.address.into()),
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
            ("peer", peer.address.into()),
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
    let api = api().await;
    let (flood, other) = (peer(&api, "192.0.2.7"), peer(&api, "192.0.2.8"));
    for _ in 0..200 {
        flood.me(&wrong()).await;
    }
    other.me(&wrong()).await;
    let lines = audit(&api);
    let of = |address: &str| {
        let lines = lines.iter().filter(|line| field(line, "peer") == address);
        lines.count()
    };
    // The flood may fall into two minutes.
    assert!(
        (1..=2 * ATTEMPTS).contains(&of(flood.address)),
        "{} lines",
        lines.len()
    );
    assert_eq!(
        of(other.address),
        1,
        "the flood hides another client: {lines:#?}"
    );
    api.service.assert_quiet();
}

/// From a peer that is no proxy, the header is ignored: it neither blames nor hides anybody.
#[tokio::test]
async fn the_header_of_a_peer_that_is_no_proxy_is_ignored() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let peer = peer(&api, "192.0.2.7");
    for _ in 0..ATTEMPTS + 5 {
        assert_eq!(peer.me(&wrong()).await.code, 401);
    }
    let lines = audit(&api);
    assert!(
        lines.iter().all(|line| field(line, "peer") == "127.0.0.1"),
        "{lines:#?}"
    );
    api.service.assert_quiet();
}
