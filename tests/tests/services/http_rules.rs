//! HTTP as clients and proxies use it: versions, HEAD, `Expect`, pipelining, CORS, query strings,
//! paths, and statuses on one line.

use std::net::SocketAddr;

use cc_tests::harness::{Stack, StackOptions};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{PATIENCE, accept, assert_problem, ended, id, path, send};

/// Sends a request on a new connection. Returns the bytes that arrive until the connection ends or
/// `wanted` has arrived `times` times.
async fn exchange(addr: SocketAddr, request: &str, wanted: &str, times: usize) -> String {
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("sent");
    read_until(&mut stream, wanted, times).await
}

async fn read_until(stream: &mut TcpStream, wanted: &str, times: usize) -> String {
    let mut bytes = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while String::from_utf8_lossy(&bytes).matches(wanted).count() < times {
            match stream.read(&mut buffer).await {
                Ok(n) if n > 0 => bytes.extend_from_slice(&buffer[..n]),
                _ => break,
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, read).await.is_ok();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(in_time, "{wanted:?} never arrived; received: {text:?}");
    text
}

/// As in field case C7: HTTP/1.0 has no chunks and no trailers, so the end of a stream that
/// was cut looks like a clean one. A stream is refused there before anything is recorded, and short
/// answers work.
#[tokio::test]
async fn a_stream_over_http_1_0_is_refused_with_the_remedy() {
    let stack = Stack::start().await;
    let (http, addr, target) = (stack.http(), stack.api.addr(), id());
    accept(&http, &target, "@say x", json!({})).await;
    ended(&http, &target).await;
    let fresh = id();
    let body = r#"{"prompt":"@say x"}"#;
    let length = format!("Content-Length: {}\r\n", body.len());
    for (line, more, body) in [
        (format!("GET {}", path(&target, "/output")), "", ""),
        (format!("GET {}", path(&target, "/events")), "", ""),
        (format!("GET {}", path(&target, "?follow=true")), "", ""),
        (format!("PUT {}", path(&fresh, "")), length.as_str(), body),
        ("POST /v1/executions".to_owned(), length.as_str(), body),
    ] {
        let request = format!("{line} HTTP/1.0\r\nHost: localhost\r\n{more}\r\n{body}");
        let answer = exchange(addr, &request, "never", 1).await;
        assert!(answer.starts_with("HTTP/1.0 426 "), "{line}: {answer}");
        assert!(answer.contains("upgrade-required"), "{line}: {answer}");
        assert!(
            answer.contains("proxy_http_version 1.1"),
            "{line}: {answer}"
        );
    }
    let answer = send(&http, Method::GET, &path(&fresh, ""), "").await;
    assert_problem(&answer, 404, "not-found", "a refused PUT");
    for get in [
        path(&target, ""),
        "/health/live".into(),
        "/v1/limits".into(),
    ] {
        let request = format!("GET {get} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let answer = exchange(addr, &request, "never", 1).await;
        assert!(answer.starts_with("HTTP/1.0 200 "), "{get}: {answer}");
        assert!(answer.contains("content-length"), "{get}: {answer}");
    }
    let json = format!(
        "PUT {} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n{length}\r\n{body}",
        path(&fresh, "")
    );
    let answer = exchange(addr, &json, "never", 1).await;
    assert!(answer.starts_with("HTTP/1.0 201 "), "{answer}");
    ended(&http, &fresh).await;
    stack.assert_quiet();
}

/// HEAD is answered at once and without a body, also for a stream that lasts.
#[tokio::test]
async fn head_is_answered_at_once_and_without_a_body() {
    let stack = Stack::start().await;
    let (http, addr, target) = (stack.http(), stack.api.addr(), id());
    accept(&http, &target, "@say x\n@tool 60", json!({})).await;
    for rest in ["", "/output", "/events", "?follow=true"] {
        let head = format!(
            "HEAD {} HTTP/1.1\r\nHost: localhost\r\n\r\n",
            path(&target, rest)
        );
        let live = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let answer = exchange(addr, &format!("{head}{live}"), "live\"}", 1).await;
        let (first, second) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(first.starts_with("HTTP/1.1 200"), "{rest}: {answer}");
        assert!(second.starts_with("HTTP/1.1 200"), "{rest}: {answer}");
    }
    send(&http, Method::POST, &path(&target, "/cancel"), "").await;
    ended(&http, &target).await;
    stack.assert_quiet();
}

/// `Expect: 100-continue`: the service requests the body, unless it refuses the request without the
/// body.
#[tokio::test]
async fn expect_continue_requests_no_body_for_a_refused_request() {
    let stack = Stack::start().await;
    let addr = stack.api.addr();
    let body = r#"{"prompt":"@say x"}"#;
    let more = "Host: localhost\r\nAccept: application/json\r\nExpect: 100-continue";
    let fresh = id();
    let put = format!(
        "PUT {} HTTP/1.1\r\n{more}\r\nContent-Length: {}\r\n\r\n",
        path(&fresh, ""),
        body.len()
    );
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    stream.write_all(put.as_bytes()).await.expect("sent");
    let answer = read_until(&mut stream, "\r\n\r\n", 1).await;
    assert!(answer.starts_with("HTTP/1.1 100 "), "{answer}");
    stream.write_all(body.as_bytes()).await.expect("sent");
    let answer = read_until(&mut stream, "\r\n\r\n", 1).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let unknown = format!(
        "POST {} HTTP/1.1\r\n{more}\r\nContent-Length: 1000000\r\n\r\n",
        path(&id(), "/input?offset=0")
    );
    let answer = exchange(addr, &unknown, "not-found", 1).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    ended(&stack.http(), &fresh).await;
    stack.assert_quiet();
}

/// Pipelined requests are answered in their order, a whole stream among them.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let stack = Stack::start().await;
    let (http, target) = (stack.http(), id());
    accept(&http, &target, "@silence 0.3\n@say x", json!({})).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let all = [
        get("/v1/limits"),
        get(&path(&target, "/output")),
        get("/nowhere"),
        get("/health/live"),
    ];
    let answer = exchange(stack.api.addr(), &all.concat(), "live\"}", 1).await;
    let at = |text: &str| {
        answer
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {answer}"))
    };
    let order = ["runningExecutions", "text/plain", "unknown-path", "live\"}"].map(at);
    assert!(order.is_sorted(), "{order:?}: {answer}");
    stack.assert_quiet();
}

/// nginx and others buffer an answer unless it says otherwise.
#[tokio::test]
async fn streams_tell_proxies_not_to_buffer_them() {
    let stack = Stack::start().await;
    let (http, target) = (stack.http(), id());
    accept(&http, &target, "@say x", json!({})).await;
    for is_ended in [false, true] {
        for rest in ["/output", "/events", "?follow=true"] {
            let response = http.request(Method::GET, &path(&target, rest)).send().await;
            let headers = response.expect("an answer").headers().clone();
            let value = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
            assert_eq!(value("x-accel-buffering"), Some("no"), "{rest} {is_ended}");
            assert_eq!(
                value("cache-control"),
                Some("no-store"),
                "{rest} {is_ended}"
            );
        }
        ended(&http, &target).await;
    }
    stack.assert_quiet();
}

/// A page of a listed origin can use `fetch`: preflight and answer allow its origin,
/// `Authorization` included, never `*`, and never with credentials. Other origins get 403.
#[tokio::test]
async fn a_listed_origin_gets_cors_headers_and_others_get_403() {
    let options = StackOptions::default().api("--allowed-origins=https://app.example");
    let stack = Stack::with(options).await;
    let http = stack.http();
    let page = "https://app.example";
    let preflight = async |origin: &str, path: &str, method: &str| {
        let request = http
            .request(Method::OPTIONS, path)
            .header("origin", origin)
            .header("access-control-request-method", method)
            .header(
                "access-control-request-headers",
                "authorization,content-type",
            );
        request.send().await.expect("an answer")
    };
    let header = |response: &reqwest::Response, name: &str| {
        let value = response.headers().get(name);
        value.map_or_else(String::new, |v| {
            String::from_utf8_lossy(v.as_bytes()).to_lowercase()
        })
    };
    let one = path(&id(), "");
    for (path, method) in [
        (one.as_str(), "PUT"),
        (&one, "DELETE"),
        ("/v1/executions", "POST"),
        ("/v1/executions", "GET"),
    ] {
        let answer = preflight(page, path, method).await;
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        assert_eq!(header(&answer, "access-control-allow-origin"), page);
        let methods = header(&answer, "access-control-allow-methods");
        assert!(methods.contains(&method.to_lowercase()), "{methods}");
        let headers = header(&answer, "access-control-allow-headers");
        assert!(headers.contains("authorization"), "{headers}");
        assert!(headers.contains("content-type"), "{headers}");
        assert_eq!(header(&answer, "access-control-allow-credentials"), "");
        assert!(header(&answer, "vary").contains("origin"));
        let refused = preflight("https://other.example", path, method).await;
        assert_eq!(refused.status().as_u16(), 403);
        assert_eq!(header(&refused, "access-control-allow-origin"), "");
    }
    let fetch = async |origin: Option<&str>, path: &str| {
        let mut request = http.request(Method::GET, path);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        request.send().await.expect("an answer")
    };
    // The page can read errors too.
    for (path, code) in [("/v1/executions", 200), (one.as_str(), 404)] {
        let answer = fetch(Some(page), path).await;
        assert_eq!(answer.status().as_u16(), code);
        assert_eq!(header(&answer, "access-control-allow-origin"), page);
        assert!(header(&answer, "access-control-expose-headers").contains("execution-id"));
        let own = fetch(None, path).await;
        assert_ne!(header(&own, "access-control-allow-origin"), "*");
        assert!(
            header(&own, "vary").contains("origin"),
            "for a cache between"
        );
    }
    assert_eq!(fetch(Some("null"), "/v1/executions").await.status(), 403);
    stack.assert_quiet();
}

/// Readers of NDJSON split lines at U+2028, U+2029 and U+0085; a terminal obeys
/// U+009B.
#[tokio::test]
async fn a_status_is_one_line_for_every_reader() {
    let stack = Stack::start().await;
    let (http, target) = (stack.http(), id());
    let text = "a\u{2028}b\u{2029}c\u{85}d\u{9b}31m\u{7f}\u{e9}";
    let extra = json!({"metadata": {"note": text}});
    accept(&http, &target, "@say x", extra).await;
    ended(&http, &target).await;
    for get in [
        path(&target, ""),
        path(&target, "?follow=true"),
        "/v1/executions".to_owned(),
    ] {
        let response = http
            .request(Method::GET, &get)
            .send()
            .await
            .expect("an answer");
        let line = response.text().await.expect("text");
        let splits = |c: char| c != '\n' && (c.is_control() || c == '\u{2028}' || c == '\u{2029}');
        assert!(!line.contains(splits), "{get}: {line:?}");
        let mut status: Value = serde_json::from_str(&line).expect("JSON");
        if get == "/v1/executions" {
            status = status["executions"][0].clone();
        }
        assert_eq!(status["metadata"]["note"], text, "{get}");
    }
    // An error that repeats the client's text is one line, too.
    let answer = http.request(Method::GET, "/v1/executions?a%C2%9B%E2%80%A8=1");
    let problem = answer
        .send()
        .await
        .expect("an answer")
        .text()
        .await
        .expect("text");
    assert!(!problem.contains(char::is_control), "{problem:?}");
    // A message on the CLI's stdin is one line for the CLI, too: Node's readline splits at U+2028.
    let prompt = format!("@echo\n{text}");
    let (output, _) = crate::support::run(&stack, &prompt, json!({})).await;
    assert_eq!(output, prompt);
    stack.assert_quiet();
}

/// A member given twice is refused at any depth, as the bridge does.
#[tokio::test]
async fn a_member_given_twice_is_refused_at_any_depth() {
    let stack = Stack::start().await;
    let http = stack.http();
    for body in [
        r#"{"prompt":"a","prompt":"b"}"#,
        r#"{"prompt":"a","metadata":{"x":"1","x":"2"}}"#,
        r#"{"prompt":"a","metadata":{"x":"1","\u0078":"2"}}"#,
        r#"{"prompt":"a","env":{"A":"1","A":"2"}}"#,
    ] {
        let answer = send(&http, Method::PUT, &path(&id(), ""), body).await;
        assert_problem(&answer, 400, "invalid-body", body);
    }
    let target = id();
    accept(&http, &target, "@say x", json!({"input": "stream"})).await;
    for line in [
        r#"{"type":"user","type":"user","message":{"role":"user","content":"a"}}"#,
        r#"{"type":"user","message":{"role":"user","content":"a","content":"b"}}"#,
    ] {
        let post = path(&target, "/input?offset=0");
        let answer = send(&http, Method::POST, &post, format!("{line}\n")).await;
        assert_problem(&answer, 400, "invalid-body", line);
        let detail = answer.2["detail"].as_str().expect("a text");
        assert!(detail.contains("twice"), "{detail}");
    }
    send(
        &http,
        Method::POST,
        &path(&target, "/input?offset=0&eof=true"),
        "",
    )
    .await;
    ended(&http, &target).await;
    stack.assert_quiet();
}

/// A query is percent-decoded, an unknown parameter is named on every path, and for
/// a path with a trailing slash the right path is named.
#[tokio::test]
async fn queries_are_decoded_and_mistakes_in_queries_and_paths_are_named() {
    let stack = Stack::start().await;
    let (http, target) = (stack.http(), id());
    accept(&http, &target, "@say x", json!({})).await;
    ended(&http, &target).await;
    let hex = |text: &str| -> String { text.bytes().map(|b| format!("%{b:02X}")).collect() };
    for good in [
        format!("/v1/executions?before={}", hex(&target)),
        format!("/v1/executions?{}={}", hex("limit"), hex("7")),
        path(&target, &format!("/output?offset={}", hex("1"))),
        path(&target, &format!("?follow={}", hex("false"))),
    ] {
        let answer = send(&http, Method::GET, &good, "").await;
        assert_eq!(answer.0, 200, "{good}: {}", answer.2);
    }
    for (method, rest) in [
        (Method::GET, ""),
        (Method::GET, "/output"),
        (Method::GET, "/events"),
        (Method::POST, "/pause"),
        (Method::POST, "/resume"),
        (Method::POST, "/cancel"),
        (Method::DELETE, ""),
        (Method::PUT, ""),
    ] {
        let bad = path(&target, &format!("{rest}?col%6Fr=red"));
        let answer = send(&http, method.clone(), &bad, r#"{"prompt":"@say x"}"#).await;
        assert_problem(&answer, 400, "invalid-query", &format!("{method} {bad}"));
        let detail = answer.2["detail"].as_str().expect("a text");
        assert!(detail.contains("\"color\""), "{bad}: {detail}");
    }
    for (given, right) in [
        ("/v1/executions/".to_owned(), "/v1/executions".to_owned()),
        (path(&target, "/"), path(&target, "")),
        (path(&target, "/output/"), path(&target, "/output")),
        ("/health/ready/".to_owned(), "/health/ready".to_owned()),
    ] {
        let answer = send(&http, Method::GET, &given, "").await;
        assert_problem(&answer, 404, "unknown-path", &given);
        let detail = answer.2["detail"].as_str().expect("a text");
        let words: Vec<_> = detail.split([' ', '"', ';', ',']).collect();
        assert!(words.contains(&right.as_str()), "{given}: {detail}");
    }
    stack.assert_quiet();
}

/// From a field report: an MCP tool was accepted, although no MCP server can be given.
#[tokio::test]
async fn an_mcp_tool_is_refused_because_no_mcp_server_can_be_given() {
    let stack = Stack::with(StackOptions::default().api("--tools-ceiling=*")).await;
    let body = json!({"prompt": "@say x", "allowedTools": ["Bash", "mcp__x__y"]}).to_string();
    let answer = send(&stack.http(), Method::PUT, &path(&id(), ""), body).await;
    assert_problem(&answer, 400, "invalid-body", "an MCP tool");
    let detail = answer.2["detail"].as_str().expect("a text");
    assert!(
        detail.contains("mcp__x__y") && detail.contains("MCP server"),
        "{detail}"
    );
    stack.assert_quiet();
}

/// From a field report: `localhost` was refused as an address to listen on.
#[tokio::test]
async fn both_services_listen_on_localhost() {
    let options = StackOptions::default()
        .api("--host=localhost")
        .bridge("--host=localhost");
    let stack = Stack::with(options).await;
    assert!(stack.api.addr().ip().is_loopback() && stack.bridge.addr().ip().is_loopback());
    let mut client = stack.client().await;
    let (output, _) = client.run("@say x").await;
    assert_eq!(output, b"x");
    client.finish().await;
    stack.assert_quiet();
}
