//! Tickets that are used, meant for others or sent in a wrong place, and forged session tokens.

use cc_tests::raw_http::RawRequest;
use protocol::access::{base64url, from_base64url};
use serde_json::{Value, json};

use super::Attempt;
use super::world::{ORIGIN, World, put};

fn redeem(body: &Value) -> RawRequest {
    RawRequest::new("POST", "/v1/tickets/redeem").body(body.to_string())
}

pub(super) fn attempts(world: &World) -> Vec<Attempt> {
    let mut all = tickets(world);
    all.extend(forged(world));
    all
}

fn tickets(world: &World) -> Vec<Attempt> {
    let refused = |what: &str, ticket: &str, origin: Option<&str>| {
        let body = json!({"ticket": ticket, "origin": origin});
        Attempt::unauthorized(what, redeem(&body))
    };
    let [one, two, three, four] = [0, 1, 2, 3].map(|n| world.tickets[n].as_str());
    let without = world.ticket_without_origin.as_str();
    let with_token = redeem(&json!({"ticket": "x"})).bearer(world.token("alice"));
    let bodies = [
        ("a body that is no JSON", "{"),
        ("a list of tickets", "[]"),
        ("no ticket", "{}"),
        ("a ticket that is no text", r#"{"ticket":7}"#),
        (
            "a field that is unknown",
            r#"{"ticket":"x","role":"admin"}"#,
        ),
        ("a ticket twice", r#"{"ticket":"x","ticket":"y"}"#),
    ];
    let mut all = vec![
        refused("a ticket twice", &world.used_ticket, None),
        refused(
            "a ticket with another origin",
            one,
            Some("https://evil.example"),
        ),
        refused(
            "a ticket that was tried with another origin",
            one,
            Some(ORIGIN),
        ),
        refused("a ticket without its origin", two, None),
        refused(
            "a ticket with its origin in upper case",
            three,
            Some("HTTPS://APP.EXAMPLE"),
        ),
        refused(
            "a ticket with an origin that it does not have",
            without,
            Some(ORIGIN),
        ),
        refused("an empty ticket", "", None),
        refused("a wildcard", "*", Some(ORIGIN)),
        refused("a token as a ticket", world.token("alice"), None),
        refused("a share as a ticket", &world.shares.view, None),
        refused("a session token as a ticket", &world.session, None),
        Attempt::unauthorized("an unknown ticket beside a right token", with_token),
        Attempt::unauthorized("a ticket as a token", put().bearer(four)),
        Attempt::unauthorized("a used ticket as a token", put().bearer(&world.used_ticket)),
        Attempt::unauthorized(
            "a ticket without a token",
            RawRequest::new("POST", "/v1/tickets").body("{}"),
        ),
        Attempt::unauthorized(
            "a redeem by PUT",
            RawRequest::new("PUT", "/v1/tickets/redeem").body(json!({"ticket": four}).to_string()),
        ),
        Attempt::unauthorized(
            "a redeem on a longer path",
            RawRequest::new("POST", "/v1/tickets/redeem/").body("{}"),
        ),
        Attempt::new(
            "a ticket in the query",
            RawRequest::new("POST", &format!("/v1/tickets/redeem?ticket={four}")).body("{}"),
            400,
            "invalid-query",
        ),
    ];
    for (what, body) in bodies {
        let request = RawRequest::new("POST", "/v1/tickets/redeem").body(body);
        all.push(Attempt::new(what, request, 400, "invalid-body"));
    }
    all
}

/// A session token is 32 bytes that the service cannot be made to accept otherwise. Only its
/// renewal secret renews and ends it.
fn forged(world: &World) -> Vec<Attempt> {
    let text = world
        .session
        .strip_prefix("ccbt_")
        .expect("the prefix of a session token");
    let bytes = from_base64url(text).expect("base64url");
    let wrong = |what: &str, bytes: &[u8]| {
        let token = format!("ccbt_{}", base64url(bytes));
        Attempt::unauthorized(format!("a session token with {what}"), put().bearer(&token))
    };
    let changed = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    let admin = protocol::SecretHash::of(world.token("admin").as_bytes());
    let session = |method: &str| RawRequest::new(method, "/v1/tickets/session");
    vec![
        wrong("another first byte", &changed(0)),
        wrong("another last byte", &changed(31)),
        wrong("the hash of the admin", admin.as_bytes()),
        wrong("half of its bytes", &bytes[..16]),
        wrong("more bytes", &[&bytes[..], &[0; 3]].concat()),
        wrong("no bytes", &[]),
        Attempt::unauthorized("a session token without its prefix", put().bearer(text)),
        Attempt::unauthorized(
            "a session token as a share",
            put().bearer(&format!("ccbs_{text}")),
        ),
        Attempt::unauthorized("a renewal without a secret", session("PUT")),
        Attempt::unauthorized("an end without a secret", session("DELETE")),
        Attempt::unauthorized(
            "a renewal with the session token",
            session("PUT").bearer(&world.session),
        ),
        Attempt::unauthorized(
            "a renewal with the bytes of the session token",
            session("PUT").bearer(&format!("ccbr_{text}")),
        ),
        Attempt::unauthorized(
            "a renewal with a token",
            session("PUT").bearer(world.token("alice")),
        ),
    ]
}
