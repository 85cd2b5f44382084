//! Requests whose target names a host (RFC 9112, section 3.2.2).

use std::net::SocketAddr;

use cc_tests::harness::Stack;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::PATIENCE;

/// Sends a request with this target and these headers; returns the first line of the answer.
async fn first_line(addr: SocketAddr, target: &str, more: &str) -> String {
    let mut wire = TcpStream::connect(addr).await.expect("a connection");
    let head = format!("GET {target} HTTP/1.1\r\nConnection: close\r\n{more}\r\n");
    wire.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, wire.read_to_end(&mut answer)).await;
    read.expect("an end in time").expect("an orderly end");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.lines().next().unwrap_or_default().to_owned()
}

/// A request may name the host in its target (RFC 9112, section 3.2.2). That name is then the host,
/// and `Host` is checked too.
#[tokio::test]
async fn a8_the_host_in_the_target_of_a_request_is_checked_too() {
    let stack = Stack::start().await;
    for addr in [stack.api.addr(), stack.bridge.addr()] {
        for (target, more, code) in [
            ("http://localhost/health/live", "Host: localhost\r\n", "200"),
            (
                "http://127.0.0.1:80/health/live",
                "Host: localhost\r\n",
                "200",
            ),
            (
                "http://evil.example/health/live",
                "Host: localhost\r\n",
                "403",
            ),
            (
                "http://evil.example:80/health/live",
                "Host: localhost\r\n",
                "403",
            ),
            (
                "http://x@localhost/health/live",
                "Host: localhost\r\n",
                "403",
            ),
            (
                "http://localhost/health/live",
                "Host: evil.example\r\n",
                "403",
            ),
            (
                "http://localhost/health/live",
                "Host: localhost\r\nOrigin: http://localhost\r\n",
                "200",
            ),
            (
                "http://localhost:3000/health/live",
                "Host: localhost\r\nOrigin: http://localhost\r\n",
                "403",
            ),
        ] {
            let line = first_line(addr, target, more).await;
            assert!(
                line.contains(&format!(" {code} ")),
                "{addr} {target} {more:?}: {line}"
            );
        }
    }
    stack.assert_quiet();
}
