//! Shares: of another execution, with too small a role, ended, forged, and for calls that no share
//! may make.

use cc_tests::raw_http::RawRequest;
use protocol::access::{base64url, from_base64url};

use super::Attempt;
use super::world::{CONTROLS, REACHED, READS, World, call, put};

pub(super) fn attempts(world: &World) -> Vec<Attempt> {
    let mut all = other_executions(world);
    all.extend(too_small(world));
    all.extend(never(world));
    all.extend(not_in_force(world));
    all
}

/// A share opens one execution. All others do not exist for its holder.
fn other_executions(world: &World) -> Vec<Attempt> {
    let victim = &world.victim.id;
    let mut all = Vec::new();
    for rest in READS {
        for (whose, share) in [
            ("an own other execution", &world.shares.of_ended),
            ("an execution of another", &world.shares.of_bobs),
        ] {
            let request = call("GET", victim, rest).bearer(share);
            let what = format!("GET {rest} with the share of {whose}");
            all.push(Attempt::new(what, request, 404, "not-found"));
        }
    }
    for (method, rest, body) in CONTROLS {
        // These two are refused for every share, before the execution is looked up.
        let own_alone = method == "DELETE" || rest == "/share";
        let (code, kind) = if own_alone {
            (403, "forbidden")
        } else {
            (404, "not-found")
        };
        let request = call(method, victim, rest)
            .body(body)
            .bearer(&world.shares.of_bobs);
        let what = format!("{method} {rest} with the share of an execution of another");
        all.push(Attempt::new(what, request, code, kind));
    }
    let unknown = call("POST", &crate::support::id(), "/cancel?ifUnknown=burn");
    let unknown = unknown.bearer(&world.shares.control);
    all.push(Attempt::new(
        "the burn of an unknown id with a share",
        unknown,
        404,
        "not-found",
    ));
    all
}

/// A share with the role view controls nothing.
fn too_small(world: &World) -> Vec<Attempt> {
    let attempt = |&(method, rest, body): &(&str, &str, &str)| {
        let request = call(method, &world.victim.id, rest).body(body);
        let what = format!("{method} {rest} with a share to view");
        Attempt::new(what, request.bearer(&world.shares.view), 403, "forbidden")
    };
    CONTROLS.iter().map(attempt).collect()
}

/// The calls that no share may make, even about its own execution.
fn never(world: &World) -> Vec<Attempt> {
    let own = &world.victim.id;
    let forbidden = |what: &str, request: RawRequest| {
        Attempt::new(
            what,
            request.bearer(&world.shares.control),
            403,
            "forbidden",
        )
    };
    vec![
        forbidden(
            "a list with a share",
            RawRequest::new("GET", "/v1/executions"),
        ),
        forbidden(
            "a list before its own execution with a share",
            RawRequest::new("GET", &format!("/v1/executions?before={own}")),
        ),
        forbidden("PUT with a share", put()),
        forbidden(
            "POST with a share",
            RawRequest::new("POST", "/v1/executions").body(REACHED),
        ),
        forbidden(
            "PUT of its own id with a share",
            call("PUT", own, "").body(REACHED),
        ),
        forbidden(
            "a new conversation turn with a share",
            put().body(format!(r#"{{"prompt":"x","conversation":"{own}"}}"#)),
        ),
        forbidden(
            "a continuation with a share",
            put().body(format!(r#"{{"prompt":"x","continues":"{own}"}}"#)),
        ),
        forbidden(
            "the deletion of its execution with a share",
            call("DELETE", own, ""),
        ),
        forbidden(
            "a share with a share",
            call("POST", own, "/share").body("{}"),
        ),
        forbidden(
            "the end of a share with a share",
            call("DELETE", own, &format!("/share/{}", world.shares.view_id)),
        ),
        forbidden("metrics with a share", RawRequest::new("GET", "/metrics")),
    ]
}

/// Shares that are ended or forged.
fn not_in_force(world: &World) -> Vec<Attempt> {
    let victim = &world.victim.id;
    let wrong = |what: &str, share: &str| {
        Attempt::unauthorized(what, call("GET", victim, "").bearer(share))
    };
    let text = world
        .shares
        .view
        .strip_prefix("ccbs_")
        .expect("the prefix of a share");
    let bytes = from_base64url(text).expect("base64url");
    let forged = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        format!("ccbs_{}", base64url(&bytes))
    };
    // The id of the victim with the secret of a share of another execution.
    let of_bobs = world.shares.of_bobs.strip_prefix("ccbs_").expect("a share");
    let secret = &from_base64url(of_bobs).expect("base64url")[16..];
    let moved = format!("ccbs_{}", base64url(&[&bytes[..16], secret].concat()));
    let (first, last) = text.split_at(text.len() - 1);
    vec![
        wrong("an ended share", &world.shares.over),
        wrong("the share of a deleted execution", &world.shares.of_deleted),
        wrong("a share with another id", &forged(3)),
        wrong("a share with another secret", &forged(16)),
        wrong("a share with another end", &forged(47)),
        wrong("a share with the secret of another", &moved),
        wrong("a share without its last letter", &format!("ccbs_{first}")),
        wrong("the last letter of a share", &format!("ccbs_{last}")),
        wrong("a longer share", &format!("{}AAAA", world.shares.view)),
        wrong("the id of a share", &world.shares.view_id),
        wrong(
            "an id as a share",
            &format!("ccbs_{}", base64url(&bytes[..16])),
        ),
        wrong(
            "a share of a random secret",
            &format!("ccbs_{}", base64url(&[7; 48])),
        ),
    ]
}
