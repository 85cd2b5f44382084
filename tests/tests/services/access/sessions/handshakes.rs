//! One table of hostile handshakes and HTTP requests to the bridge. Each is refused before any
//! session begins.

use cc_tests::raw_http::RawRequest;

use super::super::api::{WAIT, listed};
use super::super::hostile::world::{ORIGIN, World};
use crate::support::ended;

/// A hostile request to the bridge, with the right status code and problem type.
struct Attempt {
    what: String,
    request: RawRequest,
    code: u16,
    kind: &'static str,
}

fn attempt(what: impl Into<String>, request: RawRequest, code: u16, kind: &'static str) -> Attempt {
    Attempt {
        what: what.into(),
        request,
        code,
        kind,
    }
}

fn unauthorized(what: impl Into<String>, request: RawRequest) -> Attempt {
    attempt(what, request, 401, "unauthorized")
}

/// Secrets that open nothing, each in the header and in the subprotocol.
fn wrong_secrets(world: &World) -> Vec<Attempt> {
    let token = world.token("alice");
    let mut all = Vec::new();
    for (what, secret) in [
        ("a truncated token", &token[..46]),
        ("a token without its prefix", &token[4..]),
        ("a longer token", &format!("{token}A")),
        ("a token in lower case", &token.to_ascii_lowercase()),
        ("a token of another service", &world.foreign),
        ("an expired token", world.token("expired")),
        ("a removed token", world.token("removed")),
        ("an ended share", &world.shares.over),
        ("the share of a deleted execution", &world.shares.of_deleted),
        ("a ticket as a token", &world.tickets[0]),
        ("the name of a token", "alice"),
    ] {
        let header = RawRequest::upgrade("/ws").bearer(secret);
        all.push(unauthorized(format!("{what} in the header"), header));
        let offer = format!("ccb.v1, ccb.bearer.{secret}");
        let offer = RawRequest::upgrade("/ws").header("Sec-WebSocket-Protocol", offer);
        all.push(unauthorized(format!("{what} in a subprotocol"), offer));
        for (method, target) in [
            ("POST", "/mcp"),
            ("POST", "/ws-ticket"),
            ("GET", "/metrics"),
        ] {
            let request = RawRequest::new(method, target).bearer(secret);
            all.push(unauthorized(format!("{what} for {target}"), request));
        }
    }
    all
}

/// Right secrets in a wrong form or place.
fn wrong_places(world: &World) -> Vec<Attempt> {
    let token = world.token("alice");
    let offer = |value: String| RawRequest::upgrade("/ws").header("Sec-WebSocket-Protocol", value);
    let invalid = |what: &str, request| attempt(what, request, 400, "invalid-handshake");
    let mut all = vec![
        invalid(
            "a secret without ccb.v1",
            offer(format!("ccb.bearer.{token}")),
        ),
        invalid(
            "two secrets in subprotocols",
            offer(format!("ccb.v1, ccb.bearer.{token}, ccb.bearer.{token}")),
        ),
        invalid(
            "a token and a ticket",
            offer(format!(
                "ccb.v1, ccb.bearer.{token}, ccb.ticket.{}",
                world.tickets[0]
            )),
        ),
        invalid(
            "a secret in the header and in a subprotocol",
            offer(format!("ccb.v1, ccb.bearer.{token}")).bearer(token),
        ),
        invalid(
            "two headers",
            RawRequest::upgrade("/ws")
                .bearer(token)
                .bearer(&world.foreign),
        ),
        unauthorized("an empty secret", offer("ccb.v1, ccb.bearer.".to_owned())),
        unauthorized(
            "a secret with a blank",
            offer(format!("ccb.v1, ccb.bearer.{token} x")),
        ),
        unauthorized("another prefix", offer(format!("ccb.v1, bearer.{token}"))),
        unauthorized("upper case", offer(format!("ccb.v1, CCB.BEARER.{token}"))),
        unauthorized(
            "a ticket as bearer",
            offer(format!("ccb.v1, ccb.bearer.{}", world.tickets[0])),
        ),
        unauthorized(
            "a token as ticket",
            offer(format!("ccb.v1, ccb.ticket.{token}")),
        ),
    ];
    for target in ["/ws", "/ws/mcp"] {
        all.push(unauthorized(
            format!("{target} without a token"),
            RawRequest::upgrade(target),
        ));
        for name in ["token", "access_token", "ticket", "authorization"] {
            let request = RawRequest::upgrade(&format!("{target}?{name}={token}"));
            all.push(unauthorized(
                format!("{target} with {name} in the query"),
                request,
            ));
        }
        for (name, value) in [
            ("Cookie", format!("token={token}")),
            ("Proxy-Authorization", format!("Bearer {token}")),
            ("X-Forwarded-Authorization", format!("Bearer {token}")),
            ("Authorization", format!("Basic {token}")),
            ("Authorization", token.to_owned()),
            ("Authorization", format!("Bearer {token} {token}")),
            ("X-Forwarded-For", "127.0.0.1".to_owned()),
            ("X-Original-URL", "/health/live".to_owned()),
        ] {
            let request = RawRequest::upgrade(target).header(name, value);
            all.push(unauthorized(format!("{target} with {name}"), request));
        }
    }
    for (method, target) in [
        ("POST", "/mcp"),
        ("GET", "/mcp"),
        ("DELETE", "/mcp"),
        ("POST", "/ws-ticket"),
        ("GET", "/metrics"),
    ] {
        let request = RawRequest::new(method, target);
        all.push(unauthorized(
            format!("{method} {target} without a token"),
            request.clone(),
        ));
        let twice = request.bearer(token).bearer(token);
        all.push(unauthorized(
            format!("{method} {target} with two tokens"),
            twice,
        ));
    }
    all
}

