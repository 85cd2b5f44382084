//! Requests that a proxy or a router might read in two ways, and foreign pages with a right token.

use cc_tests::raw_http::RawRequest;

use super::Attempt;
use super::world::{REACHED, World, call, put};
use crate::support::{id, path};

pub(super) fn attempts(world: &World) -> Vec<Attempt> {
    let mut all = foreign(world);
    all.extend(smuggled(world));
    all.extend(paths(world));
    all.extend(methods(world));
    all.extend(overrides(world));
    all
}

/// A right token does not open the service to a foreign host or page.
fn foreign(world: &World) -> Vec<Attempt> {
    let token = world.token("alice");
    let host = |host: Option<&str>| {
        let request = put().host(host).bearer(token);
        Attempt::new(format!("Host {host:?}"), request, 403, "foreign-host")
    };
    let origin = |origin: &str| {
        let request = put().header("Origin", origin).bearer(token);
        Attempt::new(format!("Origin {origin}"), request, 403, "foreign-origin")
    };
    let two_hosts = put().line("Host: evil.example").bearer(token);
    vec![
        host(Some("evil.example")),
        host(Some("localhost.evil.example")),
        host(Some("alice:x@localhost")),
        host(Some("")),
        host(None),
        origin("https://evil.example"),
        origin("null"),
        origin("https://app.example.evil.example"),
        origin("http://localhost:1"),
        Attempt::new("two hosts", two_hosts, 403, "foreign-host"),
        Attempt::new(
            "an absolute target of another host",
            RawRequest::new("GET", "http://evil.example/v1/executions").bearer(token),
            403,
            "foreign-host",
        ),
        Attempt::new(
            "a token in an absolute target",
            RawRequest::new(
                "GET",
                &format!("http://alice:{}@localhost/v1/executions", "x".repeat(9)),
            ),
            403,
            "foreign-host",
        ),
    ]
}

/// Heads with two lengths, and second requests that hide in a body.
fn smuggled(world: &World) -> Vec<Attempt> {
    let token = world.token("alice");
    let hidden = format!(
        "PUT {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\
         \r\n{REACHED}",
        path(&id(), ""),
        world.foreign,
        REACHED.len()
    );
    let without_token = hidden.replace(&format!("Authorization: Bearer {}\r\n", world.foreign), "");
    let both = RawRequest::new("POST", "/v1/executions")
        .header("Content-Length", "4")
        .header("Transfer-Encoding", "chunked")
        .body_without_length(format!("0\r\n\r\n{hidden}"));
    let two_lengths = RawRequest::new("POST", "/v1/executions")
        .header("Content-Length", "0")
        .header("Content-Length", hidden.len().to_string())
        .bearer(token)
        .body_without_length(hidden.clone());
    let encoding = |value: &str| {
        RawRequest::new("POST", "/v1/executions")
            .header("Transfer-Encoding", value)
            .bearer(token)
            .body_without_length(format!("0\r\n\r\n{without_token}"))
    };
    let odd_length = |value: &str| {
        RawRequest::new("POST", "/v1/executions")
            .header("Content-Length", value)
            .bearer(token)
            .body_without_length(without_token.clone())
    };
    vec![
        Attempt::unauthorized("a length and chunks, without a token", both),
        Attempt::bare("two lengths", two_lengths, 400),
        Attempt::bare(
            "chunks that are not last",
            encoding("chunked, identity"),
            400,
        ),
        Attempt::bare("an unknown encoding", encoding("xchunked"), 400),
        Attempt::bare("a negative length", odd_length("-1"), 400),
        Attempt::bare("a length with a sign", odd_length("+5"), 400),
        Attempt::bare("a length in hexadecimal", odd_length("0x10"), 400),
        Attempt::bare("two lengths in one header", odd_length("0, 90"), 400),
        Attempt::unauthorized(
            "a second request in a body",
            RawRequest::new("POST", "/v1/executions").body(hidden),
        ),
    ]
}

