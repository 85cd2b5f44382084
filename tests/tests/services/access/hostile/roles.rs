//! Tokens whose role does not permit the request: `view`, `metrics`, and `control` for metrics.

use cc_tests::raw_http::RawRequest;

use super::Attempt;
use super::world::{CONTROLS, REACHED, READS, World, call, put};

pub(super) fn attempts(world: &World) -> Vec<Attempt> {
    let mut all = view(world);
    all.extend(metrics(world));
    let get = RawRequest::new("GET", "/metrics").bearer(world.token("alice"));
    all.push(Attempt::new("metrics with control", get, 403, "forbidden"));
    all.extend(limited(world));
    all
}

fn view(world: &World) -> Vec<Attempt> {
    let token = world.token("viewer");
    let forbidden = |what: String, request: RawRequest| {
        Attempt::new(what, request.bearer(token), 403, "forbidden")
    };
    let mut all = vec![
        forbidden("PUT with view".into(), put()),
        forbidden(
            "POST with view".into(),
            RawRequest::new("POST", "/v1/executions").body(REACHED),
        ),
        forbidden(
            "metrics with view".into(),
            RawRequest::new("GET", "/metrics"),
        ),
        forbidden(
            "the burn of an unknown id with view".into(),
            call("POST", &crate::support::id(), "/cancel?ifUnknown=burn"),
        ),
        forbidden(
            "the repeated PUT of an own execution with view".into(),
            call("PUT", &world.ended, "").body(r#"{"prompt":"@say over"}"#),
        ),
        forbidden(
            "the end of a share with view".into(),
            call(
                "DELETE",
                &world.victim.id,
                &format!("/share/{}", world.shares.view_id),
            ),
        ),
    ];
    for (method, rest, body) in CONTROLS {
        let request = call(method, &world.victim.id, rest).body(body);
        all.push(forbidden(format!("{method} {rest} with view"), request));
    }
    all
}

fn metrics(world: &World) -> Vec<Attempt> {
    let token = world.token("scraper");
    let forbidden = |method: &str, target: &str, request: RawRequest| {
        let what = format!("{method} {target} with metrics");
        Attempt::new(what, request.bearer(token), 403, "forbidden")
    };
    let mut all = Vec::new();
    for (method, target) in [
        ("GET", "/v1/executions"),
        ("POST", "/v1/executions"),
        ("POST", "/v1/tickets"),
        ("GET", "/v1/limits"),
        ("GET", "/nowhere"),
        ("POST", "/health"),
        ("GET", "/metrics/"),
        ("GET", "//metrics"),
    ] {
        let request = RawRequest::new(method, target).body("");
        all.push(forbidden(method, target, request));
    }
    all.push(forbidden("PUT", "an id", put()));
    for rest in READS {
        all.push(forbidden("GET", rest, call("GET", &world.victim.id, rest)));
    }
    for (method, rest, body) in CONTROLS {
        let request = call(method, &world.victim.id, rest).body(body);
        all.push(forbidden(method, rest, request));
    }
    all
}

/// A token that is limited to a workspace and a budget.
fn limited(world: &World) -> Vec<Attempt> {
    let narrow = |what: &str, body: &str| {
        let request = put().body(body).bearer(world.token("narrow"));
        Attempt::new(what, request, 403, "forbidden")
    };
    vec![
        narrow("the default workspace of a limited token", REACHED),
        narrow("another workspace", r#"{"prompt":"x","workspace":"bank"}"#),
        narrow(
            "a longer workspace",
            r#"{"prompt":"x","workspace":"shop2"}"#,
        ),
        narrow(
            "a workspace in upper case",
            r#"{"prompt":"x","workspace":"SHOP"}"#,
        ),
        narrow(
            "a budget above the limit",
            r#"{"prompt":"x","workspace":"shop","maxBudgetUsd":1.01}"#,
        ),
    ]
}
