//! Requests that are not forwarded, byte for byte.

use crate::support::{Exchange, GRANT, Setup};

async fn unreachable(_: Exchange) {
    panic!("the request reached the API");
}

/// Returns the request `line` with these further lines and this body. It has a valid grant.
fn raw(line: &str, lines: &str, body: &str) -> String {
    format!("{line}\r\nHost: a\r\nx-api-key: {GRANT}\r\n{lines}\r\n{body}")
}

#[tokio::test]
async fn a_request_outside_of_the_list_reaches_no_api() {
    let setup = Setup::start(unreachable).await;
    let post = "POST /v1/messages HTTP/1.1";
    let length = "Content-Length: 2\r\n";
    let targets = |target: &str| raw(&format!("POST {target} HTTP/1.1"), length, "{}");
    let mut table: Vec<(String, u16)> = [
        // Forms of the target.
        ("http://api.anthropic.com/v1/messages", 400),
        ("//api.anthropic.com/v1/messages", 400),
        ("/v1/../v1/messages", 400),
        ("/v1/messages/../files", 400),
        ("/v1/messages/.", 400),
        ("/v1/%6dessages", 400),
        ("/v1/messages%2f..%2ffiles", 400),
        ("/v1/messages%00", 400),
        ("/v1/messages#a", 400),
        ("/v1/messages;a=b", 400),
        ("/v1\\messages", 400),
        ("/v1/messages?", 400),
        ("/v1/messages?beta=true&a=b", 400),
        ("/v1/messages?a=b", 400),
        ("*", 400),
        ("messages", 400),
        // Paths.
        ("/v1/files", 404),
        ("/v1/messages/batches", 404),
        ("/v1/messages/", 404),
        ("/v1/complete", 404),
        ("/v1/organizations/me", 404),
        ("/v2/messages", 404),
        ("/metrics", 404),
        ("/", 404),
        ("/api/oauth/claude_cli/create_api_key", 404),
        ("/v1/models", 405),
        ("/v1/models/claude", 405),
    ]
    .map(|(target, status)| (targets(target), status))
    .into();
    for method in [
        "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "post",
    ] {
        let line = format!("{method} /v1/messages HTTP/1.1");
        table.push((raw(&line, "", ""), 405));
    }
    let connect = raw("CONNECT api.anthropic.com:443 HTTP/1.1", "", "");
    table.push((connect, 400));
    // Two readers could see two requests.
    for lines in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2, 2\r\n",
        "Content-Length: +2\r\n",
        "Content-Length : 2\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding:\tx\r\n chunked\r\n",
        "Content-Length: 2\r\nA: b\r\n folded\r\n",
        "Content-Length: 2\r\nA: b\nB: c\r\n",
        "Content-Length: 2\r\nA: b\rB: c\r\n",
        "Content-Length: 2\r\nA: \0\r\n",
        "Content-Length: 2\r\nA B: c\r\n",
        "Content-Length: 2\r\nHost: b\r\n",
        "Content-Length: 2\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n",
        "Content-Length: 2\r\nContent-Encoding: gzip\r\n",
        "Content-Length: 2\r\nContent-Encoding: deflate, gzip\r\n",
        "Content-Length: 2\r\nExpect: something\r\n",
    ] {
        table.push((raw(post, lines, "{}"), 400));
    }
    for line in [
        "POST /v1/messages HTTP/1.0",
        "POST /v1/messages HTTP/2.0",
        "POST  /v1/messages HTTP/1.1",
        "POST /v1/messages",
        "PRI * HTTP/2.0",
    ] {
        table.push((raw(line, length, "{}"), 400));
    }
    table.push((raw("GET /v1/models HTTP/1.1", length, "{}"), 400));
    table.push((
        format!("{post}\r\nx-api-key: {GRANT}\r\n{length}\r\n{{}}"),
        400,
    ));
    table.push((
        raw(post, &format!("A: {}\r\n", "a".repeat(40_000)), "{}"),
        400,
    ));
    table.push((raw(post, &"A: b\r\n".repeat(200), "{}"), 400));
    // Grants.
    for lines in [
        "",
        "x-api-key: other\r\n",
        "x-api-key: \r\n",
        "authorization: Bearer other\r\n",
        "authorization: Basic other\r\n",
        "cookie: x-api-key=other\r\n",
    ] {
        table.push((format!("{post}\r\nHost: a\r\n{lines}{length}\r\n{{}}"), 401));
    }
    table.push((
        raw(post, &format!("x-api-key: {GRANT}\r\n{length}"), "{}"),
        401,
    ));
    table.push((
        raw(
            post,
            &format!("authorization: Bearer {GRANT}\r\n{length}"),
            "{}",
        ),
        401,
    ));
    for (request, status) in table {
        let mut client = setup.client().await;
        client.write(&request).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
        answer.error();
        assert_eq!(answer.header("connection"), Some("close"), "{request:?}");
    }
    assert_eq!(setup.api.connections(), 0);
}

#[tokio::test]
async fn every_unknown_grant_gets_the_same_answer() {
    let setup = Setup::start(unreachable).await;
    let mut answers = Vec::new();
    for grant in ["", "x", "ccg_the-gran", "ccg_the-grant2"] {
        let mut client = setup.client().await;
        client.post("/v1/messages", grant, "{}").await;
        let answer = client.answer().await;
        answers.push((answer.status, answer.head, answer.body));
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    assert_eq!(answers[0].0, 401);
}

/// The bytes after the first request are a second one, which no one reads.
#[tokio::test]
async fn a_connection_has_one_request() {
    let setup = Setup::start(async |mut api: Exchange| {
        while api.request().await.is_some() {
            api.json("200 OK", "{}").await;
        }
    })
    .await;
    let mut client = setup.client().await;
    let request = raw("POST /v1/messages HTTP/1.1", "Content-Length: 2\r\n", "{}");
    client.write(format!("{request}{request}")).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, "{}");
}

#[tokio::test]
async fn the_check_of_life_is_for_this_machine_and_needs_no_grant() {
    let setup = Setup::start(unreachable).await;
    let mut client = setup.client().await;
    client
        .write("GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, &answer.body[..]),
        (200, "{\"status\":\"live\"}")
    );
}