/// Tickets that are used, or meant for another page. Each is sent in the order of the table.
fn tickets(world: &World) -> Vec<Attempt> {
    let ticket = |what: &str, ticket: &str, origin: Option<&str>| {
        let offer = format!("ccb.v1, ccb.ticket.{ticket}");
        let request = RawRequest::upgrade("/ws").header("Sec-WebSocket-Protocol", offer);
        let request = match origin {
            Some(origin) => request.header("Origin", origin),
            None => request,
        };
        unauthorized(what, request)
    };
    vec![
        ticket("a used ticket", &world.used_ticket, None),
        ticket("a ticket without its origin", &world.tickets[1], None),
        ticket(
            "a ticket that was tried without its origin",
            &world.tickets[1],
            Some(ORIGIN),
        ),
        ticket(
            "a ticket with an origin that it does not have",
            &world.ticket_without_origin,
            Some(ORIGIN),
        ),
        ticket("a session token as a ticket", &world.session, None),
    ]
}

/// Right secrets whose role does not permit the request, and foreign pages.
fn forbidden(world: &World) -> Vec<Attempt> {
    let mut all = Vec::new();
    let scraper = world.token("scraper");
    for (what, request) in [
        ("a session with metrics", RawRequest::upgrade("/ws")),
        ("MCP with metrics", RawRequest::new("POST", "/mcp")),
        (
            "a ticket with metrics",
            RawRequest::new("POST", "/ws-ticket"),
        ),
    ] {
        all.push(attempt(what, request.bearer(scraper), 403, "forbidden"));
    }
    for name in ["alice", "viewer"] {
        let request = RawRequest::new("GET", "/metrics").bearer(world.token(name));
        all.push(attempt(
            format!("metrics with {name}"),
            request,
            403,
            "forbidden",
        ));
    }
    let share = RawRequest::new("GET", "/metrics").bearer(&world.shares.control);
    all.push(attempt("metrics with a share", share, 403, "forbidden"));
    let token = world.token("alice");
    let host = RawRequest::upgrade("/ws")
        .host(Some("evil.example"))
        .bearer(token);
    all.push(attempt("a foreign host", host, 403, "foreign-host"));
    for origin in ["https://evil.example", "null"] {
        let request = RawRequest::upgrade("/ws")
            .header("Origin", origin)
            .bearer(token);
        all.push(attempt(
            format!("the origin {origin}"),
            request,
            403,
            "foreign-origin",
        ));
        let request = RawRequest::new("POST", "/ws-ticket")
            .header("Origin", origin)
            .bearer(token);
        all.push(attempt(
            format!("a ticket for {origin}"),
            request,
            403,
            "foreign-origin",
        ));
    }
    all
}

#[tokio::test]
async fn hostile_handshakes_are_refused_before_any_session() {
    let world = World::start().await;
    let bridge = world
        .api
        .bridge(&[&format!("--allowed-origins={ORIGIN}")])
        .await;
    let mut table = wrong_secrets(&world);
    table.extend(wrong_places(&world));
    table.extend(tickets(&world));
    table.extend(forbidden(&world));
    let known = listed(&world.api.http("admin")).await;
    let secrets = world.secrets();
    let mut faults = Vec::new();
    for Attempt {
        what,
        request,
        code,
        kind,
    } in &table
    {
        let answer = request.send(bridge.addr(), WAIT).await;
        let problem = answer.json();
        let told = secrets.iter().any(|secret| answer.text.contains(secret));
        let scheme = answer.header("www-authenticate") == Some("Bearer");
        let right = (answer.code, problem["type"].as_str()) == (*code, Some(kind));
        if !right || told || (*code == 401 && !scheme) {
            faults.push(format!("{what}: not {code} {kind}\n{}", answer.text));
        }
    }
    let count = table.len();
    assert!(
        faults.is_empty(),
        "{} of {count} are wrong:\n{}",
        faults.len(),
        faults.join("\n---\n")
    );
    assert_eq!(listed(&world.api.http("admin")).await, known);
    // Right secrets still work: the metrics page, and the victim's execution.
    for name in ["scraper", "admin"] {
        let request = RawRequest::new("GET", "/metrics").bearer(world.token(name));
        let answer = request.send(bridge.addr(), WAIT).await;
        assert_eq!(answer.code, 200, "{name}: {}", answer.text);
    }
    world.victim.open();
    let alice = world.api.http("alice");
    let eof = crate::support::path(&world.victim.id, "/input?offset=0&eof=true");
    crate::support::send(&alice, reqwest::Method::POST, &eof, "").await;
    assert_eq!(ended(&alice, &world.victim.id).await["state"], "completed");
    bridge.assert_quiet();
    world.api.service.assert_quiet();
}
