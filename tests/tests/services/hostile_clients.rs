//! For each bounded resource of claude-api: hostile clients, while another client's small request,
//! control and stream work as usual.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use cc_tests::harness::{Stack, StackOptions};
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::support::{accept, assert_problem, ended, id, path, send, until};

/// Time limit for each step of the other client on a busy machine. The original faults took 60 s
/// and more.
const USUAL: Duration = Duration::from_secs(10);
/// Receive window of a client that hangs: small, so that unread bytes soon stay with the service.
const WINDOW_BYTES: u32 = 16 * 1024;
/// How long an answer to a misbehaving client may take.
const ANSWER: Duration = Duration::from_secs(20);

/// Opens a connection and sends these bytes.
async fn raw(addr: SocketAddr, bytes: impl AsRef<[u8]>) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .set_recv_buffer_size(WINDOW_BYTES)
        .expect("a small window");
    let mut stream = socket.connect(addr).await.expect("a connection");
    // The service may have closed the connection already.
    let _ = stream.write_all(bytes.as_ref()).await;
    stream
}

/// Returns a request's head with more header lines, each with its CR LF.
fn head(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n{more}\r\n")
}

/// Opens `count` connections, each with a request.
async fn open_many(addr: SocketAddr, count: usize, request: impl Fn() -> String) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..count {
        open.push(raw(addr, request()).await);
    }
    open
}

/// Returns the bytes until `wanted` is seen or the connection ends.
async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut text = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&text).contains(wanted) {
            match stream.read(&mut buffer).await {
                Ok(n) if n > 0 => text.extend_from_slice(&buffer[..n]),
                _ => break,
            }
        }
    };
    let in_time = tokio::time::timeout(ANSWER, read).await.is_ok();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(in_time, "{wanted:?} never arrived; received: {text:?}");
    text
}

/// Asserts that another client's small request, control and stream work, each on a fresh
/// connection.
async fn assert_others_work(stack: &Stack, what: &str) {
    let step = async |name: &str, step: std::pin::Pin<Box<dyn Future<Output = ()> + '_>>| {
        let begun = Instant::now();
        let done = tokio::time::timeout(USUAL, step).await;
        assert!(
            done.is_ok(),
            "{what}: {name} took over {:?}",
            begun.elapsed()
        );
    };
    let id = id();
    step(
        "a small request",
        Box::pin(async {
            accept(&stack.http(), &id, "@say ab\n@tool 60", json!({})).await;
        }),
    )
    .await;
    step(
        "a stream",
        Box::pin(async {
            let mut output = stack.http().open_output(&id, 0).await.expect("a stream");
            let mut bytes = Vec::new();
            while bytes.len() < 2 {
                let chunk = output.chunk().await.expect("no end");
                bytes.extend_from_slice(&chunk.expect("more"));
            }
            assert_eq!(bytes, b"ab");
        }),
    )
    .await;
    step(
        "a control",
        Box::pin(async {
            let answer = send(&stack.http(), Method::POST, &path(&id, "/cancel"), "").await;
            assert_eq!(answer.0, 200, "{}", answer.2);
        }),
    )
    .await;
    step(
        "the end",
        Box::pin(async {
            assert_eq!(ended(&stack.http(), &id).await["state"], "cancelled");
        }),
    )
    .await;
    step(
        "a health check",
        Box::pin(async {
            let live = stack.http().get("/health/live").await.expect("an answer");
            assert_eq!(live.0.as_u16(), 200);
        }),
    )
    .await;
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// 40 PUTs whose chunked bodies never arrived once held the whole inbound budget before their first
/// byte.
#[tokio::test]
async fn chunked_bodies_that_never_arrive_delay_no_other_client() {
    let stack = Stack::start().await;
    let put = || head("PUT", &path(&id(), ""), CHUNKED);
    let open = open_many(stack.api.addr(), 40, put).await;
    assert_others_work(&stack, "chunked bodies that never arrive").await;
    drop(open);
    stack.assert_quiet();
}

/// The same for `input`, which shares the budget.
#[tokio::test]
async fn input_bodies_that_never_arrive_delay_no_other_client() {
    let stack = Stack::start().await;
    let (http, target) = (stack.http(), id());
    accept(&http, &target, "@say x", json!({"input": "stream"})).await;
    let post = || head("POST", &path(&target, "/input?offset=0"), CHUNKED);
    let open = open_many(stack.api.addr(), 100, post).await;
    assert_others_work(&stack, "input bodies that never arrive").await;
    drop(open);
    let end = path(&target, "/input?offset=0&eof=true");
    assert_eq!(send(&http, Method::POST, &end, "").await.0, 200);
    assert_eq!(ended(&http, &target).await["state"], "completed");
    stack.assert_quiet();
}

