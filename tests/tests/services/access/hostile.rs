//! One table of hostile requests. Each has one expected answer, none starts an execution, and none
//! changes the execution of the victim.

mod others;
mod requests;
mod roles;
mod shared;
mod tickets;
mod tokens;
pub(crate) mod world;

use std::collections::HashSet;

use cc_tests::raw_http::{RawAnswer, RawRequest};
use reqwest::Method;
use serde_json::{Value, json};

use super::api::{WAIT, listed};
use crate::support::{ended, path, send};
use world::World;

/// The fewest requests that the table must have.
const ATTEMPTS_MIN: usize = 100;

/// A hostile request and the only right answer to it.
pub(crate) struct Attempt {
    /// The trick, in words.
    what: String,
    request: RawRequest,
    expected: Expected,
}

/// The right answer to a hostile request.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// A problem with this status code and type.
    Problem(u16, &'static str),
    /// This status code without a problem: the HTTP library refuses the request, or it is harmless.
    Bare(u16),
}

impl Attempt {
    /// Creates a request that must be answered with a problem of this type.
    fn new(what: impl Into<String>, request: RawRequest, code: u16, kind: &'static str) -> Self {
        Self {
            what: what.into(),
            request,
            expected: Expected::Problem(code, kind),
        }
    }

    /// Creates a request that must be answered with this status code alone.
    fn bare(what: impl Into<String>, request: RawRequest, code: u16) -> Self {
        Self {
            what: what.into(),
            request,
            expected: Expected::Bare(code),
        }
    }

    /// Creates a request that must be answered with 401 `unauthorized`.
    fn unauthorized(what: impl Into<String>, request: RawRequest) -> Self {
        Self::new(what, request, 401, "unauthorized")
    }

    /// Returns what is wrong with this answer; `None` if it is right.
    fn fault(&self, answer: &RawAnswer, secrets: &[String]) -> Option<String> {
        let kind = answer.json()["type"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let (code, expected_kind) = match self.expected {
            Expected::Problem(code, kind) => (code, Some(kind)),
            Expected::Bare(code) => (code, None),
        };
        if answer.code != code || expected_kind.is_some_and(|expected| expected != kind) {
            return Some(format!("{} {kind}, not {:?}", answer.code, self.expected));
        }
        if code == 401 && answer.header("www-authenticate") != Some("Bearer") {
            return Some("a 401 without WWW-Authenticate: Bearer".to_owned());
        }
        let told = secrets
            .iter()
            .find(|secret| answer.text.contains(secret.as_str()));
        // Only a ticket's own answer may have a secret, and no attempt gets one.
        told.map(|_| "the answer has a secret".to_owned())
    }
}

fn table(world: &World) -> Vec<Attempt> {
    let mut table = tokens::attempts(world);
    table.extend(roles::attempts(world));
    table.extend(others::attempts(world));
    table.extend(shared::attempts(world));
    table.extend(tickets::attempts(world));
    table.extend(requests::attempts(world));
    table
}

/// I7. The fields of a status that change while an execution runs undisturbed are left out.
fn steady(mut status: Value) -> Value {
    if let Some(fields) = status.as_object_mut() {
        for changing in ["durationMs", "activity", "stalled"] {
            fields.remove(changing);
        }
    }
    status
}

#[tokio::test]
async fn hostile_requests_are_refused_start_nothing_and_change_nothing() {
    let world = World::start().await;
    let alice = world.api.http("alice");
    let before = steady(alice.status(&world.victim.id).await.expect("a status"));
    let known: HashSet<_> = listed(&world.api.http("admin")).await.into_iter().collect();
    let starts = world.api.starts();
    let table = table(&world);
    assert!(table.len() >= ATTEMPTS_MIN, "{} attempts", table.len());
    let secrets = world.secrets();
    let mut faults = Vec::new();
    for attempt in &table {
        let answer = attempt.request.send(world.api.service.addr(), WAIT).await;
        if let Some(fault) = attempt.fault(&answer, &secrets) {
            faults.push(format!("{}: {fault}\n{}", attempt.what, answer.text));
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {} answers are wrong:\n{}",
        faults.len(),
        table.len(),
        faults.join("\n---\n")
    );
    let after: HashSet<_> = listed(&world.api.http("admin")).await.into_iter().collect();
    assert_eq!(after, known, "an attempt was accepted");
    assert_eq!(world.api.starts(), starts, "an attempt started a CLI");
    let now = steady(alice.status(&world.victim.id).await.expect("a status"));
    assert_eq!(now, before, "an attempt changed the victim's execution");
    world.victim.open();
    // No byte of the attackers' input was accepted.
    let eof = path(&world.victim.id, "/input?offset=0&eof=true");
    let (code, _, answer) = send(&alice, Method::POST, &eof, "").await;
    assert_eq!((code, &answer["accepted"]), (200, &json!(0)), "{answer}");
    let end = ended(&alice, &world.victim.id).await;
    assert_eq!(end["state"], "completed", "{end}");
    let output = alice.output(&world.victim.id, 0).await.expect("an output");
    output.assert_whole("completed");
    assert_eq!(output.bytes, b"begun-done");
    world.api.service.assert_quiet();
}