/// Spellings of paths. Without a token the answer is 401 before any path is looked at; with one,
/// a path has one spelling only.
fn paths(world: &World) -> Vec<Attempt> {
    let token = world.token("alice");
    let mut all = Vec::new();
    for target in [
        "//v1/executions",
        "/v1//executions",
        "/v1/./executions",
        "/v1/x/../executions",
        "/health/../v1/executions/",
        "/v1/executions/",
        "/v1/executions;x=y",
        "/V1/executions",
        "/%76%31/executions",
        "/v1%2Fexecutions",
        "/v1/executions%00",
        "/v1\\executions",
    ] {
        let request = RawRequest::new("POST", target).body(REACHED);
        all.push(Attempt::unauthorized(
            format!("{target} without a token"),
            request.clone(),
        ));
        let what = format!("{target} with a token");
        all.push(Attempt::new(
            what,
            request.bearer(token),
            404,
            "unknown-path",
        ));
    }
    // The health pages need no token, and lead nowhere else.
    for target in [
        "/health/../v1/executions",
        "/health/%2e%2e/v1/executions",
        "/health/..%2fv1/executions",
        "/health//v1/executions",
        "/health/box/x",
        "/health/metrics",
    ] {
        let request = RawRequest::new("GET", target);
        all.push(Attempt::new(
            format!("{target} without a token"),
            request,
            404,
            "unknown-path",
        ));
    }
    for target in [
        "/healthy",
        "/health%2flive",
        "//health",
        "/Health",
        "/metrics",
        "/",
        "/v1/me",
    ] {
        let request = RawRequest::new("GET", target);
        all.push(Attempt::unauthorized(
            format!("{target} without a token"),
            request,
        ));
    }
    let absolute = RawRequest::new("GET", "http://localhost/v1/executions");
    all.push(Attempt::unauthorized(
        "an absolute target without a token",
        absolute,
    ));
    let health_host = RawRequest::new("GET", "http://localhost//health/live");
    all.push(Attempt::unauthorized(
        "an absolute target that begins as a path",
        health_host,
    ));
    let victim = world.victim.id.replace('-', "%2D");
    let encoded = call("GET", &victim, "").bearer(world.token("bob"));
    all.push(Attempt::new(
        "another's id, encoded",
        encoded,
        404,
        "not-found",
    ));
    let climbing = call(
        "GET",
        &format!("{}%2f..%2f{}", world.bobs, world.victim.id),
        "",
    );
    let climbing = climbing.bearer(world.token("bob"));
    all.push(Attempt::new(
        "an id that climbs",
        climbing,
        400,
        "invalid-id",
    ));
    all
}

/// Methods that might slip past the check of a token.
fn methods(world: &World) -> Vec<Attempt> {
    let mut all = Vec::new();
    let target = path(&world.victim.id, "");
    for method in ["HEAD", "GET", "TRACE", "PATCH", "PROPFIND", "get", "DELETE"] {
        let request = RawRequest::new(method, &target);
        let what = format!("{method} without a token");
        let attempt = match method {
            // The answer to HEAD has no body.
            "HEAD" => Attempt::bare(what, request, 401),
            _ => Attempt::unauthorized(what, request),
        };
        all.push(attempt);
    }
    for rest in ["/pause", "/cancel", "/share"] {
        let request = call("GET", &world.victim.id, rest).bearer(world.token("alice"));
        let what = format!("GET {rest} with a right token");
        all.push(Attempt::new(what, request, 405, "method-not-allowed"));
    }
    let health = RawRequest::new("POST", "/health/live").body("");
    all.push(Attempt::unauthorized("POST of a health page", health));
    let trace = RawRequest::new("TRACE", &target).bearer(world.token("alice"));
    all.push(Attempt::new(
        "TRACE with a right token",
        trace,
        405,
        "method-not-allowed",
    ));
    // A preflight has no token, tells nothing, and a foreign page does not get even that.
    let preflight =
        RawRequest::new("OPTIONS", &target).header("Access-Control-Request-Method", "DELETE");
    all.push(Attempt::bare(
        "OPTIONS without an origin",
        preflight.clone(),
        200,
    ));
    let foreign = preflight.header("Origin", "https://evil.example");
    all.push(Attempt::new(
        "OPTIONS of a foreign page",
        foreign,
        403,
        "foreign-origin",
    ));
    all
}

/// Headers that other servers take for the path, the method, the client or its identity.
fn overrides(world: &World) -> Vec<Attempt> {
    let mut all = Vec::new();
    for (name, value) in [
        ("X-Original-URL", "/health/live"),
        ("X-Rewrite-URL", "/health/live"),
        ("X-Forwarded-Uri", "/health/live"),
        ("X-Forwarded-Prefix", "/health"),
        ("X-HTTP-Method-Override", "GET"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1;host=localhost"),
        ("X-Forwarded-User", "alice"),
        ("X-Remote-User", "admin"),
        ("X-Principal", "team-a"),
        ("Via", "1.1 bridge"),
        ("Viewer", "bridge"),
    ] {
        let request = put().header(name, value);
        all.push(Attempt::unauthorized(
            format!("{name} without a token"),
            request,
        ));
        let other = call("GET", &world.victim.id, "")
            .header(name, value)
            .bearer(world.token("bob"));
        let what = format!("{name} with the token of another principal");
        all.push(Attempt::new(what, other, 404, "not-found"));
    }
    all
}