/// Trickling bodies hold the bytes that have arrived. A large body without room is refused within
/// seconds, with `Retry-After`, and never as "did not arrive". Small requests have a share of their
/// own.
#[tokio::test]
async fn trickling_bodies_delay_only_large_bodies_which_are_refused_in_time() {
    let stack = Stack::with(StackOptions::default().api("--inbound-bytes=4194304")).await;
    let part = "x".repeat(1 << 20);
    let put = || {
        let head = head("PUT", &path(&id(), ""), "Content-Length: 4000000\r\n");
        format!("{head}{{\"prompt\":\"{part}")
    };
    let mut open = open_many(stack.api.addr(), 8, put).await;
    // Bodies without room are refused; the others fill the budget.
    let mut trickle = tokio::spawn(async move {
        loop {
            for stream in &mut open {
                let _ = stream.write_all(b"x").await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let large = json!({"prompt": format!("@say x\n{}", "y".repeat(3 << 20))}).to_string();
    let http = stack.http();
    let target = path(&id(), "");
    let request = send(&http, Method::PUT, &target, large.clone());
    let refused = tokio::time::timeout(ANSWER, request)
        .await
        .expect("an answer");
    assert_problem(&refused, 503, "inbound-full", "a large body without room");
    assert!(refused.1.contains_key("retry-after"), "{:?}", refused.1);
    assert_others_work(&stack, "bodies that trickle").await;
    trickle.abort();
    let _ = (&mut trickle).await;
    // The memory of the trickling clients is free when they are gone.
    let begun = Instant::now();
    loop {
        let answer = send(&http, Method::PUT, &path(&id(), ""), large.clone()).await;
        if answer.0 == 201 {
            break;
        }
        assert_eq!(answer.0, 503, "{}", answer.2);
        assert!(begun.elapsed() < ANSWER, "the budget is never free again");
    }
    stack.assert_quiet();
}

/// A connection without a complete head is closed after `--head-ms`, and an idle one after
/// `--keep-alive-ms`.
#[tokio::test]
async fn heads_that_never_arrive_and_idle_connections_are_closed() {
    let options = StackOptions::default()
        .api("--head-ms=500")
        .api("--keep-alive-ms=1500");
    let stack = Stack::with(options).await;
    let addr = stack.api.addr();
    for bytes in [
        "",
        "GET /health/li",
        "GET /health/live HTTP/1.1\r\nHost: local",
    ] {
        let mut silent = raw(addr, bytes).await;
        let begun = Instant::now();
        let answer = read_until(&mut silent, "never").await;
        assert!(begun.elapsed() >= Duration::from_millis(400), "{answer}");
    }
    let live = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut idle = raw(addr, live).await;
    read_until(&mut idle, "live\"}").await;
    // An idle connection outlives the time limit of a head, and still accepts a request.
    tokio::time::sleep(Duration::from_millis(800)).await;
    idle.write_all(live.as_bytes()).await.expect("still open");
    read_until(&mut idle, "live\"}").await;
    let begun = Instant::now();
    assert_eq!(read_until(&mut idle, "never").await, "");
    assert!(begun.elapsed() >= Duration::from_millis(1000));
    // A connection whose request takes longer than both limits is not idle.
    let id = id();
    accept(&stack.http(), &id, "@silence 3\n@say x", json!({})).await;
    let output = stack.http().output(&id, 0).await.expect("an output");
    output.assert_whole("completed");
    stack.assert_quiet();
}

/// With more connections than the limit, those without progress are closed for active ones.
#[tokio::test]
async fn connections_without_progress_make_room_for_active_ones() {
    let stack = Stack::with(StackOptions::default().api("--connections=32")).await;
    let addr = stack.api.addr();
    let target = id();
    accept(&stack.http(), &target, "@say x", json!({"input": "stream"})).await;
    let live = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    type Request = Box<dyn Fn() -> String>;
    let post = head("POST", &path(&target, "/input?offset=0"), CHUNKED);
    let kinds: [(&str, Request); 4] = [
        ("silent connections", Box::new(String::new)),
        ("heads that never arrive", Box::new(|| "GET / HT".into())),
        ("idle keep-alive connections", Box::new(|| live.into())),
        ("bodies that never arrive", Box::new(move || post.clone())),
    ];
    for (what, request) in kinds {
        let open = open_many(addr, 100, request).await;
        assert_others_work(&stack, what).await;
        drop(open);
    }
    send(&stack.http(), Method::POST, &path(&target, "/cancel"), "").await;
    ended(&stack.http(), &target).await;
    stack.assert_quiet();
}

/// Unread streams of output, events and statuses: some connections are reserved for short requests,
/// and a stream beyond the others is refused.
#[tokio::test]
async fn unread_streams_leave_connections_for_short_requests() {
    let stack = Stack::with(StackOptions::default().api("--connections=32")).await;
    let (http, target) = (stack.http(), id());
    accept(&http, &target, "@megabytes 3\n@tool 60", json!({})).await;
    until(&http, &target, "long", |s| {
        s["outputBytes"].as_u64() > Some(3_000_000)
    })
    .await;
    let mut open = Vec::new();
    let mut refused = 0;
    for rest in ["/output", "/events", "?follow=true"]
        .iter()
        .cycle()
        .take(48)
    {
        let mut stream = raw(stack.api.addr(), head("GET", &path(&target, rest), "")).await;
        let answer = read_until(&mut stream, "\r\n\r\n").await;
        if answer.starts_with("HTTP/1.1 503") {
            assert!(answer.contains("retry-after"), "{answer}");
            refused += 1;
        } else {
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        open.push(stream);
    }
    assert_eq!(
        refused,
        48 - 24,
        "three quarters of the connections are for streams"
    );
    let live = http.get("/health/live").await.expect("an answer");
    assert_eq!(live.0.as_u16(), 200);
    let status = http.status(&target).await.expect("a status");
    assert_eq!(status["state"], "running");
    let answer = send(&http, Method::POST, &path(&target, "/cancel"), "").await;
    assert_eq!(answer.0, 200, "{}", answer.2);
    drop(open);
    assert_others_work(&stack, "streams that were never read").await;
    stack.assert_quiet();
}

/// Unread streams below the limit of streams: each holds a chunk of memory, and no other client
/// waits.
#[tokio::test]
async fn unread_streams_delay_no_other_client() {
    let stack = Stack::start().await;
    let (http, target) = (stack.http(), id());
    accept(&http, &target, "@megabytes 3\n@tool 60", json!({})).await;
    until(&http, &target, "long", |s| {
        s["outputBytes"].as_u64() > Some(3_000_000)
    })
    .await;
    let before = stack.api.resident_bytes();
    let mut open = Vec::new();
    for rest in ["/output", "/events", "?follow=true"] {
        let get = || head("GET", &path(&target, rest), "");
        open.extend(open_many(stack.api.addr(), 60, get).await);
    }
    assert_others_work(&stack, "180 streams that are never read").await;
    let grown = stack.api.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes for 180 readers");
    send(&http, Method::POST, &path(&target, "/cancel"), "").await;
    drop(open);
    stack.assert_quiet();
}

#[tokio::test]
async fn unread_lists_delay_no_other_client() {
    let stack = Stack::with(StackOptions::default().api("--connections=64")).await;
    let http = stack.http();
    for _ in 0..30 {
        let prompt = "@stderr 16384\n@exit 3";
        let id = id();
        accept(&http, &id, prompt, json!({})).await;
        ended(&http, &id).await;
    }
    let get = || head("GET", "/v1/executions?limit=1000", "");
    let open = open_many(stack.api.addr(), 100, get).await;
    assert_others_work(&stack, "lists that are never read").await;
    drop(open);
    stack.assert_quiet();
}

/// A full queue refuses further executions, and nothing else.
#[tokio::test]
async fn a_full_queue_refuses_only_executions() {
    let options = StackOptions::default()
        .api("--running-executions=1")
        .api("--queued=4");
    let stack = Stack::with(options).await;
    let (http, first) = (stack.http(), id());
    accept(&http, &first, "@say ab\n@tool 60", json!({})).await;
    let mut queued = Vec::new();
    let refused = loop {
        let id = id();
        let body = json!({"prompt": "@say x"}).to_string();
        let answer = send(&http, Method::PUT, &path(&id, ""), body).await;
        if answer.0 != 201 {
            break answer;
        }
        queued.push(id);
        assert!(queued.len() < 10, "the queue has no limit");
    };
    assert_problem(&refused, 503, "queue-full", "an execution beyond the limit");
    assert!(refused.1.contains_key("retry-after"));
    let output = http.open_output(&first, 0).await.expect("a stream");
    assert!(output.status().is_success());
    for id in &queued {
        let answer = send(&http, Method::POST, &path(id, "/cancel"), "").await;
        assert_eq!(answer.0, 200, "{}", answer.2);
    }
    let answer = send(&http, Method::POST, &path(&first, "/cancel"), "").await;
    assert_eq!(answer.0, 200, "{}", answer.2);
    ended(&http, &first).await;
    assert_others_work(&stack, "a queue that was full").await;
    stack.assert_quiet();
}
