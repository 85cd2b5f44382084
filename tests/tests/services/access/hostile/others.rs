//! A right token of another principal: its executions do not exist, whatever is asked about them.

use cc_tests::raw_http::RawRequest;
use serde_json::json;

use super::Attempt;
use super::world::{CONTROLS, REACHED, READS, World, call, put};

pub(super) fn attempts(world: &World) -> Vec<Attempt> {
    let mut all = calls(world);
    all.extend(ids_in_use(world));
    all.extend(references(world));
    all.extend(guesses(world));
    all
}

/// Each call about a running, an ended and a deleted execution of another principal.
fn calls(world: &World) -> Vec<Attempt> {
    let mut all = Vec::new();
    for (id, kind) in [
        (&world.victim.id, "running"),
        (&world.ended, "ended"),
        (&world.deleted, "deleted"),
    ] {
        let hidden = |method: &str, rest: &str, request: RawRequest| {
            let what = format!("{method} {rest} of another's {kind} execution");
            Attempt::new(what, request.bearer(world.token("bob")), 404, "not-found")
        };
        for rest in READS {
            all.push(hidden("GET", rest, call("GET", id, rest)));
        }
        for (method, rest, body) in CONTROLS {
            all.push(hidden(method, rest, call(method, id, rest).body(body)));
        }
    }
    let share = format!("/share/{}", world.shares.view_id);
    let end = call("DELETE", &world.victim.id, &share).bearer(world.token("bob"));
    all.push(Attempt::new(
        "the end of another's share",
        end,
        404,
        "not-found",
    ));
    let upper = call("GET", &world.victim.id.to_uppercase(), "").bearer(world.token("bob"));
    all.push(Attempt::new(
        "the id in upper case",
        upper,
        404,
        "not-found",
    ));
    all
}

/// A PUT with the id of another principal's execution.
fn ids_in_use(world: &World) -> Vec<Attempt> {
    let equal = json!({"prompt": world.victim.prompt, "lane": "main", "input": "stream"});
    let equal = equal.to_string();
    let over = r#"{"prompt":"@say over"}"#;
    let in_use = |what: &str, id: &str, body: &str| {
        let request = call("PUT", id, "").body(body).bearer(world.token("bob"));
        Attempt::new(what, request, 409, "id-in-use")
    };
    let stream = RawRequest::new("PUT", &crate::support::path(&world.victim.id, ""))
        .body(equal.as_str())
        .bearer(world.token("bob"));
    vec![
        in_use("another's running id, equal body", &world.victim.id, &equal),
        in_use(
            "another's running id, other body",
            &world.victim.id,
            REACHED,
        ),
        in_use("another's ended id, equal body", &world.ended, over),
        in_use("another's ended id, other body", &world.ended, REACHED),
        in_use("another's deleted id, equal body", &world.deleted, over),
        in_use("another's deleted id, other body", &world.deleted, REACHED),
        Attempt::new("another's output by PUT", stream, 409, "id-in-use"),
    ]
}

/// Bodies and queries that name another principal's execution or conversation.
fn references(world: &World) -> Vec<Attempt> {
    let with = |what: &str, body: serde_json::Value, kind: &'static str| {
        let request = put().body(body.to_string()).bearer(world.token("bob"));
        Attempt::new(what, request, 404, kind)
    };
    let before = |what: &str, id: &str| {
        let target = format!("/v1/executions?before={id}");
        let request = RawRequest::new("GET", &target).bearer(world.token("bob"));
        Attempt::new(what, request, 404, "not-found")
    };
    let (victim, ended) = (&world.victim.id, &world.ended);
    vec![
        with(
            "another's conversation, running",
            json!({"prompt": "x", "conversation": victim}),
            "unknown-conversation",
        ),
        with(
            "another's conversation, ended",
            json!({"prompt": "x", "conversation": ended}),
            "unknown-conversation",
        ),
        with(
            "another's conversation in another workspace",
            json!({"prompt": "x", "conversation": ended, "workspace": "other"}),
            "unknown-conversation",
        ),
        with(
            "another's conversation and lane",
            json!({"prompt": "x", "conversation": victim, "lane": "main"}),
            "unknown-conversation",
        ),
        with(
            "continues a running one of another",
            json!({"prompt": "x", "continues": victim}),
            "not-found",
        ),
        with(
            "continues an ended one of another",
            json!({"prompt": "x", "continues": ended}),
            "not-found",
        ),
        with(
            "continues a deleted one of another",
            json!({"prompt": "x", "continues": world.deleted}),
            "not-found",
        ),
        before("a list before another's running one", victim),
        before("a list before another's ended one", ended),
        before("a list before another's deleted one", &world.deleted),
    ]
}

/// Ids that nobody told the attacker.
fn guesses(world: &World) -> Vec<Attempt> {
    let mut near = world.victim.id.clone();
    let last = near.pop();
    near.push(if last == Some('0') { '1' } else { '0' });
    let guess = |what: &str, id: &str| {
        let request = call("GET", id, "/output").bearer(world.token("bob"));
        Attempt::new(what, request, 404, "not-found")
    };
    vec![
        guess("the nil id", "00000000-0000-0000-0000-000000000000"),
        guess("the largest id", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
        guess("the next id", &near),
    ]
}
