//! Tests of tokens: who gets a session or a page, which token each call sends, and when a session
//! ends with its token.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod common;

use std::time::Duration;

use cc_tests::ws::{Client, ConnectError, Options, raw};
use common::{Bridge, Fake, SOON, with_headers, with_token};
use protocol::{ExecutionId, Role, State};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Starts a claude-api with tokens, and a bridge that knows it.
async fn start(args: &[&str]) -> (Fake, Bridge) {
    let fake = Fake::start().await;
    for (token, principal, role) in [
        ("admin", "admin", Role::Admin),
        ("a", "team-a", Role::Control),
        ("a-view", "team-a", Role::View),
        ("b", "team-b", Role::Control),
        ("prometheus", "prometheus", Role::Metrics),
    ] {
        fake.add_token(token, principal, role);
    }
    let bridge = Bridge::start(fake.addr, args).await;
    bridge.until_tokens().await;
    (fake, bridge)
}

/// Returns the status, the type and the header `WWW-Authenticate` of a refused handshake.
async fn refused(bridge: &Bridge, options: Options) -> (u16, Value, String) {
    match Client::try_connect(bridge.addr, options).await {
        Err(ConnectError::Refused(response)) => {
            let scheme = response.headers().get("www-authenticate");
            let scheme = scheme.map_or("", |value| value.to_str().unwrap());
            let body: Value = serde_json::from_slice(response.body()).unwrap();
            let status = response.status().as_u16();
            (status, body["type"].clone(), scheme.to_owned())
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("not refused"),
    }
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{
    "protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn every_path_but_the_health_pages_needs_a_token() {
    let (fake, bridge) = start(&[]).await;
    for credential in [
        None,
        Some("Bearer wrong"),
        Some("Basic YTph"),
        Some("Bearer"),
        Some("Bearer a b"),
        Some("admin"),
    ] {
        let headers: Vec<_> = credential
            .map(|c| ("authorization", c))
            .into_iter()
            .collect();
        for path in ["/ws", "/ws/mcp", "/ws?token=admin"] {
            let options = Options {
                path: path.to_owned(),
                ..with_headers(&headers)
            };
            let expected = (401, json!("unauthorized"), "Bearer".to_owned());
            assert_eq!(
                refused(&bridge, options).await,
                expected,
                "{path} {credential:?}"
            );
        }
        for (method, path) in [
            ("POST", "/mcp"),
            ("GET", "/metrics"),
            ("POST", "/ws-ticket"),
        ] {
            let answer = bridge.request(method, path, &headers, "").await;
            assert_eq!(answer.status, 401, "{path} {credential:?}");
            assert_eq!(answer.body["type"], "unauthorized");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
        for path in ["/", "/health/live", "/health/ready"] {
            let answer = bridge.request("GET", path, &headers, "").await;
            assert_eq!(answer.status, 200, "{path} {credential:?}");
        }
    }
    assert_eq!(fake.world().puts.len(), 0);
    // One wrong token is one question, however often it is sent.
    assert_eq!(fake.world().questions, 1);
    let admin = [("authorization", "Bearer admin")];
    assert!(bridge.refused("unauthorized", &admin).await >= 36);
}

#[tokio::test]
async fn a_role_opens_only_what_it_permits() {
    let (_fake, bridge) = start(&[]).await;
    for (token, metrics, sessions) in [
        ("admin", 200, true),
        ("prometheus", 200, false),
        ("a", 403, true),
        ("a-view", 403, true),
    ] {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let page = bridge.request("GET", "/metrics", &headers, "").await;
        assert_eq!(page.status, metrics, "{token}");
        let mcp = [headers[0], ACCEPT, JSON];
        let mcp = bridge.request("POST", "/mcp", &mcp, INITIALIZE).await;
        if sessions {
            assert_eq!(mcp.status, 200, "{token}");
            bridge.connect_as(token).await.finish().await;
        } else {
            assert_eq!((mcp.status, &mcp.body["type"]), (403, &json!("forbidden")));
            let (status, kind, _) = refused(&bridge, with_token(token)).await;
            assert_eq!((status, kind), (403, json!("forbidden")), "{token}");
        }
    }
}

#[tokio::test]
async fn every_call_of_a_session_sends_its_token_also_after_its_end() {
    let (fake, bridge) = start(&["--disconnect-grace-ms", "50"]).await;
    let mut a = bridge.connect_as("a").await;
    let params = json!({"onDisconnect": "cancel"});
    let status = a.execute("x", params).await;
    let id: ExecutionId = status["executionId"].as_str().unwrap().parse().unwrap();
    fake.state(id, State::Running);
    fake.write(id, b"hello");
    a.wait_output(id, 5).await;
    let about = json!({"executionId": id});
    for method in ["status", "events", "share"] {
        a.call(method, about.clone()).await.unwrap();
    }
    a.call("list", json!({})).await.unwrap();
    a.call("control", json!({"type": "PAUSE", "executionId": id}))
        .await
        .unwrap();
    // Another principal has no such execution, and an admin has all.
    let mut b = bridge.connect_as("b").await;
    for (method, params) in [
        ("status", about.clone()),
        ("attach", about.clone()),
        ("events", about.clone()),
        ("share", about.clone()),
        ("control", json!({"type": "CANCEL", "executionId": id})),
    ] {
        let error = b.call(method, params).await.unwrap_err();
        assert_eq!(error["code"], -32003, "{method}");
    }
    let mut admin = bridge.connect_as("admin").await;
    assert!(admin.call("status", about).await.is_ok());
    let owns = |line: &str| line.contains(&id.to_string());
    let tokens = |fake: &Fake, token: &str| {
        let world = fake.world();
        let all = world.authorizations.iter();
        all.filter(|(line, t)| owns(line) && t.as_deref() == Some(token))
            .count()
    };
    assert_eq!((tokens(&fake, "b"), tokens(&fake, "admin")), (5, 1));
    a.vanish();
    fake.until(|w| w.executions[&id].status.state == State::Cancelled)
        .await;
    let world = fake.world();
    let cancel = format!("POST /v1/executions/{id}/cancel");
    let mut cancels = world
        .authorizations
        .iter()
        .filter(|(line, _)| *line == cancel);
    assert_eq!(cancels.next_back().unwrap().1.as_deref(), Some("a"));
    let mut all = world.authorizations.iter();
    assert!(all.all(|(_, token)| token.is_some()));
}

#[tokio::test]
async fn a_share_is_answered_and_its_parameters_are_sent() {
    let (fake, bridge) = start(&[]).await;
    let mut client = bridge.connect_as("a").await;
    let id: ExecutionId = client.start("x").await.parse().unwrap();
    let params = json!({"executionId": id, "role": "control", "expiresSeconds": 60});
    let share = client.call("share", params).await.unwrap();
    assert_eq!(
        (&share["token"], &share["role"]),
        (&json!("shared"), &json!("control"))
    );
    let line = format!("POST /v1/executions/{id}/share");
    let world = fake.world();
    assert!(world.authorizations.contains(&(line, Some("a".to_owned()))));
}

/// Sends a handshake with these headers, and returns the head of the answer in lower case.
async fn handshake(bridge: &Bridge, headers: &str) -> String {
    let mut stream = TcpStream::connect(bridge.addr).await.unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\n{headers}{}\r\n",
        raw::UPGRADE
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    raw::head(&mut stream).await.unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn a_subprotocol_carries_a_token_and_is_never_selected() {
    let (_fake, bridge) = start(&[]).await;
    for (headers, expected) in [
        ("Sec-WebSocket-Protocol: ccb.v1, ccb.bearer.a\r\n", "101"),
        (
            "Sec-WebSocket-Protocol: ccb.bearer.a\r\nSec-WebSocket-Protocol: ccb.v1\r\n",
            "101",
        ),
        (
            "Sec-WebSocket-Protocol: ccb.v1, ccb.bearer.wrong\r\n",
            "401",
        ),
        ("Sec-WebSocket-Protocol: ccb.v1, ccb.bearer.\r\n", "401"),
        ("Sec-WebSocket-Protocol: ccb.v1, ccb.ticket.a\r\n", "401"),
        ("Sec-WebSocket-Protocol: ccb.v1\r\n", "401"),
        ("Sec-WebSocket-Protocol: ccb.bearer.a\r\n", "400"),
        (
            "Sec-WebSocket-Protocol: ccb.v1, ccb.bearer.a, ccb.bearer.a\r\n",
            "400",
        ),
        (
            "Authorization: Bearer a\r\nSec-WebSocket-Protocol: ccb.v1, ccb.bearer.a\r\n",
            "400",
        ),
        (
            "Authorization: Bearer a\r\nAuthorization: Bearer a\r\n",
            "400",
        ),
        (
            "Authorization: Bearer a\r\nSec-WebSocket-Protocol: ccb.v1\r\n",
            "101",
        ),
    ] {
        let head = handshake(&bridge, headers).await;
        let status = head.split(' ').nth(1).unwrap();
        assert_eq!(status, expected, "{headers}");
        if expected == "101" {
            assert!(
                head.contains("\r\nsec-websocket-protocol: ccb.v1\r\n"),
                "{head}"
            );
        }
        assert!(
            !head.contains("ccb.bearer") && !head.contains("ccb.ticket"),
            "{head}"
        );
    }
}

#[tokio::test]
async fn a_ticket_opens_one_session_of_the_origin_for_which_it_was_made() {
    let page = "https://page.example";
    let args = [
        "--allowed-origins",
        "https://page.example,https://other.example",
    ];
    let (_fake, bridge) = start(&args).await;
    let ticket = async |origin: &str| {
        let headers = [("authorization", "Bearer a"), ("origin", origin)];
        let answer = bridge.request("POST", "/ws-ticket", &headers, "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("cache-control"), "no-store");
        answer.body["ticket"].as_str().unwrap().to_owned()
    };
    let open = async |ticket: &str, origin: &str| {
        let headers =
            format!("Origin: {origin}\r\nSec-WebSocket-Protocol: ccb.v1, ccb.ticket.{ticket}\r\n");
        let head = handshake(&bridge, &headers).await;
        head.split(' ').nth(1).unwrap().to_owned()
    };
    let first = ticket(page).await;
    assert_eq!(open(&first, page).await, "101");
    assert_eq!(open(&first, page).await, "401", "it works once");
    let second = ticket(page).await;
    assert_eq!(open(&second, "https://other.example").await, "401");
    assert_eq!(open(&second, page).await, "401", "it is used up");
    let answer = bridge.request("GET", "/ws-ticket", &[], "").await;
    assert_eq!(
        (answer.status, &answer.body["type"]),
        (405, &json!("method-not-allowed"))
    );
    // The preflight request of a browser has no token.
    for path in ["/ws-ticket", "/mcp"] {
        let preflight = [
            ("origin", page),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization"),
        ];
        let answer = bridge.request("OPTIONS", path, &preflight, "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), page);
        assert!(
            answer
                .header("access-control-allow-headers")
                .contains("authorization")
        );
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        let foreign = [
            ("origin", "https://foreign.example"),
            preflight[1],
            preflight[2],
        ];
        let answer = bridge.request("OPTIONS", path, &foreign, "").await;
        assert_eq!(answer.status, 403, "{path}");
    }
}

#[tokio::test]
async fn a_session_of_a_ticket_sends_the_token_for_which_the_ticket_stands() {
    let (fake, bridge) = start(&[]).await;
    let headers = [("authorization", "Bearer a")];
    let answer = bridge.request("POST", "/ws-ticket", &headers, "").await;
    let ticket = answer.body["ticket"].as_str().unwrap();
    let offer = format!("ccb.v1, ccb.ticket.{ticket}");
    let options = with_headers(&[("sec-websocket-protocol", &offer)]);
    let mut client = match Client::try_connect(bridge.addr, options).await {
        Ok(client) => client,
        Err(error) => panic!("{error}"),
    };
    client.start("x").await;
    let world = fake.world();
    let (_, token) = world.authorizations.first().unwrap();
    assert_eq!(token.as_deref(), Some("a"));
}

/// The bridge renews the token of a ticket while the session is open, and ends it when no call of
/// the session needs it any more.
#[tokio::test]
async fn the_token_of_a_ticket_is_renewed_and_ends_after_the_last_call_of_its_session() {
    let (fake, bridge) = start(&[]).await;
    let headers = [("authorization", "Bearer a")];
    let answer = bridge.request("POST", "/ws-ticket", &headers, "").await;
    let ticket = answer.body["ticket"].as_str().unwrap();
    let offer = format!("ccb.v1, ccb.ticket.{ticket}");
    let options = with_headers(&[("sec-websocket-protocol", &offer)]);
    let mut client = match Client::try_connect(bridge.addr, options).await {
        Ok(client) => client,
        Err(error) => panic!("{error}"),
    };
    let params = json!({"prompt": "x", "onDisconnect": "cancel"});
    let status = client.call("execute", params).await.unwrap();
    let id: ExecutionId = status["executionId"].as_str().unwrap().parse().unwrap();
    fake.until(|w| w.renewed == ["ccbr_a"]).await;
    assert_eq!(fake.world().ended_sessions, [""; 0]);
    // Whoever sends the same token gets a session that keeps nothing valid.
    let thief = bridge.connect_as("a").await;
    drop(client);
    fake.until(|w| !w.ended_sessions.is_empty()).await;
    let world = fake.world();
    assert_eq!(world.ended_sessions, ["ccbr_a"]);
    assert_eq!(world.unviewed, [id], "the cancel was sent before the end");
    drop(world);
    drop(thief);
}

#[tokio::test]
async fn shares_take_no_session_of_their_principal_and_one_share_leaves_some_to_others() {
    let args = ["--sessions-per-principal", "8", "--sessions", "100"];
    let (fake, bridge) = start(&args).await;
    let shares: Vec<_> = (0..5).map(|n| format!("share{n}")).collect();
    for share in &shares {
        fake.add_share(share, "team-a", ExecutionId::random());
    }
    let refused = async |token: &str| {
        let Ok(refused) = Client::try_connect(bridge.addr, with_token(token)).await else {
            panic!("the handshake is completed");
        };
        let error = refused.wait_without_id().await["error"].clone();
        assert_eq!(error["data"]["reason"], "sessions_per_principal");
        assert_eq!(refused.wait_closed().await, 1013);
        error["data"]["limit"].as_u64().unwrap()
    };
    let mut held = vec![bridge.connect_as(&shares[0]).await];
    assert_eq!(refused(&shares[0]).await, 1, "a quarter of the shares");
    for share in &shares[1..4] {
        held.push(bridge.connect_as(share).await);
    }
    assert_eq!(refused(&shares[4]).await, 4, "half of the principal");
    for _ in 0..8 {
        held.push(bridge.connect_as("a").await);
    }
    assert_eq!(refused("a").await, 8);
    drop(held);
}

#[tokio::test]
async fn a_removed_token_ends_its_sessions_and_nothing_else() {
    let (fake, bridge) = start(&[]).await;
    let mut removed = bridge.connect_as("a").await;
    let second = bridge.connect_as("a").await;
    let id: ExecutionId = removed.start("x").await.parse().unwrap();
    fake.state(id, State::Running);
    let mut other = bridge.connect_as("a-view").await;
    let before = fake.world().questions;
    fake.remove_token("a");
    let closes = async { (removed.wait_closed().await, second.wait_closed().await) };
    let closes = tokio::time::timeout(Duration::from_secs(15), closes).await;
    assert_eq!(closes.unwrap(), (1008, 1008));
    assert_eq!(fake.world().executions[&id].status.state, State::Running);
    assert!(fake.world().cancels.is_empty());
    assert_eq!(refused(&bridge, with_token("a")).await.0, 401);
    let status = other.call("status", json!({"executionId": id})).await;
    assert_eq!(status.unwrap()["state"], "running");
    // Two sessions of one token are one question in each interval.
    assert!(
        fake.world().questions <= before + 6,
        "{}",
        fake.world().questions
    );
}

#[tokio::test]
async fn a_claude_api_that_does_not_answer_ends_no_session_and_opens_none() {
    let (fake, bridge) = start(&["--call-ms", "500"]).await;
    let mut open = bridge.connect_as("a").await;
    fake.change(|w| w.no_judgement = true);
    let options = with_token("b");
    let refused = Client::try_connect(bridge.addr, options).await;
    let Ok(refused) = refused else {
        panic!("the handshake is completed");
    };
    assert_eq!(refused.wait_closed().await, 1013);
    let headers = [("authorization", "Bearer b")];
    for (method, path) in [
        ("GET", "/metrics"),
        ("POST", "/mcp"),
        ("POST", "/ws-ticket"),
    ] {
        let answer = bridge.request(method, path, &headers, "").await;
        assert_eq!(answer.status, 503, "{path}");
        assert_eq!(answer.header("retry-after"), "1");
    }
    let asked = fake.world().questions;
    let unanswered = async {
        while fake.world().questions < asked + 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), unanswered)
        .await
        .expect("two more questions about the open session");
    assert!(open.call("ping", json!({})).await.is_ok());
    fake.change(|w| w.no_judgement = false);
    assert!(
        bridge
            .connect_as("b")
            .await
            .call("list", json!({}))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_session_without_a_token_ends_when_claude_api_has_tokens() {
    let fake = Fake::start().await;
    fake.change(|w| w.down = true);
    let bridge = Bridge::start(fake.addr, &[]).await;
    let unknown = bridge.connect().await;
    fake.change(|w| w.down = false);
    let mut without = bridge.connect_as("ignored").await;
    without.start("x").await;
    assert_eq!(fake.world().questions, 0, "nobody is judged without tokens");
    fake.add_token("a", "team-a", Role::Control);
    let closes = async { (unknown.wait_closed().await, without.wait_closed().await) };
    let closes = tokio::time::timeout(SOON, closes).await;
    assert_eq!(closes.unwrap(), (1008, 1008));
    bridge.connect_as("a").await;
}

#[tokio::test]
async fn a_credential_waits_until_it_is_known_whether_there_are_tokens() {
    let fake = Fake::start().await;
    fake.add_token("a", "team-a", Role::Control);
    fake.change(|w| w.down = true);
    let bridge = Bridge::start(fake.addr, &[]).await;
    let Ok(refused) = Client::try_connect(bridge.addr, with_token("a")).await else {
        panic!("the handshake is completed");
    };
    assert_eq!(refused.wait_closed().await, 1013);
    let waiting = bridge.connect_as("a");
    let up = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        fake.change(|w| w.down = false);
    };
    tokio::join!(waiting, up);
}

#[tokio::test]
async fn a_principal_at_its_limit_takes_no_session_of_another() {
    let args = ["--sessions-per-principal", "2", "--sessions", "10"];
    let (_fake, bridge) = start(&args).await;
    let _first = bridge.connect_as("a").await;
    let _second = bridge.connect_as("a-view").await;
    let Ok(third) = Client::try_connect(bridge.addr, with_token("a")).await else {
        panic!("the handshake is completed");
    };
    let error = &third.wait_without_id().await["error"];
    assert_eq!(
        (&error["code"], &error["data"]["limit"]),
        (&json!(-32001), &json!(2))
    );
    assert_eq!(error["data"]["reason"], "sessions_per_principal");
    assert_eq!(third.wait_closed().await, 1013);
    bridge.connect_as("b").await;
    let admin = [("authorization", "Bearer admin")];
    assert_eq!(bridge.refused("sessions_per_principal", &admin).await, 1);
}

#[tokio::test]
async fn an_mcp_session_belongs_to_its_token_and_its_calls_send_it() {
    let (fake, bridge) = start(&[]).await;
    let post = async |token: &str, session: Option<&str>, body: &str| {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str()), ACCEPT, JSON];
        headers.extend(session.map(|id| ("mcp-session-id", id)));
        bridge.request("POST", "/mcp", &headers, body).await
    };
    let begun = post("a", None, INITIALIZE).await;
    let session = begun.header("mcp-session-id");
    assert!(begun.status == 200 && !session.is_empty(), "{begun:?}");
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(post("a", Some(session), initialized).await.status, 202);
    let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call",
        "params":{"name":"list","arguments":{}}}"#;
    let unknown = post("b", Some("6d4a7e10-0000-4000-8000-000000000000"), call).await;
    for token in ["b", "admin", "a-view"] {
        let foreign = post(token, Some(session), call).await;
        assert_eq!(
            (foreign.status, &foreign.body),
            (404, &unknown.body),
            "{token}"
        );
        let headers = [
            ("authorization", &*format!("Bearer {token}")),
            ("mcp-session-id", session),
        ];
        let ended = bridge.request("DELETE", "/mcp", &headers, "").await;
        assert_eq!(ended.status, 204, "as for an unknown session");
    }
    assert!(fake.world().authorizations.is_empty());
    let answer = post("a", Some(session), call).await;
    assert_eq!(answer.status, 200);
    let world = fake.world();
    let last = world.authorizations.last().unwrap();
    let expected = ("GET /v1/executions".to_owned(), Some("a".to_owned()));
    assert_eq!(*last, expected);
}

#[tokio::test]
async fn an_exposed_bridge_serves_only_health_pages_until_there_are_tokens() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &["--published-on", "0.0.0.0"]).await;
    let ready = async {
        loop {
            let (status, page) = bridge.get("/health/ready").await;
            if status == 503 {
                return page;
            }
        }
    };
    let page = tokio::time::timeout(SOON, ready).await.unwrap();
    assert_eq!(page["reasons"][0]["code"], "unauthenticated");
    assert!(
        page["reasons"][0]["remedy"]
            .as_str()
            .unwrap()
            .contains("CLAUDE_API_TOKENS_FILE")
    );
    for path in ["/", "/metrics", "/nowhere", "/mcp"] {
        let (status, problem) = bridge.get(path).await;
        assert_eq!(
            (status, &problem["type"]),
            (401, &json!("unauthorized")),
            "{path}"
        );
    }
    assert_eq!(refused(&bridge, Options::default()).await.0, 401);
    assert_eq!(bridge.get("/health/live").await.0, 200);
    fake.add_token("a", "team-a", Role::Control);
    let ready = async { while bridge.get("/health/ready").await.0 != 200 {} };
    tokio::time::timeout(SOON, ready).await.unwrap();
    bridge.connect_as("a").await;
    assert_eq!(refused(&bridge, Options::default()).await.0, 401);

    let args = ["--published-on", "0.0.0.0", "--allow-unauthenticated"];
    let fake = Fake::start().await;
    let allowed = Bridge::start(fake.addr, &args).await;
    allowed.connect().await;
    assert_eq!(allowed.get("/health/ready").await.0, 200);
}
