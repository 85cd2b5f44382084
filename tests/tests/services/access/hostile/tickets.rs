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

/// A session token names a token by its hash, with a signature of the service.
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
    // The layout: the kind, 16 bytes of an id, 32 bytes of a hash, 32 bytes of the signature.
    let admin = protocol::SecretHash::of(world.token("admin").as_bytes());
    let mut of_admin = bytes.clone();
    of_admin[17..49].copy_from_slice(admin.as_bytes());
    let unsigned = [&of_admin[..49], &[0; 32]].concat();
    vec![
        wrong("another kind", &changed(0)),
        wrong("another id", &changed(1)),
        wrong("another hash", &changed(17)),
        wrong("the hash of the admin", &of_admin),
        wrong("the hash of the admin and an empty signature", &unsigned),
        wrong("another signature", &changed(49)),
        wrong("another end of the signature", &changed(80)),
        wrong("half of the signature", &bytes[..65]),
        wrong("no signature", &bytes[..49]),
        wrong("a longer signature", &[&bytes[..], &[0; 3]].concat()),
        Attempt::unauthorized("a session token without its prefix", put().bearer(text)),
        Attempt::unauthorized(
            "a session token as a share",
            put().bearer(&format!("ccbs_{text}")),
        ),
    ]
}
