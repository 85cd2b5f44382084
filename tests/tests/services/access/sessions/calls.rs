//! One table of hostile requests within sessions: of another principal, of a smaller role and of
//! shares.

use serde_json::{Value, json};

use super::super::api::{listed, session};
use super::super::hostile::world::World;
use crate::support::{ended, id as new_id, path, send};

/// The methods that control or change an execution, with their parameters.
fn controls(id: &str) -> Vec<(&'static str, Value)> {
    let mut all: Vec<_> = ["PAUSE", "RESUME", "CANCEL"]
        .map(|kind| ("control", json!({"type": kind, "executionId": id})))
        .into();
    all.push((
        "input",
        json!({"executionId": id, "offset": 0, "data": "", "eof": true}),
    ));
    all.push((
        "answer",
        json!({"executionId": id, "questionId": new_id(),
            "decision": "allow"}),
    ));
    all
}

/// The methods that read an execution.
fn reads(id: &str) -> Vec<(&'static str, Value)> {
    ["status", "attach", "events"]
        .map(|method| (method, json!({ "executionId": id })))
        .into()
}

/// A hostile request in the session of the token or share `who`.
type Attempt = (&'static str, &'static str, Value, i64);

fn of_others(world: &World) -> Vec<Attempt> {
    let mut all = Vec::new();
    for id in [&world.victim.id, &world.ended, &world.deleted] {
        let share = ("share", json!({ "executionId": id }));
        for (method, params) in reads(id).into_iter().chain(controls(id)).chain([share]) {
            all.push(("bob", method, params, -32003));
        }
        all.push(("bob", "list", json!({ "before": id }), -32003));
        all.push((
            "bob",
            "execute",
            json!({"prompt": "x", "executionId": id}),
            -32009,
        ));
        all.push((
            "bob",
            "execute",
            json!({"prompt": "@say over", "executionId": id}),
            -32009,
        ));
        all.push((
            "bob",
            "execute",
            json!({"prompt": "x", "conversation": id}),
            -32003,
        ));
        all.push((
            "bob",
            "execute",
            json!({"prompt": "x", "continues": id}),
            -32003,
        ));
    }
    all.push(("bob", "status", json!({ "executionId": new_id() }), -32003));
    all.push(("narrow", "execute", json!({"prompt": "x"}), -32002));
    all.push((
        "narrow",
        "execute",
        json!({"prompt": "x", "workspace": "bank"}),
        -32002,
    ));
    let dear = json!({"prompt": "x", "workspace": "shop", "maxBudgetUsd": 2});
    all.push(("narrow", "execute", dear, -32002));
    all
}

fn of_smaller_roles(world: &World) -> Vec<Attempt> {
    let victim = &world.victim.id;
    let mut all = Vec::new();
    for who in ["viewer", "share view"] {
        for (method, params) in controls(victim) {
            all.push((who, method, params, -32002));
        }
    }
    for who in ["viewer", "share view", "share control"] {
        all.push((who, "execute", json!({"prompt": "x"}), -32002));
        all.push((
            who,
            "execute",
            json!({"prompt": "x", "executionId": victim}),
            -32002,
        ));
        all.push((
            who,
            "execute",
            json!({"prompt": "x", "continues": victim}),
            -32002,
        ));
        all.push((who, "share", json!({ "executionId": victim }), -32002));
    }
    for who in ["share view", "share control"] {
        all.push((who, "list", json!({}), -32002));
    }
    // Other executions do not exist for the holder of a share.
    for (method, params) in reads(victim).into_iter().chain(controls(victim)) {
        all.push(("share of ended", method, params.clone(), -32003));
        all.push(("share of bob's", method, params, -32003));
    }
    all
}

fn secret<'a>(world: &'a World, who: &str) -> &'a str {
    match who {
        "share view" => &world.shares.view,
        "share control" => &world.shares.control,
        "share of ended" => &world.shares.of_ended,
        "share of bob's" => &world.shares.of_bobs,
        name => world.token(name),
    }
}

#[tokio::test]
async fn hostile_requests_of_sessions_get_their_codes_and_change_nothing() {
    let world = World::start().await;
    let bridge = world.api.bridge(&[]).await;
    let known = listed(&world.api.http("admin")).await;
    let starts = world.api.starts();
    let mut table = of_others(&world);
    table.extend(of_smaller_roles(&world));
    let mut faults = Vec::new();
    let mut sessions = std::collections::HashMap::new();
    for (who, method, params, code) in &table {
        if !sessions.contains_key(who) {
            sessions.insert(*who, session(&bridge, secret(&world, who)).await);
        }
        let client = sessions.get_mut(who).expect("a session");
        let answer = client.call(method, params.clone()).await;
        let got = answer.as_ref().err().map(|error| error["code"].clone());
        if got != Some(json!(code)) {
            faults.push(format!("{who} {method} {params}: {answer:?}, not {code}"));
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {}:\n{}",
        faults.len(),
        table.len(),
        faults.join("\n")
    );
    for (who, client) in sessions {
        let text = super::isolation::received(&client);
        for word in ["begun", "\"team-a\"", "\"main\""] {
            let own = matches!(who, "viewer" | "share view" | "share control");
            assert!(own || !text.contains(word), "{who} is told {word}");
        }
        client.finish().await;
    }
    assert_eq!(listed(&world.api.http("admin")).await, known);
    assert_eq!(world.api.starts(), starts);
    world.victim.open();
    let alice = world.api.http("alice");
    let eof = path(&world.victim.id, "/input?offset=0&eof=true");
    let (_, _, answer) = send(&alice, reqwest::Method::POST, &eof, "").await;
    assert_eq!(answer["accepted"], 0, "{answer}");
    assert_eq!(ended(&alice, &world.victim.id).await["state"], "completed");
    bridge.assert_quiet();
    world.api.service.assert_quiet();
}
