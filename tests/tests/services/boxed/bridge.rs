//! The bridge in front of a boxed claude-api on another loopback address, and in front of one whose
//! address it shares.

use std::net::IpAddr;

use cc_tests::{
    harness::{
        Service, StackOptions, eventually,
        stack::{api_options, bridge_options},
    },
    ws::raw,
};

use super::{CLOSE, ask, assert_refused};
use crate::support::PATIENCE;

const SHARED: &str = "claude-api shares an address with this bridge";

/// Starts both services: claude-api on the loopback address `api`, boxed if `boxed`.
async fn start(folder: &std::path::Path, api: &str, boxed: bool) -> (Service, Service) {
    let mut options = StackOptions::default().api(format!("--host={api}"));
    if boxed {
        options = options.api("--boxed");
    }
    let api = Service::start(api_options(folder, &options)).await;
    let bridge = Service::start(bridge_options(folder, api.addr(), &options)).await;
    (api, bridge)
}

/// Counts the warnings about a shared address.
fn warnings(service: &Service) -> usize {
    let lines = service.lines().into_iter();
    lines
        .filter(|line| {
            let message = line["message"].as_str().unwrap_or_default();
            line["level"] == "WARN" && message.contains(SHARED)
        })
        .count()
}

#[tokio::test]
async fn the_bridge_refuses_the_addresses_of_a_boxed_claude_api() {
    let folder = tempfile::tempdir().expect("a folder");
    let (api, bridge) = start(folder.path(), "127.0.0.3", true).await;
    let upgrade = format!("{}\r\n", raw::UPGRADE);
    let (inside, outside) = (IpAddr::from([127, 0, 0, 3]), IpAddr::from([127, 0, 0, 2]));
    for (path, rest) in [
        ("/", CLOSE),
        ("/metrics", CLOSE),
        ("/mcp", CLOSE),
        ("/ws", upgrade.as_str()),
        ("/ws/mcp", upgrade.as_str()),
    ] {
        let answer = ask(inside, bridge.addr(), "GET", path, rest).await;
        assert_refused(&answer, path);
    }
    let answer = ask(inside, bridge.addr(), "GET", "/health/live", CLOSE).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let page = ask(outside, bridge.addr(), "GET", "/metrics", CLOSE).await;
    let count = r#"bridge_requests_refused_total{reason="from_the_box"} 5"#;
    assert!(page.lines().any(|line| line == count), "{page}");
    api.assert_quiet();
    bridge.assert_quiet();
}

#[tokio::test]
async fn a_bridge_that_shares_the_address_of_a_boxed_claude_api_warns() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_api, bridge) = start(folder.path(), "127.0.0.1", true).await;
    eventually("the warning", PATIENCE, || {
        (warnings(&bridge) == 1).then_some(())
    })
    .await;
    // The rule is not applied: nothing distinguishes the box from other clients.
    let own = IpAddr::from([127, 0, 0, 1]);
    let answer = ask(own, bridge.addr(), "GET", "/", CLOSE).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = ask(own, bridge.addr(), "GET", "/health/ready", CLOSE).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    // Either claude-api has not started its CLI yet, or it refuses the bridge.
    let ready = async {
        loop {
            let answer = ask(own, bridge.addr(), "GET", "/health/ready", CLOSE).await;
            if answer.contains("from-the-box") {
                return;
            }
        }
    };
    let refused = tokio::time::timeout(PATIENCE, ready).await;
    assert!(refused.is_ok(), "{}", bridge.log());
}

#[tokio::test]
async fn an_unboxed_claude_api_at_the_same_address_causes_no_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let (api, bridge) = start(folder.path(), "127.0.0.1", false).await;
    let own = IpAddr::from([127, 0, 0, 1]);
    // The bridge requests the limits before it is ready.
    let ready = async {
        loop {
            let answer = ask(own, bridge.addr(), "GET", "/health/ready", CLOSE).await;
            if answer.starts_with("HTTP/1.1 200 ") {
                return;
            }
        }
    };
    let ready = tokio::time::timeout(PATIENCE, ready).await;
    assert!(ready.is_ok(), "{}", bridge.log());
    assert_eq!(warnings(&bridge), 0, "{}", bridge.log());
    api.assert_quiet();
}
